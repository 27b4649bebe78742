"""One mistake in a file that is right is one message, whatever the mistake."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from graphdiff.graph.check import check
from graphdiff.graph.registry import load_registry
from graphdiff.graph.yaml import draft_text
from tests.graph.mutants import mutants

ROOT = Path(__file__).parents[2]
FILES = (
    *sorted((ROOT / "workflows").glob("*.yaml")),
    *sorted((ROOT / "nodes" / "graphdiff_nodes" / "parts").glob("*.yaml")),
)
SHARE = 50  # of the mutants one in so many is tried, always the same ones


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_one_mistake_in_a_shipped_workflow_is_at_most_one_message(file: Path) -> None:
    registry = load_registry()
    tried = told = 0
    for number, mutant in enumerate(mutants(file.read_text())):
        if zlib.crc32(f"{file.stem} {number} {mutant.what}".encode()) % SHARE:
            continue
        found = check(draft_text(mutant.text, file=file.name, folder=file.parent), registry)
        said = f"line {mutant.line}: {mutant.what}:\n" + "\n".join(map(str, found))
        assert len(found) <= 1, said
        for mistake in found:
            assert mistake.place is not None, said
            assert mistake.place.column, said
            assert mistake.place.line == mutant.line or not mutant.exact, said
        tried += 1
        told += len(found)
    assert tried > 5
    assert told > tried / 3  # many slips make a file that is right, in another way

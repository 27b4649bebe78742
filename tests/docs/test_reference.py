"""The node reference is the one that the nodes make."""

from __future__ import annotations

from pathlib import Path

from graphdiff.cli.reference import markdown
from graphdiff.graph.registry import load_registry

PAGE = Path(__file__).parents[2] / "docs" / "nodes.md"


def test_the_node_reference_is_up_to_date() -> None:
    expected = markdown(load_registry())
    assert PAGE.read_text(encoding="utf-8") == expected, (
        "run: graphdiff nodes --markdown > docs/nodes.md"
    )

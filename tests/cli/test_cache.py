"""`graphdiff cache`: looked into, bounded, checked, emptied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphdiff.cli.units import read_bytes
from tests.cli.conftest import Command


def test_ls_names_the_calls_that_are_stored(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    names = {json.loads(line)["name"] for line in graphdiff("cache", "ls", "--json").lines}
    assert "write" in names
    assert all("Write" in line for line in graphdiff("cache", "ls", "Write").lines)


def test_a_cleared_cache_is_empty(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    assert json.loads(graphdiff("cache", "info", "--json").out)["entries"] > 0
    assert graphdiff("cache", "clear").code == 0
    assert json.loads(graphdiff("cache", "info", "--json").out)["entries"] == 0


def test_a_damaged_entry_is_found_and_is_exit_code_1(graphdiff: Command, tmp_path: Path) -> None:
    graphdiff("run", "toy.yaml")
    assert graphdiff("cache", "verify").code == 0
    entry = max(
        (p for p in (tmp_path / "cache").rglob("*") if p.suffix == ".safetensors" or not p.suffix),
        key=lambda p: p.stat().st_size if p.is_file() else -1,
    )
    data = bytearray(entry.read_bytes())
    data[-1] ^= 1
    entry.chmod(0o600)
    entry.write_bytes(data)
    said = graphdiff("cache", "verify")
    assert said.code == 1
    assert "1 damaged" in said.out


def test_pruning_to_nothing_leaves_nothing(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    assert graphdiff("cache", "prune", "--max-size", "0").code == 0
    assert json.loads(graphdiff("cache", "info", "--json").out)["entries"] == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("500M", 500_000_000), ("4GB", 4_000_000_000), ("1.5K", 1500)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert read_bytes(text, "--max-size") == size


@pytest.mark.parametrize(
    "arguments", [("--max-size", "big"), ("--max-size", "1.2.3"), ("--older-than", "5")]
)
def test_a_size_or_age_that_is_none_is_exit_code_2(
    arguments: tuple[str, ...], graphdiff: Command
) -> None:
    assert graphdiff("cache", "prune", *arguments).code == 2

"""The arithmetic of the benchmarks: pairs of one round are compared, and goals read off them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.rounds import Paired, Row, interleaved, process


def test_the_ratio_is_the_median_of_those_within_a_round() -> None:
    paired = Paired({"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 2.0, 8.0]})
    row = paired.row("b", "case", "ours", "theirs", scale=1)
    assert (row.ours, row.theirs) == (2.0, 3.0)
    assert (row.ratio, row.low, row.high) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("column", "sign", "bound", "met"),
    [
        ("ratio", ">=", 2.0, True),
        ("ratio", ">=", 2.1, False),
        ("ours", "<=", 10.0, True),
        ("ours", "<=", 9.0, False),
        ("share", ">=", 0.5, True),
        ("share", ">=", 0.6, False),
    ],
)
def test_a_goal_is_met_or_missed_by_its_own_column(
    column: str, sign: str, bound: float, met: bool
) -> None:
    goal: Any = (column, sign, bound)
    row = Row("b", "case", "pictures/s", 10.0, 20.0, 2.0, goal=goal, floor=20.0)
    assert row.met is met


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    assert Row("b", "case", "ms", 10.0).met is None


def test_every_round_does_everything_once_more_than_the_first() -> None:
    counts = {"a": 0, "b": 0}

    def count(name: str) -> None:
        counts[name] += 1

    found = interleaved({"a": lambda: count("a"), "b": lambda: count("b")}, 5, repeat=2)
    assert counts == {"a": 11, "b": 11}
    assert all(len(times) == 5 for times in found.times.values())


def test_a_measured_process_is_not_charged_with_the_memory_of_its_parent(tmp_path: Path) -> None:
    ballast = bytearray(200 << 20)
    spent = process(["-c", "print('done')"], cache=tmp_path, folder=tmp_path)
    assert spent.output == "done\n"
    assert spent.cpu > 0
    assert spent.peak < len(ballast)


def test_a_process_that_fails_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of apples"):
        process(["-c", "raise SystemExit('out of apples')"], cache=tmp_path, folder=tmp_path)

"""Planned calls as rows: passes and points fold, and nothing is lost."""

from __future__ import annotations

from graphdiff.cli.table import Row, lines, ranges, rows


def test_the_passes_of_a_loop_are_one_row_with_their_range() -> None:
    calls = [(f"denoise[{i}].cond", "UNetPredict", "run") for i in range(30)]
    assert rows(calls) == [Row("denoise[0..29].cond", "UNetPredict", "run", 30)]


def test_what_is_cached_and_what_runs_are_rows_apart() -> None:
    calls = [("a[0].x", "X", "cached"), ("a[1].x", "X", "run"), ("a[2].x", "X", "run")]
    assert rows(calls) == [Row("a[0].x", "X", "cached", 1), Row("a[1..2].x", "X", "run", 2)]


def test_nested_loops_have_a_range_each_and_say_when_passes_are_missing() -> None:
    calls = [(f"a[{i}].b[{j}].x", "X", "run") for i in range(2) for j in range(3)]
    assert rows(calls) == [Row("a[0..1].b[0..2].x", "X", "run", 6)]
    assert rows(calls[:-1]) == [Row("a[0..1].b[0..2].x (some)", "X", "run", 5)]


def test_points_of_a_sweep_fold_even_where_their_labels_look_like_names() -> None:
    labels = ["text=a[1].b/c", "text=d"]
    calls = [(f"{label}/save", "Save", "run") for label in labels]
    assert rows(calls, labels) == [Row("save", "Save", "run", 2)]
    assert rows(calls[:1], labels) == [Row("text=a[1].b/c/save", "Save", "run", 1)]
    three = [*labels, "text=e"]
    assert rows(calls, three) == [Row("save", "Save", "run", 2, points=2)]


def test_ranges_name_every_number_once() -> None:
    assert ranges([0, 1, 2, 4, 7, 8]) == "0..2,4,7..8"


def test_lines_are_columns() -> None:
    table = [Row("a", "Long", "run", 3), Row("long", "X", "cached", 1)]
    assert [text for text, _ in lines(table)] == ["a     Long  run x3", "long  X     cached"]

"""The table, the JSON and the plot of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks.bars import bars
from benchmarks.report import plot, table, write
from benchmarks.rounds import ROOT, Row

ROWS = [
    Row("forward", "a <UNet>", "ms", 20.0, 30.0, 1.5, 1.4, 1.6, ("ratio", ">=", 1.2)),
    Row("loop", "a call", "us", 40.0, goal=("ours", "<=", 30.0), note="slow"),
]


def test_the_table_says_what_was_met_and_what_was_missed() -> None:
    head, first, second = table(ROWS).splitlines()
    assert head.split()[:3] == ["benchmark", "case", "unit"]
    assert "1.50" in first
    assert "1.40..1.60" in first
    assert first.endswith("met")
    assert second.endswith("missed slow")


def test_floors_have_a_column_where_there_are_any() -> None:
    assert "floor" not in table(ROWS).splitlines()[0]
    bounded = Row("pictures", "one", "pictures/s", 10.0, goal=("share", ">=", 0.45), floor=20.0)
    head, *_, last = table([*ROWS, bounded]).splitlines()
    assert head.split()[-2:] == ["floor", "goal"]
    assert "20 (50%)" in last
    assert last.endswith("met")


def test_bars_are_as_long_as_their_figures_and_the_floor_is_a_line() -> None:
    row = Row("pictures", "one", "pictures/s", 10.0, 5.0, floor=20.0)
    picture = bars([row], "title")
    colours = [picture.getpixel((x, 55)) for x in range(520, 940)]
    ours = colours.count((59, 122, 87))
    assert ours == pytest.approx(210, abs=2)
    theirs = [picture.getpixel((x, 66)) for x in range(520, 940)].count((181, 82, 59))
    assert theirs == pytest.approx(105, abs=2)
    assert picture.getpixel((940, 50)) == (34, 34, 34)


def test_the_plot_is_a_picture_with_one_bar_for_each_ratio() -> None:
    root = ElementTree.fromstring(plot(ROWS))
    bars = [e for e in root if e.tag.endswith("rect") and e.get("width") != "100%"]
    assert len(bars) == 1


def test_results_are_written_as_json_with_the_machine(tmp_path: Path) -> None:
    data, picture = write(ROWS, tmp_path / "results", "all")
    found = json.loads(data.read_text(encoding="utf-8"))
    assert [row["met"] for row in found["rows"]] == [True, False]
    assert {"processor", "torch", "diffusers", "threads"} <= found["machine"].keys()
    assert picture.suffix == ".svg"


def test_an_unknown_benchmark_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        command.main(["forwards"])
    assert "there are forward, pictures" in capsys.readouterr().err


@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_every_named_benchmark_is_a_module_that_says_its_one_job(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert "def measure(rounds: int, full: bool)" in text

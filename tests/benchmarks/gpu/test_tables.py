"""The tables of a GPU, made on a CPU with small models, by the same code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import first, pictures, steps, sweeps
from benchmarks.gpu.child import Reported
from benchmarks.gpu.families import Name
from benchmarks.gpu.first import child
from benchmarks.gpu.memory import measure as measure_memory
from benchmarks.gpu.results import Results
from benchmarks.gpu.trial import Trial
from benchmarks.gpu.ways import Draw, Task, difference, ours, theirs, way
from benchmarks.rounds import ROOT, Row, environment
from tests.benchmarks.gpu.conftest import MakeTrial


@pytest.mark.parametrize(("name", "batch"), [("tiny", 2), ("tiny-xl", 1)])
def test_both_sides_draw_the_same_pictures(trial: MakeTrial, name: Name, batch: int) -> None:
    task = trial(name, batch=batch).task
    mine, its = ours(task)(3), theirs(task)(3)
    assert mine.shape == (batch, 3, task.family.pixels, task.family.pixels)
    assert difference(mine, its) < 1e-4
    assert difference(ours(task)(4), its) > 0.1


@pytest.mark.parametrize("name", ["graphdiff plain", "graphdiff fused", "graphdiff graphed"])
def test_without_what_makes_it_fast_the_picture_is_the_same(trial: MakeTrial, name: str) -> None:
    from graphdiff.checkpoints.pool import pool

    task = trial().task
    pool().release()
    found = way(name, task)(3)
    assert not pool().resident()  # it has a pool of its own
    assert difference(found, ours(task)(3)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["graphdiff compiled", "diffusers compiled"])
def test_compiled_the_picture_is_the_same(trial: MakeTrial, name: str) -> None:
    task = trial().task
    assert difference(way(name, task)(3), ours(task)(3)) < 1e-3


def test_pictures_are_compared_and_set_beside_the_floor(trial: MakeTrial) -> None:
    product, compared, alone = pictures.measure(trial())
    assert product.unit == "TFLOP/s"
    assert compared.case.endswith("graphdiff / diffusers")
    assert compared.ratio is not None
    assert compared.ours > 0
    assert alone.floor == compared.floor
    assert alone.share is not None


def test_another_picture_is_not_timed(trial: MakeTrial) -> None:
    rows = list(pictures.measure(replace(trial(), tolerance=-1.0)))
    assert [row.note.split(":")[0] for row in rows[1:]] == ["another picture"] * len(rows[1:])
    assert len(rows) > 1


def test_a_way_that_fails_is_said_and_the_others_are_measured(
    trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(name: str, task: Task) -> Draw:
        if name == "graphdiff compiled":
            raise RuntimeError("no compiler\nat all")
        return way(name, task)

    monkeypatch.setattr(pictures, "way", failing)
    ways = ("diffusers", "graphdiff compiled", "graphdiff")
    rows = list(pictures.measure(replace(trial(), ways=ways)))
    assert [row.note for row in rows if row.ours == 0] == ["failed: no compiler"]
    assert any(row.case.endswith("graphdiff / diffusers") for row in rows)
    assert "no compiler" in capsys.readouterr().err


def test_when_time_is_up_what_is_left_is_named(trial: MakeTrial) -> None:
    rows = list(pictures.measure(trial(minutes=0)))
    assert rows[-1].note == "no time was left"
    assert rows[-1].case.endswith("graphdiff")


def test_a_step_is_divided_into_kinds_of_work(
    trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_FEW", 1)
    monkeypatch.setattr(steps, "_MORE", 2)
    rows = {row.case.partition(": ")[2]: row for row in steps.measure(trial())}
    assert {"in all", "convolution", "attention", "nothing to do", "kernels"} <= rows.keys()
    assert rows["convolution"].theirs is not None
    assert rows["kernels"].ours > 100
    assert rows["waits of the host, by the profiler"].ours == 0


def test_a_sweep_encodes_its_texts_once(trial: MakeTrial) -> None:
    whole, other = sweeps.measure(trial())
    assert whole.note.startswith("texts encoded 2 times")
    assert whole.case.endswith("2 seeds as one / one by one")
    assert other.case.endswith("2 seeds as one / diffusers")


def test_a_process_within_a_budget_reports_what_it_held(trial: MakeTrial, tmp_path: Path) -> None:
    made = trial()
    found = child(made, "graphdiff", cache=tmp_path, looks=True, budget=made.budget)
    assert 0 < found.counted <= made.budget
    assert found.first > found.second > 0
    assert found.host >= found.peak > 0


def test_a_process_that_fails_says_why(trial: MakeTrial, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="1,000 are allowed"):
        child(trial(), "graphdiff", cache=tmp_path, budget=1000)


def test_first_pictures_are_compared_process_by_process(
    trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches: list[tuple[str, Path]] = []

    def reported(_: Trial, name: str, *, cache: Path) -> Reported:
        caches.append((name, cache))
        taken = 2.0 if name == "graphdiff" else 6.0
        return Reported(taken, 0.5, 0.25, 0, 0, 0, 0, 0)

    monkeypatch.setattr(first, "child", reported)
    rows = list(first.measure(trial()))
    assert [row.ratio for row in rows] == [3.0, 3.0]
    assert rows[0].note == "then 0.5 s and 0.25 s"
    assert len(set(caches)) == 2  # the second process finds what the first one kept


@pytest.mark.parametrize("error", [RuntimeError("no"), subprocess.TimeoutExpired("it", 1.0)])
def test_a_process_that_fails_or_hangs_is_said(
    trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(first, "child", fail)
    (row,) = first.measure(trial())
    assert row.note == f"failed: {type(error).__name__}"


@pytest.mark.slow
def test_memory_is_compared_with_and_without_a_budget(trial: MakeTrial) -> None:
    rows = list(measure_memory(trial()))
    assert len(rows) == 8
    assert rows[-2].case.endswith("as counted")
    assert rows[-2].met


def test_each_row_is_written_as_soon_as_it_is_there(tmp_path: Path) -> None:
    results = Results(tmp_path / "new", "table", {"device": "cpu"})
    for count in (1, 2):
        results.add(Row("pictures", "a", "pictures/s", 4.0, 2.0, floor=8.0))
        found = json.loads(results.data.read_text())
        assert len(found["rows"]) == count
        assert found["device"] == "cpu"
        assert found["rows"][0]["share"] == 0.5
        with Image.open(results.picture) as picture:
            assert picture.height == 40 * (count + 1)


def test_the_command_writes_a_table(
    checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["pictures", "--family", "tiny", "--device", "cpu", "--dtype", "float32", "--steps", "2"]
    told += ["--rounds", "1", "--matrix", "64", "--ways", "diffusers", "graphdiff_plain"]
    told += ["--out", str(tmp_path), "--checkpoints", str(checkpoints)]
    assert command.main(told) == 0
    assert "graphdiff plain / diffusers" in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir() if file.is_file()} == {
        "pictures-tiny-2-steps-batch-1.json",
        "pictures-tiny-2-steps-batch-1.png",
    }


def test_a_second_table_of_one_name_leaves_the_first_one_as_it_is(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(trial: Trial) -> Iterator[Row]:
        yield Row("pictures", ", ".join(trial.ways), "s", 1.0)

    monkeypatch.setattr(pictures, "measure", measure)
    told = ["pictures", "--family", "tiny", "--device", "cpu", "--dtype", "float32"]
    told += ["--out", str(tmp_path), "--checkpoints", str(checkpoints)]
    for ways in (["diffusers"], ["graphdiff_plain"], ["graphdiff"]):
        assert command.main([*told, "--ways", *ways]) == 0
    found = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("*.json"))]
    assert {each["rows"][0]["case"] for each in found} == {
        "diffusers",
        "graphdiff plain",
        "graphdiff",
    }


def test_what_does_not_end_in_time_is_ended_and_its_rows_are_there(
    checkpoints: Path, tmp_path: Path
) -> None:
    program = """
import sys, time
import diffusers  # whose version is written with the first row
from benchmarks.gpu import __main__ as command, pictures
from benchmarks.rounds import Row

def measure(trial):
    yield Row("pictures", "quick", "s", 1.0)
    time.sleep(60)

pictures.measure = measure
command._GRACE = 2.0
sys.exit(command.main(sys.argv[1:]))
"""
    told = ["pictures", "--family", "tiny", "--device", "cpu", "--minutes", "0"]
    told += ["--out", str(tmp_path), "--checkpoints", str(checkpoints), "--dtype", "float32"]
    done = subprocess.run(
        [sys.executable, "-c", program, *told],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 124
    assert "the time is over" in done.stderr
    (data,) = tmp_path.glob("*.json")
    assert [row["case"] for row in json.loads(data.read_text())["rows"]] == ["quick"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["pictures"]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err


def test_pictures_of_one_colour_prove_nothing() -> None:
    with pytest.raises(ValueError, match="one colour"):
        difference(torch.rand(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5))


def test_every_command_of_the_readme_is_understood() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0] for line in text.splitlines()]
    ways = dict(re.findall(r"^(\w+)='(.*)'$", text, re.MULTILINE))
    told = [line.partition("benchmarks.gpu ")[2] for line in lines if line.startswith("python")]
    for arguments in filter(None, told):
        words = [w for word in arguments.split() for w in ways.get(word[1:], word).split()]
        command._parser().parse_args(words)  # pyright: ignore[reportPrivateUsage]
    assert len(list(filter(None, told))) > 15


@pytest.mark.gpu
@pytest.mark.parametrize("table", command.TABLES)
@pytest.mark.parametrize("name", ["tiny", "tiny-xl"])
def test_each_table_is_made_on_a_gpu(table: str, name: Name, tmp_path: Path) -> None:
    told = [table, "--family", name, "--steps", "4", "--rounds", "1", "--minutes", "2"]
    told += ["--points", "3", "--budget", "0.014", "--matrix", "1024"]
    told += ["--out", str(tmp_path), "--checkpoints", str(tmp_path)]
    if table == "pictures":
        parts = ("graphdiff plain", "graphdiff fused", "graphdiff graphed")
        told += ["--ways", "diffusers", "graphdiff", *parts]
    assert command.main(told) == 0
    (data,) = tmp_path.glob("*.json")
    rows = json.loads(data.read_text())["rows"]
    assert rows
    wrong = ("failed", "another picture", "other pictures", "no time")
    assert not [row for row in rows if row["note"].startswith(wrong)]

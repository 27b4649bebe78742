"""Wrong options: what is wrong is named, with what to write instead, and nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command

SWEEPS = {
    "start=a,b": "--sweep start: wants int, not 'a'",
    "start=-1,2": "--sweep start: wants int at least 0, got -1",
    "start=": "--sweep start: no value is given: write 0..7",
    "scale=": "--sweep scale: no value is given",
    "start=1..b": "--sweep start: '1..b': write a range as two whole numbers",
    "start=0..9999999": "--sweep start: '0..9999999': these are more than 100000 values",
    "start=@nowhere": "--sweep start: nowhere: no such file",
    "start=@.": "--sweep start: .: is a directory",
    "name=sum,toal": "--sweep name: ",
    "scale=1,1e999": "--sweep scale: wants a finite number, not 1e999",
    "strat=1": "--sweep: the workflow has no input 'strat': did you mean 'start'?",
    "start": "--sweep: 'start': write NAME=VALUES",
}


@pytest.mark.parametrize(("sweep", "said"), SWEEPS.items())
def test_a_wrong_sweep_is_blamed_on_the_sweep(graphdiff: Command, sweep: str, said: str) -> None:
    found = graphdiff("plan", "toy.yaml", "--sweep", sweep)
    assert found.code == 2
    assert f"error: Invalid value for {said}" in found.err


def test_too_many_points_together_are_refused_at_once(graphdiff: Command) -> None:
    sweeps = ("--sweep", "start=0..9999", "--sweep", "passes=1..100")
    found = graphdiff("plan", "toy.yaml", *sweeps)
    assert found.code == 2
    assert "these are 1000000 points together: sweep at most 100000 at a time" in found.err


def test_a_wrong_value_of_set_is_blamed_on_set(graphdiff: Command) -> None:
    for command in (("run", "toy.yaml"), ("diff", "toy.yaml", "toy.yaml")):
        found = graphdiff(*command, "--set", "start=x")
        assert (found.code, found.out) == (2, "")
        assert "Invalid value for --set start: wants int, not 'x'" in found.err


@pytest.mark.parametrize("number", ["1e999", "Infinity", "-Infinity", "NaN"])
def test_numbers_that_are_not_finite_are_refused(graphdiff: Command, number: str) -> None:
    found = graphdiff("plan", "toy.yaml", f"--scale={number}")
    assert found.code == 2
    assert "Invalid value for --scale: wants" in found.err


FILES = [
    ("run", "toy.yaml", "--cache-dir", "taken"),
    ("plan", "toy.yaml", "--cache-dir", "taken"),
    ("cache", "info", "--cache-dir", "taken"),
    ("cache", "clear", "--cache-dir", "taken"),
    ("run", "toy.yaml", "--output-dir", "taken"),
]


@pytest.mark.parametrize("arguments", FILES, ids=" ".join)
def test_a_file_in_the_place_of_a_folder_is_refused(
    graphdiff: Command, arguments: tuple[str, ...]
) -> None:
    Path("taken").write_text("a file")
    found = graphdiff(*arguments)
    assert (found.code, found.out) == (2, "")
    assert f"Invalid value for '{arguments[2]}': Directory 'taken' is a file" in found.err


EMPTY = [
    ("run", "toy.yaml", "--cache-dir", ""),
    ("run", "toy.yaml", "--output-dir", ""),
    ("run", "toy.yaml", "--sweep", "start=1,2", "--grid", ""),
    ("run", ""),
    ("validate", ""),
    ("schema", "--output", ""),
    ("models", "info", ""),
    ("models", "convert", ""),
]


@pytest.mark.parametrize("arguments", EMPTY, ids=" ".join)
def test_an_empty_name_is_refused(graphdiff: Command, arguments: tuple[str, ...]) -> None:
    found = graphdiff(*arguments)
    assert (found.code, found.out) == (2, "")
    assert "empty" in found.err


UNWRITABLE = [
    ("run", "toy.yaml", "--output-dir", "taken/below"),
    ("run", "toy.yaml", "--sweep", "start=1,2", "--grid", "taken/grid.png"),
    ("draw", "toy.yaml", "--output", "taken/drawing.svg"),
    ("schema", "--output", "taken/schema.json"),
    ("init", "text_to_image", "taken/mine.yaml"),
]


@pytest.mark.parametrize("arguments", UNWRITABLE, ids=" ".join)
def test_what_cannot_be_written_is_told_before_the_work(
    graphdiff: Command, arguments: tuple[str, ...]
) -> None:
    Path("taken").write_text("a file")
    found = graphdiff(*arguments)
    assert (found.code, found.out) == (2, "")
    assert "taken is no folder" in found.err
    assert " ran" not in found.err


@pytest.mark.parametrize("size", ["1.2.3G", "-1", "", "5 apples"])
def test_a_wrong_size_names_its_option(graphdiff: Command, size: str) -> None:
    for arguments in (("run", "toy.yaml", "--max-vram"), ("cache", "prune", "--max-size")):
        found = graphdiff(*arguments, size)
        assert found.code == 2
        assert f"Invalid value for {arguments[2]}: {size!r}: write a size such as" in found.err


@pytest.mark.parametrize("age", ["5", "1.2.3d", ""])
def test_a_wrong_age_names_its_option(graphdiff: Command, age: str) -> None:
    found = graphdiff("cache", "prune", "--older-than", age)
    assert found.code == 2
    assert f"Invalid value for --older-than: {age!r}: write an age such as" in found.err


def test_a_budget_of_nothing_is_refused_before_the_run(graphdiff: Command) -> None:
    found = graphdiff("run", "toy.yaml", "--max-vram", "0")
    assert (found.code, found.out) == (2, "")
    assert "--max-vram: '0' leaves no room for weights: write a size such as 4GB" in found.err


def test_drawing_refuses_options_that_would_do_nothing(graphdiff: Command) -> None:
    assert "add --plan" in graphdiff("draw", "toy.yaml", "--set", "start=2").err
    found = graphdiff("draw", "toy.yaml", "--mermaid", "--output", "x.svg")
    assert "x.svg: name a .mmd or .md file" in found.err
    assert not Path("x.svg").exists()


def test_drawings_and_schemas_make_the_folders_they_are_written_into(graphdiff: Command) -> None:
    assert graphdiff("draw", "toy.yaml", "--output", "a/b.svg").code == 0
    assert graphdiff("schema", "--output", "c/d.json").code == 0
    assert Path("a/b.svg").exists()
    assert Path("c/d.json").exists()


def test_validating_a_picture_checks_the_workflow_in_it(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml")
    assert graphdiff("validate", "outputs/1.png").lines == ["outputs/1.png: ok"]
    Path("plain.png").write_bytes(b"no picture")
    found = graphdiff("validate", "plain.png")
    assert found.code == 2
    assert "carries no workflow" in found.err

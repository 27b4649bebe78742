"""Pictures that are run again: from their own workflow, inputs and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphdiff.cli.again import open_picture
from graphdiff.graph.spec import Part
from tests.cli.conftest import NODES, Command


def test_a_picture_runs_again_without_its_workflow_file(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml", "--start", "3")
    before = Path("outputs/3.png").read_bytes()
    Path("painting.yaml").unlink()
    said = graphdiff("run", "outputs/3.png", "--no-cache", "--output-dir", "again")
    assert (said.code, said.lines) == (0, ["again/3.png"])
    assert "differs here" not in said.err
    assert Path("again/3.png").read_bytes() == before


def test_the_command_line_goes_before_what_the_picture_says(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml", "--start", "3")
    assert graphdiff("run", "outputs/3.png", "--start", "4").lines == ["outputs/4.png"]


def test_what_differs_here_is_said_first(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml", "--dtype", "bfloat16")
    said = graphdiff("run", "outputs/1.png", "--dtype", "float32")
    assert said.code == 0
    assert "differs here: dtype is float32, and was bfloat16" in said.err.splitlines()[0]


def test_the_settings_of_the_picture_are_used_again(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml", "--dtype", "bfloat16")
    assert "differs here" not in graphdiff("run", "outputs/1.png").err


READING = """\
graphdiff: 1
inputs: {file: {type: path, default: ./data.txt}}
nodes:
  length: {type: CountBytes, file: $inputs.file}
  paint: {type: Paint, value: $length, path: read.png}
"""


def test_a_file_that_holds_other_bytes_is_named(graphdiff: Command, folder: Path) -> None:
    Path("reading.yaml").write_text(READING)
    Path("data.txt").write_text("four")
    graphdiff("run", "reading.yaml")
    Path("data.txt").write_text("and more")
    said = graphdiff("run", "outputs/read.png")
    assert f"{folder.name}/data.txt holds other bytes" in said.err
    assert said.code == 0


PART = """\
graphdiff: 1
name: part
inputs: {value: {type: int}}
nodes: {more: {type: Add, a: $inputs.value, b: 1}}
outputs: {value: $more}
"""
WHOLE = """\
graphdiff: 1
nodes:
  part: {type: ../parts/part.yaml, value: 4}
  paint: {type: Paint, value: $part.value, path: whole.png}
"""


def test_included_parts_come_out_of_the_picture_too(graphdiff: Command, folder: Path) -> None:
    for name, text in {"parts/part.yaml": PART, "flows/whole.yaml": WHOLE}.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    assert graphdiff("run", "flows/whole.yaml").code == 0
    (folder / "parts/part.yaml").unlink()
    picture = open_picture(Path("outputs/whole.png"))
    part = picture.workflow.graph.nodes["part"]
    assert isinstance(part, Part)
    assert (picture.workflow.graph.folder, part.graph.folder) == (folder, folder.parent / "parts")
    assert graphdiff("plan", "outputs/whole.png").err == "0 to run, 2 cached\n"


def test_a_picture_without_a_workflow_is_refused() -> None:
    from PIL import Image

    Image.new("RGB", (4, 4)).save("plain.png")
    with pytest.raises(ValueError, match=r"plain\.png: the picture carries no workflow"):
        open_picture(Path("plain.png"))


def test_diff_says_why_two_pictures_differ(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml", "--sweep", "start=3..4")
    said = graphdiff("diff", "outputs/3.png", "outputs/4.png", "--nodes", str(NODES))
    assert said.lines == [
        "~ inputs.start: 3 -> 4",
        "2 calls would have to run again",
    ]


def test_diff_of_pictures_names_what_differs_outside_of_the_workflow(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml")
    graphdiff("run", "painting.yaml", "--dtype", "bfloat16", "--output-dir", "other", "--no-cache")
    said = graphdiff("diff", "outputs/1.png", "other/1.png", "--nodes", str(NODES))
    assert said.lines == ["settings.dtype: auto -> bfloat16"]


TOOLED = """\
graphdiff: 1
nodes:
  tool: {type: Open}
  value: {type: Use, tool: $tool}
  paint: {type: Paint, value: $value, path: tooled.png}
"""


def test_what_auto_came_to_is_compared_and_not_what_was_asked(graphdiff: Command) -> None:
    Path("tooled.yaml").write_text(TOOLED)
    graphdiff("run", "tooled.yaml")
    picture = open_picture(Path("outputs/tooled.png"))
    assert picture.settings["dtype"] == "auto"
    assert picture.computed == {"device": "cpu", "dtype": "float32"}
    assert "differs here" not in graphdiff("run", "outputs/tooled.png", "--dtype", "float32").err
    said = graphdiff("run", "outputs/tooled.png", "--dtype", "bfloat16", "--output-dir", "other")
    assert said.err.splitlines()[0] == "differs here: dtype is bfloat16, and was float32"
    said = graphdiff("diff", "outputs/tooled.png", "other/tooled.png", "--nodes", str(NODES))
    assert said.lines == [
        "~ tool.dtype: 'float32' -> 'bfloat16'",
        "value, paint follow from that",
        "2 calls would have to run again",
    ]


def test_diff_of_a_picture_with_itself_says_that_it_is_the_same(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml")
    said = graphdiff("diff", "outputs/1.png", "outputs/1.png", "--nodes", str(NODES))
    assert said.lines == ["the pictures are the same, byte for byte"]


def test_diff_of_workflows_ignores_names_and_order(graphdiff: Command, folder: Path) -> None:
    text = (folder / "painting.yaml").read_text()
    (folder / "renamed.yaml").write_text(text.replace("sum", "total"))
    said = graphdiff("diff", "painting.yaml", "renamed.yaml", "--nodes", str(NODES))
    assert said.lines == ["= sum is now called total"]

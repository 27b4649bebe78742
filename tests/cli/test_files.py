"""Commands that write or print files: draw, expand, init, schema, validate, nodes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from graphdiff.shipped import shipped_workflows
from tests.cli.conftest import Command

SHIPPED = list(shipped_workflows())


def test_draw_writes_an_svg_named_after_the_workflow(graphdiff: Command) -> None:
    assert graphdiff("draw", "toy.yaml").lines == ["toy.svg"]
    ElementTree.fromstring(Path("toy.svg").read_text(encoding="utf-8"))


def test_draw_prints_mermaid(graphdiff: Command) -> None:
    said = graphdiff("draw", "toy.yaml", "--mermaid")
    assert said.lines[0] == "flowchart TD"
    assert not Path("toy.svg").exists()


def test_draw_tells_what_is_cached_from_what_runs(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml", "--passes", "2")
    svg = Path("toy.svg")
    graphdiff("draw", "toy.yaml", "--plan")
    drawn = svg.read_text(encoding="utf-8")
    assert "runs in part" in drawn
    assert ">cached<" in drawn


def test_draw_tells_what_changed_inside_of_a_loop(graphdiff: Command, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text().replace("b: 1}", "b: 2}")
    (folder / "other.yaml").write_text(text)
    said = graphdiff("draw", "other.yaml", "--mermaid", "--against", "toy.yaml")
    assert [line.strip() for line in said.lines if " class " in line] == [
        "class loop_n_next_n changed"
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_workflow_can_be_drawn_and_is_valid(name: str, graphdiff: Command) -> None:
    assert graphdiff("draw", name).code == 0
    ElementTree.fromstring(Path(f"{name}.svg").read_text(encoding="utf-8"))
    assert graphdiff("validate", name).code == 0


def test_init_copies_a_shipped_workflow_and_replaces_nothing(graphdiff: Command) -> None:
    assert graphdiff("init", "text_to_image").code == 0
    copy = Path("text_to_image.yaml")
    assert copy.read_bytes() == shipped_workflows()["text_to_image"].read_bytes()
    copy.write_text("mine")
    assert graphdiff("init", "text_to_image").code == 2
    assert copy.read_text() == "mine"


def test_init_brings_the_pictures_that_the_workflow_starts_from(graphdiff: Command) -> None:
    said = graphdiff("init", "inpainting", "mine/paint.yaml")
    assert said.lines[1:] == ["mine/pictures/apple.png", "mine/pictures/mask.png"]
    assert graphdiff("plan", "mine/paint.yaml", "--steps", "2").code == 0


def test_a_drawing_of_another_kind_is_refused(graphdiff: Command) -> None:
    assert "name a .svg or .mmd file" in graphdiff("draw", "toy.yaml", "-o", "toy.png").err


def test_draw_takes_a_picture_and_inputs_for_its_plan(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml", "--start", "4")
    drawn = graphdiff("draw", "outputs/4.png", "--mermaid", "--plan", "--set", "start=4")
    assert [line.strip() for line in drawn.lines if " class " in line] == [
        "class sum_n cached",
        "class paint_n cached",
    ]


def test_expand_prints_the_workflow_of_a_picture(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml")
    assert "type: Paint" in graphdiff("expand", "outputs/1.png").out


def test_init_without_a_name_lists_them(graphdiff: Command) -> None:
    assert [line.split()[0] for line in graphdiff("init").lines] == SHIPPED


def test_expand_writes_a_part_out_and_the_file_is_valid(graphdiff: Command) -> None:
    said = graphdiff("expand", "two_passes", "small")
    Path("expanded.yaml").write_text(said.out)
    assert "UNetPredict" in said.out
    assert graphdiff("validate", "expanded.yaml").code == 0


def test_schema_is_json_that_knows_every_node(graphdiff: Command) -> None:
    said = graphdiff("schema", "-o", "graphdiff.schema.json")
    assert said.lines == ["graphdiff.schema.json"]
    text = Path("graphdiff.schema.json").read_text(encoding="utf-8")
    json.loads(text)
    assert '"UNetPredict"' in text


def test_validate_says_every_mistake_of_every_file(graphdiff: Command) -> None:
    Path("wrong.yaml").write_text("graphdiff: 1\nnodes:\n  a: {type: Ad, a: 1}\n  b: {type: Add}\n")
    said = graphdiff("validate", "wrong.yaml", "toy.yaml")
    assert said.code == 2
    assert "wrong.yaml:3:13: unknown-node" in said.err
    assert said.err.endswith("2 errors\n")
    assert said.lines == ["toy.yaml: ok"]


def test_validate_goes_on_after_a_file_that_is_not_there(graphdiff: Command) -> None:
    said = graphdiff("validate", "none.yaml", "toy.yaml")
    assert (said.code, said.lines) == (2, ["toy.yaml: ok"])
    assert "none.yaml: no such file" in said.err


def test_nodes_describes_one_and_names_the_nearest(graphdiff: Command) -> None:
    said = graphdiff("nodes", "UNetPredict")
    assert "Inputs" in said.out
    assert "conditioning" in said.out
    assert "did you mean 'UNetPredict'" in graphdiff("nodes", "UnetPredict").err
    assert "did you mean 'VAEDecode'" in graphdiff("nodes", "vaedecode").err

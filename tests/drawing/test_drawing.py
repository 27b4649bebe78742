"""Drawings show every node once, nothing overlaps, and edges join what they should."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

from graphdiff.drawing.labels import CHARACTER, labels
from graphdiff.drawing.layout import Placed, layout
from graphdiff.drawing.mermaid import mermaid
from graphdiff.drawing.scene import scene
from graphdiff.drawing.svg import svg
from graphdiff.graph.spec import Call, Graph, Loop, Ref


def ref(text: str) -> Ref:
    return Ref(tuple(text.split(".")))


def denoising() -> Graph:
    body = {
        "cond": Call("Predict", {"sample": ref("carry.sample"), "step": ref("item")}),
        "uncond": Call("Predict", {"sample": ref("carry.sample"), "step": ref("item")}),
        "step": Call("Step", {"a": ref("cond"), "b": ref("uncond"), "sample": ref("carry.sample")}),
    }
    return Graph(
        "drawn",
        nodes={
            "model": Call("Load", {"name": ref("inputs.checkpoint")}),
            "schedule": Call("Timesteps", {"of": ref("model.scheduler")}),
            "noise": Call("Noise", {"model": ref("model.unet"), "schedule": ref("schedule")}),
            "denoise": Loop(ref("schedule"), body, {"sample": ref("noise")}, ref("step")),
            "image": Call("Decode", {"vae": ref("model.vae"), "of": ref("denoise.sample")}),
        },
    )


def everything(placed: Placed) -> list[Placed]:
    return [placed, *(p for inner in placed.inside for p in everything(inner))]


def test_boxes_of_one_frame_do_not_overlap_and_stand_inside_it() -> None:
    for frame in everything(layout(scene(denoising()))):
        for inner in frame.inside:
            assert frame.x <= inner.x
            assert inner.x + inner.width <= frame.x + frame.width
            assert frame.y < inner.y
            assert inner.y + inner.height <= frame.y + frame.height
        for a, b in itertools.combinations(frame.inside, 2):
            apart_x = a.x + a.width <= b.x or b.x + b.width <= a.x
            apart_y = a.y + a.height <= b.y or b.y + b.height <= a.y
            assert apart_x or apart_y, (a.box.name, b.box.name)


def test_every_edge_goes_down_from_the_box_that_gives_to_the_box_that_takes() -> None:
    for frame in everything(layout(scene(denoising()))):
        boxes = {inner.box.name: inner for inner in frame.inside}
        for wire in frame.wires:
            (x, y), (x_end, y_end) = wire.points[0], wire.points[-1]
            source, target = boxes[wire.edge.source], boxes[wire.edge.target]
            assert source.x < x < source.x + source.width
            assert target.x < x_end < target.x + target.width
            assert y == pytest.approx(source.y + source.height)
            assert y_end == pytest.approx(target.y)
            assert all(a[1] <= b[1] for a, b in itertools.pairwise(wire.points))


def test_the_outputs_that_go_along_an_edge_are_its_label() -> None:
    edges = {(e.source, e.target): e.label for e in scene(denoising()).edges}
    assert edges[("model", "noise")] == "unet"
    assert edges[("noise", "denoise")] == ""
    assert edges[("denoise", "image")] == "sample"


def test_svg_is_well_formed_and_names_every_node_once() -> None:
    graph = denoising()
    drawn = ElementTree.fromstring(svg(layout(scene(graph, {"image": "cached"}))))
    texts = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for name in ("model", "schedule", "noise", "image", "cond", "uncond", "step"):
        assert texts.count(name) == 1
    assert "cached" in texts


def test_text_of_a_workflow_cannot_break_the_svg() -> None:
    graph = Graph("<&>", nodes={"a": Call("Text", {"text": '<script>"&'})})
    assert "<script>" not in svg(layout(scene(graph)))


def test_mermaid_draws_loops_as_subgraphs_and_statuses_as_classes() -> None:
    text = mermaid(scene(denoising(), {"denoise.cond": "cached"}))
    assert text.startswith("flowchart TD\n")
    assert text.count("subgraph") == text.count("\n  end") == 1
    assert "class denoise_n_cond_n cached" in text
    assert "classDef cached" in text
    assert "classDef run" not in text


def test_an_empty_workflow_is_drawn_as_an_empty_frame() -> None:
    assert "<svg" in svg(layout(scene(Graph("empty"))))


def wide() -> Graph:
    readers = {f"reader{i}": Call("Read", {"of": ref("source.value")}) for i in range(20)}
    body = {"inner": Call("Step", {"of": ref("carry.value")})}
    frame = Loop(3, body, {"value": ref("source.value")}, {"value": ref("inner")})
    last = Call("Gather", {"items": [ref(name) for name in readers], "more": ref("tall.value")})
    return Graph("wide", nodes={"source": Call("Load", {}), "tall": frame, **readers, "last": last})


def test_many_neighbours_go_into_several_layers() -> None:
    placed = layout(scene(wide()))
    rows: dict[float, int] = {}
    for inner in placed.inside:
        middle = round(inner.y + inner.height / 2)
        rows[middle] = rows.get(middle, 0) + 1
    assert max(rows.values()) <= 8


@pytest.mark.parametrize("graph", [denoising(), wide()], ids=["denoising", "wide"])
def test_no_wire_goes_behind_a_box(graph: Graph) -> None:
    for frame in everything(layout(scene(graph))):
        for wire in frame.wires:
            for (x, y), (x_end, y_end) in itertools.pairwise(wire.points):
                for inner in frame.inside:
                    below, above = inner.y >= max(y, y_end), inner.y + inner.height <= min(y, y_end)
                    beside = not inner.x < x < inner.x + inner.width
                    assert below or above or (x == x_end and beside), (wire.edge, inner.box.name)


@pytest.mark.parametrize("graph", [denoising(), wide()], ids=["denoising", "wide"])
def test_labels_cover_neither_boxes_nor_each_other_and_stay_inside(graph: Graph) -> None:
    for frame in everything(layout(scene(graph))):
        rects = [
            (label.x, label.y - 9, label.x + len(label.text) * CHARACTER, label.y + 3)
            for label in labels(frame)
        ]
        boxes = [(p.x, p.y, p.x + p.width, p.y + p.height) for p in frame.inside]
        for left, top, right, bottom in rects:
            assert frame.x <= left
            assert right <= frame.x + frame.width
            for other in (*boxes, *(r for r in rects if r != (left, top, right, bottom))):
                apart_x = right <= other[0] or other[2] <= left
                assert apart_x or bottom <= other[1] or other[3] <= top


def test_what_is_inside_of_something_not_needed_is_not_needed() -> None:
    drawn = scene(denoising(), {"denoise": "skip"})
    loop = next(box for box in drawn.boxes if box.name == "denoise")
    assert {box.status for box in loop.boxes if box.kind == "call"} == {"skip"}


def test_a_loop_says_what_it_carries() -> None:
    loop = next(box for box in scene(denoising()).boxes if box.name == "denoise")
    assert loop.lines == ("carries sample; next: $step",)


def test_long_and_odd_text_is_cut_and_made_printable() -> None:
    graph = Graph("odd", nodes={"a": Call("Text", {"text": "one\ntwo\x01" + "x" * 100})})
    line = scene(graph).boxes[0].lines[1]
    assert line.startswith("text: one two�xx")
    assert len(line) < 60
    ElementTree.fromstring(svg(layout(scene(graph))))

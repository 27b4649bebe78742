"""Drawings show every node once, nothing overlaps, and edges join what they should."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

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

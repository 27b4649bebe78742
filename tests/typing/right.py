"""What type checkers make of a graph that is built rightly."""

# pyright: strict

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, assert_type

from graphdiff.graph.build import Graph, If, Input, Loop, named, output, text
from tests.graph.toys import (
    Add,
    Film,
    First,
    Hear,
    MakePlan,
    Mix,
    Paint,
    Pair,
    Picture,
    Plan,
    Same,
    Save,
    Sound,
    TakePhoto,
    Tick,
    Walk,
    Walked,
)


class State(NamedTuple):
    total: int
    history: Picture | None


with Graph() as graph:
    size = Input("size", int, 3)
    assert_type(size, int)
    assert_type(Input("width", int, None, optional=True), int | None)
    assert_type(Input("base", Picture), Picture)
    assert_type(Input("names", "[str]"), Any)

    picture = Paint(size, "green")
    assert_type(picture, Picture)
    pair = Film(picture)
    assert_type(pair, Pair)
    assert_type(pair.sound, Sound)
    assert_type(Mix([picture, TakePhoto()], weights={"a": 1.0}), Picture)
    assert_type(Same(pair.sound), Sound)
    assert_type(First([1, 2]), int)
    assert_type(Save(picture, text("{}.png", size)), Path)
    assert_type(named("hum", Hear()), Sound)
    assert_type(If(True, picture, 3), Picture | int)

    plan = MakePlan(size)
    assert_type(plan, Plan)
    with Loop(over=plan, carry=State(0, None)) as loop:
        assert_type(loop.item, Tick)
        assert_type(loop.index, int)
        assert_type(loop.carry, State)
        step = Walk(loop.item, loop.carry.total, history=loop.carry.history)
        assert_type(step, Walked)
        loop.next(step)
        assert_type(loop.collect("totals", step.total), list[int])
    assert_type(loop.outputs.history, Picture | None)

    with Loop(over=3, carry={"total": 0}) as counted:
        assert_type(counted.item, int)
        counted.next(total=Add(counted.carry.total))
    with Loop(over={"tick": plan, "number": [1, 2]}) as zipped:
        assert_type(zipped.item, Any)
        Walk(zipped.item.tick, zipped.item.number)
    output(picture=picture)

assert_type(Paint.fn(3), Picture)

"""Loops: what they go over, carry and collect, when they end, what of them is reused."""

from __future__ import annotations

from typing import Any

import pytest

from graphdiff.engine.events import LoopProgress
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.store import NoStore
from graphdiff.graph.spec import Loop, Ref, WorkflowError
from tests.engine.toys import (
    call,
    calls,
    count_to,
    graph,
    planned,
    ran,
    ref,
    run,
    value,
)


def test_a_loop_carries_from_pass_to_pass() -> None:
    what = graph(
        {"loop": count_to([1, 2, 3], collect={"ys": ref("y")})},
        {"x": "$loop.x", "ys": "$loop.ys"},
    )
    results = run(what)
    assert dict(results.outputs) == {"x": 6, "ys": [1, 3, 6]}
    assert ran(results) == ["loop[0].y", "loop[1].y", "loop[2].y"]
    steps = [e for e in results.events if isinstance(e, LoopProgress)]
    assert [(s.loop, s.done, s.total) for s in steps] == [("loop", k, 3) for k in (1, 2, 3)]


def test_a_loop_without_passes_gives_what_it_carries_first() -> None:
    assert run(graph({"loop": count_to([])}, {"x": "$loop.x"})).outputs["x"] == 0


def test_a_loop_goes_over_several_lists_at_once() -> None:
    loop = Loop(
        over={"a": [1, 2], "b": value(["$one", 10])},
        nodes={"y": call("Add", a="$item.a", b="$item.b")},
        collect={"ys": ref("y")},
    )
    assert run(graph({"one": call("One"), "l": loop}, {"r": "$l.ys"})).outputs["r"] == [2, 12]


def test_lists_of_unequal_length_are_an_error_that_gives_the_lengths() -> None:
    loop = Loop(over={"a": Ref(("count",)), "b": [1]}, nodes={"y": call("One")})
    what = graph({"count": call("Count", n=3), "l": loop}, None)
    with pytest.raises(WorkflowError, match="a has 3, b has 1"):
        run(
            graph(
                {
                    "count": call("Count", n=3),
                    "l": Loop(loop.over, loop.nodes, {}, {}, {"y": ref("y")}),
                },
                {"r": "$l.y"},
            )
        )
    assert what.nodes


def test_a_loop_goes_over_a_list_that_only_the_run_gives() -> None:
    what = graph({"list": call("Listed", x=5), "loop": count_to(ref("list"))}, {"x": "$loop.x"})
    assert run(what).outputs["x"] == 5
    assert not planned(what).complete


def test_nested_loops_run_each_body_once_a_pass_and_see_outer_items() -> None:
    inner = Loop(
        over=2,
        carry={"x": ref("carry.x")},
        nodes={"y": call("Pair", a="$carry.x", b="$outer.item")},
        next={"x": ref("y")},
    )
    outer = Loop(
        over=["p", "q"], carry={"x": 0}, nodes={"inner": inner}, next={"x": ref("inner.x")}
    )
    results = run(graph({"outer": outer}, {"x": "$outer.x"}))
    assert ran(results) == [f"outer[{i}].inner[{j}].y" for i in (0, 1) for j in (0, 1)]
    expected: Any = 0
    for item in "ppqq":
        expected = ("pair", expected, item)
    assert results.outputs["x"] == expected


def test_a_loop_over_a_prefix_reuses_the_passes_of_a_longer_one() -> None:
    store = MemoryStore()
    run(graph({"loop": count_to([1, 2, 3, 4])}, {"x": "$loop.x"}), store=store)
    shorter = run(graph({"loop": count_to([1, 2])}, {"x": "$loop.x"}), store=store)
    assert (ran(shorter), shorter.outputs["x"]) == ([], 3)
    changed = run(graph({"loop": count_to([1, 2, 9])}, {"x": "$loop.x"}), store=store)
    assert ran(changed) == ["loop[2].y"]


def test_with_one_stored_pass_dropped_only_what_is_needed_runs_again() -> None:
    store = MemoryStore()
    what = graph({"loop": count_to([1, 2, 3, 4])}, {"x": "$loop.x"})
    run(what, store=store)
    keys = {c.name: c.key for c in planned(what, store=store).calls}
    store.drop(keys["loop[1].y"])
    assert ran(run(what, store=store)) == []
    store.drop(keys["loop[3].y"])
    assert ran(run(what, store=store)) == ["loop[3].y"]


@pytest.mark.parametrize("limit", [0, 2, 100])
def test_until_ends_a_loop_after_the_first_pass_that_makes_it_true(limit: int) -> None:
    loop = Loop(
        over=[1, 2, 3, 4],
        carry={"x": 0},
        nodes={
            "y": call("Add", a="$carry.x", b="$item"),
            "done": call("Above", x="$y", limit=limit),
        },
        next={"x": ref("y")},
        until=ref("done"),
    )
    what = graph(
        {"start": call("One"), "loop": loop, "end": call("Add", a="$loop.x", b="$start")},
        {"x": "$end"},
    )
    store = MemoryStore()
    results = run(what, store=store)
    expected, passes = 0, 0
    for item in (1, 2, 3, 4):
        expected, passes = expected + item, passes + 1
        if expected > limit:
            break
    assert results.outputs["x"] == expected + 1
    assert len(calls) == len(set(calls))  # nothing ran twice
    assert sum(c.startswith("Above") for c in calls) == passes
    assert ran(run(what, store=store)) == []
    assert planned(what, store=store).complete


def test_what_a_loop_collects_until_it_ends_is_kept_without_a_cache() -> None:
    def until(limit: int, start: Any) -> Loop:
        return Loop(
            over=6,
            carry={"x": start},
            nodes={
                "y": call("Add", a="$carry.x", b="$index"),
                "done": call("Above", x="$y", limit=limit),
                "z": call("Pair", a="$y", b="seen"),
            },
            next={"x": ref("y")},
            collect={"zs": ref("z")},
            until=ref("done"),
        )

    calls.clear()
    flat = run(graph({"loop": until(5, 0)}, {"zs": "$loop.zs"}), store=NoStore())
    assert flat.outputs["zs"] == [("pair", y, "seen") for y in (0, 1, 3, 6)]
    assert len(calls) == 4 * 3
    inner = {"inner": until(4, ref("item"))}
    outer = Loop(over=2, nodes=inner, collect={"xs": ref("inner.x")})
    nested = run(graph({"outer": outer}, {"xs": "$outer.xs"}), store=NoStore())
    assert nested.outputs["xs"] == [6, 7]

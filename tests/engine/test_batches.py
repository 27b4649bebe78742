"""Calls that run as one: siblings, passes, points of a sweep; and what memory allows."""

from __future__ import annotations

from typing import Any

import pytest

from graphdiff.engine.errors import OutOfMemory, RunError
from graphdiff.engine.events import NodeStarted
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.program import PointInputs
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Input, Loop
from tests.engine.toys import (
    call,
    calls,
    graph,
    planned,
    ran,
    ref,
    run,
)


def test_batchable_siblings_run_as_one_and_equal_what_each_gives_alone() -> None:
    nodes = {f"s{k}": call("Stack", x=k) for k in range(4)}
    nodes["other"] = call("Stack", x=1, salt=5)
    outputs = {name: f"${name}" for name in nodes}
    results = run(graph(nodes, outputs))
    assert calls == ["Stack 4", "Stack 1"]
    assert dict(results.outputs) == {"s0": 0, "s1": 10, "s2": 20, "s3": 30, "other": 15}
    assert {e.batch for e in results.events if isinstance(e, NodeStarted)} == {1, 4}
    calls.clear()
    exact = run(graph(nodes, outputs), exact=True)
    assert calls == ["Stack 1"] * 5
    assert dict(exact.outputs) == dict(results.outputs)


def test_exact_runs_have_keys_of_their_own_for_what_can_be_batched() -> None:
    what = graph({"a": call("Add", a=1), "s": call("Stack", x="$a")}, {"r": "$s"})
    loose = {c.name: c.key for c in planned(what).calls}
    exact = {c.name: c.key for c in planned(what, exact=True).calls}
    assert loose["a"] == exact["a"]
    assert loose["s"] != exact["s"]


def stacked_loop(passes: Any) -> Loop:
    """A loop whose body is batchable."""
    return Loop(
        over=passes,
        carry={"x": 1},
        nodes={"s": call("Stack", x="$carry.x"), "y": call("Add", a="$s", b="$item")},
        next={"x": ref("y")},
    )


def test_loops_of_unequal_length_fall_into_step() -> None:
    what = graph(
        {"a": stacked_loop([1, 2, 3]), "b": stacked_loop([4, 5]), "c": stacked_loop([6])},
        {"a": "$a.x", "b": "$b.x", "c": "$c.x"},
    )
    assert dict(run(what).outputs) == {"a": 1123, "b": 145, "c": 16}
    # The first pass is the same call in all three.
    assert [c for c in calls if c.startswith("Stack")] == ["Stack 1", "Stack 2", "Stack 1"]


def test_points_of_a_sweep_share_what_is_equal_and_batch_the_rest() -> None:
    what = graph(
        {
            "one": call("One"),
            "s": call("Stack", x="$inputs.seed"),
            "end": call("Add", a="$s", b="$one"),
        },
        {"r": "$end"},
        {"seed": Input("int", 0)},
    )
    points = [PointInputs({"seed": k}, f"seed={k}") for k in range(5)]
    results = run(what, points=points)
    assert [p.outputs["r"] for p in results.points] == [10 * k + 1 for k in range(5)]
    assert calls.count("One") == 1
    assert "Stack 5" in calls
    assert "seed=3/s" in ran(results)


def test_a_window_bounds_how_many_points_are_under_way() -> None:
    what = graph({"s": call("Stack", x="$inputs.seed")}, {"r": "$s"}, {"seed": Input("int", 0)})
    points = [PointInputs({"seed": k}, f"seed={k}") for k in range(7)]
    results = run(what, points=points, window=3)
    assert [p.outputs["r"] for p in results.points] == [10 * k for k in range(7)]
    assert max(int(c.split()[1]) for c in calls) <= 3


def test_out_of_memory_first_empties_the_cache_on_the_device_and_only_then_halves() -> None:
    class Device(MemoryStore):
        """A store that says it has something on a device, until it is dropped."""

        held = 100

        def drop_device(self) -> int:
            dropped, self.held = self.held, 0
            return dropped

    store, tried = Device(), list[tuple[int, int]]()

    @node
    def Fits(x: int, y: int) -> int:
        """A sum."""
        return x + y

    @Fits.batched(over=("x",))
    def _(x: list[int], y: int) -> list[int]:
        tried.append((len(x), store.held))
        if store.held or len(x) > 2:
            raise MemoryError
        return [v + y for v in x]

    nodes = {f"n{k}": call("Fits", x=k, y=1) for k in range(4)}
    results = run(graph(nodes), store=store, registry=Registry.of(Fits))
    assert [results.outputs[f"n{k}"] for k in range(4)] == [1, 2, 3, 4]
    assert tried == [(4, 100), (4, 0), (2, 0), (2, 0)]


def test_out_of_memory_halves_the_batch_and_ends_in_an_error_that_says_what_to_lower() -> None:
    tried: list[int] = []

    @node
    def Heavy(x: int) -> int:
        """Heavy."""
        tried.append(1)
        if x < 0:
            raise MemoryError
        return x

    @Heavy.batched(over=("x",))
    def _heavy(x: list[int]) -> list[int]:
        tried.append(len(x))
        if len(x) > 2:
            raise MemoryError
        return x

    registry = Registry.of(Heavy)
    nodes = {f"h{k}": call("Heavy", x=k) for k in range(6)}
    results = run(graph(nodes, {name: f"${name}" for name in nodes}), registry=registry)
    assert [results.outputs[f"h{k}"] for k in range(6)] == list(range(6))
    assert tried == [6, 3, 2, 2, 2] or tried == [6, 3, 1, 1, 1, 1, 1, 1]
    started = [e.node for e in results.events if isinstance(e, NodeStarted)]
    assert sorted(started) == sorted(nodes)
    with pytest.raises(RunError) as caught:
        run(graph({"h": call("Heavy", x=-1)}, {"h": "$h"}), registry=registry)
    events = [type(e).__name__ for e in caught.value.results.events]
    assert events == ["RunStarted", "NodeStarted", "NodeFailed", "RunFinished"]
    assert isinstance(caught.value.failures[0], OutOfMemory)
    assert "lower" in str(caught.value)


def test_one_bad_call_of_a_batch_fails_alone() -> None:
    @node
    def Picky(x: int) -> int:
        """Picky."""
        if x == 2:
            raise ValueError("not two")
        return x

    @Picky.batched(over=("x",))
    def _picky(x: list[int]) -> list[int]:
        return [Picky.fn(one) for one in x]

    nodes = {f"p{k}": call("Picky", x=k) for k in range(4)}
    with pytest.raises(RunError) as caught:
        run(graph(nodes, {n: f"${n}" for n in nodes}), registry=Registry.of(Picky))
    assert dict(caught.value.results.outputs) == {"p0": 0, "p1": 1, "p3": 3}

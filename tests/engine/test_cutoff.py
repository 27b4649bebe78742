"""Early cutoff: where a rerun gives an equal value, what depends on it is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.program import Point, Program
from graphdiff.graph.spec import Loop
from tests.engine.toys import (
    cached,
    call,
    graph,
    ran,
    ref,
    run,
    statuses,
)


def test_early_cutoff_stops_where_a_rerun_gives_an_equal_value() -> None:
    store = MemoryStore()

    def what(a: int, b: int) -> Any:
        return graph(
            {
                "sum": call("Add", a=a, b=b),
                "scaled": call("Add", a="$sum", b=100),
                "end": call("Add", a="$scaled", b=1000),
            },
            {"r": "$end"},
        )

    run(what(1, 5), store=store)
    again = run(what(2, 4), store=store)
    assert again.outputs["r"] == 1106
    assert statuses(again) == {"sum": "run", "scaled": "cached", "end": "cached"}


def test_early_cutoff_spares_a_loop_that_starts_from_an_equal_value() -> None:
    store = MemoryStore()

    def what(a: int, b: int) -> Any:
        loop = Loop(
            over=[1, 2, 3],
            carry={"x": ref("sum")},
            nodes={
                "half": call("Halve", x="$carry.x"),
                "y": call("Add", a="$half.low", b="$item"),
            },
            next={"x": ref("y")},
        )
        return graph(
            {"sum": call("Add", a=a, b=b), "loop": loop, "end": call("Add", a="$loop.x", b=7)},
            {"r": "$end"},
        )

    first = run(what(10, 50), store=store)
    again = run(what(20, 40), store=store)
    assert again.outputs["r"] == first.outputs["r"]
    assert ran(again) == ["sum"]
    assert len(cached(again)) == 7


def test_early_cutoff_goes_down_a_chain_of_any_length() -> None:
    store = MemoryStore()

    def what(a: int, b: int) -> Any:
        nodes = {"n0": call("Add", a=a, b=b)}
        for k in range(1, 3000):
            nodes[f"n{k}"] = call("Add", a=f"$n{k - 1}", b=1)
        return graph(nodes, {"r": "$n2999"})

    run(what(1, 5), store=store)
    assert ran(run(what(2, 4), store=store)) == ["n0"]


@pytest.mark.parametrize("tells", [True, False])
def test_an_effect_on_an_equal_value_is_found_unless_its_file_tells_of_another_run(
    tmp_path: Path, tells: bool
) -> None:
    store = MemoryStore()

    def what(a: int, b: int) -> Any:
        nodes = {"sum": call("Add", a=a, b=b), "save": call("Save", value="$sum", path="s.txt")}
        return graph(nodes)

    def told(program: Program, _: Point) -> dict[str, Any]:
        return {"workflow": repr(program.workflow.graph) if tells else ""}

    options: dict[str, Any] = {"store": store, "output_dir": tmp_path, "provenance": told}
    run(what(1, 5), **options)
    assert ran(run(what(2, 4), **options)) == (["sum", "save"] if tells else ["sum"])
    assert ran(run(what(2, 4), **options)) == []

"""What two workflows compute differently."""

from __future__ import annotations

from typing import Any

from graphdiff.engine.diff import Diff, diff
from graphdiff.graph.spec import Graph, Input, Loop
from tests.engine.toys import call, graph, planned, ref


def compare(a: Graph, b: Graph, **inputs: Any) -> Diff:
    return diff(planned(a), planned(b, inputs))


BASE = {"one": call("One"), "sum": call("Add", a="$one", b=2), "end": call("Add", a="$sum", b=3)}


def test_workflows_that_compute_the_same_do_not_differ() -> None:
    found = compare(graph(BASE, {"r": "$end"}), graph(dict(reversed(BASE.items())), {"r": "$end"}))
    assert not found
    assert str(found) == "they compute the same"


def test_a_renamed_node_is_recognised_by_what_it_computes() -> None:
    other = {"one": BASE["one"], "summe": BASE["sum"], "end": call("Add", a="$summe", b=3)}
    found = compare(graph(BASE, {"r": "$end"}), graph(other, {"r": "$end"}))
    assert found.renamed == (("sum", "summe"),)
    assert (found.changed, found.added, found.removed, found.rerun) == ((), (), (), ())


def test_a_changed_argument_is_told_once_and_what_follows_by_its_cause() -> None:
    other = {**BASE, "sum": call("Add", a="$one", b=20)}
    found = compare(graph(BASE, {"r": "$end"}), graph(other, {"r": "$end"}))
    assert [(c.name, c.reasons, c.because) for c in found.changed] == [
        ("sum", ("b: 2 -> 20",), ()),
        ("end", (), ("sum",)),
    ]
    assert found.rerun == ("sum", "end")


def test_added_and_removed_nodes_are_told() -> None:
    other = {"one": BASE["one"], "extra": call("Scale", x=1.0)}
    found = compare(graph(BASE, {"r": "$end"}), graph(other, {"r": "$extra", "o": "$one"}))
    assert found.removed == ("sum", "end")
    assert found.added == ("extra",)


def test_a_loop_of_another_length_is_told_as_one_node() -> None:
    def looped(steps: int) -> Graph:
        loop = Loop(
            over=steps,
            carry={"x": 0},
            nodes={"step": call("Add", a="$carry.x", b="$item")},
            next={"x": ref("step")},
        )
        return graph({"loop": loop}, {"r": "$loop.x"}, {"n": Input("int", 0)})

    found = compare(looped(2), looped(4))
    assert [(c.name, c.reasons) for c in found.changed] == [("loop.step", ("2 calls -> 4 calls",))]
    assert found.rerun == ("loop[2].step", "loop[3].step")

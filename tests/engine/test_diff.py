"""What two workflows compute differently."""

from __future__ import annotations

from typing import Any

from graphdiff.engine.diff import Diff, diff
from graphdiff.graph.spec import Graph, Input, Loop, Part, Text
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


def test_only_the_cause_is_told_and_what_follows_is_listed() -> None:
    other = {**BASE, "sum": call("Add", a="$one", b=20)}
    found = compare(graph(BASE, {"r": "$end"}), graph(other, {"r": "$end"}))
    assert found.changed == ("sum.b: 2 -> 20",)
    assert found.follows == ("end",)
    assert found.rerun == ("sum", "end")
    assert list(found.lines()) == [
        "~ sum.b: 2 -> 20",
        "end follows from that",
        "2 calls would have to run again",
    ]


def test_a_changed_input_is_told_once_however_many_nodes_read_it() -> None:
    nodes = {"a": call("Add", a="$inputs.n", b=1), "b": call("Add", a="$inputs.n", b=2)}
    what = graph(nodes, {"a": "$a", "b": "$b"}, {"n": Input("int", 1)})
    assert compare(what, what, n=5).changed == ("inputs.n: 1 -> 5",)


def test_a_literal_that_became_an_input_is_compared_by_value() -> None:
    literal = graph({"a": call("Add", a=3, b=1)}, {"a": "$a"})

    def wired(value: int) -> Graph:
        return graph(
            {"a": call("Add", a="$inputs.n", b=1)}, {"a": "$a"}, {"n": Input("int", value)}
        )

    assert not compare(literal, wired(3))
    assert compare(literal, wired(5)).changed == ("a.a: 3 -> 5",)


def test_added_and_removed_nodes_are_told() -> None:
    other = {"one": BASE["one"], "extra": call("Scale", x=1.0)}
    found = compare(graph(BASE, {"r": "$end"}), graph(other, {"r": "$extra", "o": "$one"}))
    assert found.removed == ("sum (Add)", "end (Add)")
    assert found.added == ("extra (Scale, x: 1.0)",)


def test_a_node_in_between_is_told_and_not_the_wires_that_it_changes() -> None:
    nodes = {"one": call("One"), "more": call("Add", a="$one", b=9)}
    other = {**nodes, "sum": call("Add", a="$more", b=2), "end": call("Add", a="$sum", b=3)}
    found = compare(graph(BASE, {"r": "$end"}), graph(other, {"r": "$end"}))
    assert (found.changed, found.added) == ((), ("more (Add, a: $one, b: 9)",))
    back = compare(graph(other, {"r": "$end"}), graph(BASE, {"r": "$end"}))
    assert (back.changed, back.removed) == ((), ("more (Add)",))


def test_another_wire_between_nodes_that_both_have_is_told() -> None:
    nodes = {"one": call("One"), "two": call("Add", a=1, b=1), "sum": call("Add", a="$one", b=2)}
    other = {**nodes, "sum": call("Add", a="$two", b=2)}
    outputs = {"r": "$sum", "o": "$one", "t": "$two"}
    assert compare(graph(nodes, outputs), graph(other, outputs)).changed == ("sum.a: $one -> $two",)


def test_a_changed_plan_node_is_told_and_not_what_it_gives() -> None:
    def counted(n: int) -> Graph:
        nodes = {"numbers": call("Count", n=n), "sum": call("Sum", xs="$numbers")}
        return graph(nodes, {"r": "$sum"})

    found = compare(counted(2), counted(4))
    assert found.changed == ("numbers.n: 2 -> 4",)
    assert found.follows == ("sum",)


def test_a_plan_node_that_was_added_is_told() -> None:
    before = graph({"sum": call("Sum", xs=[0, 1])}, {"r": "$sum"})
    nodes = {"numbers": call("Count", n=3), "sum": call("Sum", xs="$numbers")}
    found = compare(before, graph(nodes, {"r": "$sum"}))
    assert found.added == ("numbers (Count, n: 3)",)


def test_another_spelling_of_the_same_value_is_no_difference() -> None:
    direct = graph(
        {"numbers": call("Count", n=2), "sum": call("Sum", xs="$numbers")}, {"r": "$sum"}
    )
    written = graph({"sum": call("Sum", xs=[0, 1])}, {"r": "$sum"})
    assert compare(direct, written).rerun == ()
    assert compare(direct, written).changed == ()


def test_a_loop_of_another_length_is_told_as_one_thing() -> None:
    def looped(steps: int) -> Graph:
        loop = Loop(
            over=steps,
            carry={"x": 0},
            nodes={"step": call("Add", a="$carry.x", b="$item")},
            next={"x": ref("step")},
        )
        return graph({"loop": loop}, {"r": "$loop.x"}, {"n": Input("int", 0)})

    found = compare(looped(2), looped(4))
    assert found.changed == ("loop.over: 2 -> 4",)
    assert found.rerun == ("loop[2].step", "loop[3].step")


def test_the_argument_of_a_part_is_told_by_the_name_it_has_outside() -> None:
    inner = graph(
        {"a": call("Add", a="$inputs.x", b="$inputs.by"), "b": call("Add", a="$a", b="$inputs.by")},
        {"y": "$b"},
        {"x": Input("int"), "by": Input("int", 7)},
    )

    def around(**args: int) -> Graph:
        part = Part("./inner.yaml", inner, {"x": 1, **args})
        return graph({"part": part}, {"r": "$part.y"})

    assert compare(around(by=3), around(by=5)).changed == ("part.by: 3 -> 5",)
    assert compare(around(), around(by=5)).changed == ("part.by: 7 -> 5",)


def test_a_part_that_was_written_out_is_recognised() -> None:
    inner = graph({"a": call("Add", a="$inputs.x", b=1)}, {"y": "$a"}, {"x": Input("int")})
    part = graph({"part": Part("./inner.yaml", inner, {"x": 1})}, {"r": "$part.y"})
    out = graph({"a": call("Add", a=4, b=1)}, {"r": "$a"})
    found = compare(part, out)
    assert found.renamed == (("part.a", "a"),)
    assert found.changed == ("a.a: 1 -> 4",)
    assert (found.added, found.removed) == ((), ())


def test_stating_a_default_is_no_difference_beside_others() -> None:
    nodes = {"a": call("Scale", x=1.0), "b": call("Pair", a="$a")}
    other = {"a": call("Scale", x=3.0, by=2.0), "b": call("Pair", a="$a", b=None)}
    assert compare(graph(nodes, {"b": "$b"}), graph(other, {"b": "$b"})).changed == (
        "a.x: 1.0 -> 3.0",
    )


def test_a_part_that_was_renamed_is_told_as_one() -> None:
    inner = graph(
        {"a": call("Add", a=1, b=1), "b": call("Add", a="$a", b=1)}, {"y": "$b"}, name="inner"
    )
    part = Part("./inner.yaml", inner, {})
    found = compare(graph({"one": part}, {"r": "$one.y"}), graph({"two": part}, {"r": "$two.y"}))
    assert list(found.lines()) == ["= one is now called two"]


def test_text_that_is_made_of_other_values_is_told_as_it_is_written() -> None:
    def named(*parts: str) -> Graph:
        text = Text(tuple(ref(p[1:]) if p.startswith("$") else p for p in parts))
        inputs = {"n": Input("int", 1), "m": Input("int", 2)}
        return graph({"pair": call("Pair", a=text)}, {"r": "$pair"}, inputs)

    found = compare(named("x-", "$inputs.n"), named("x-", "$inputs.n", "$inputs.m"))
    assert found.changed == ("pair.a: 'x-${inputs.n}' -> 'x-${inputs.n}${inputs.m}'",)

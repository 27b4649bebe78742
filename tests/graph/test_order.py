"""Which nodes need which: order without recursion, and cycles that name their nodes."""

from __future__ import annotations

from graphdiff.graph.order import cycles, has_refs, needs, order
from graphdiff.graph.spec import Call, Element, Loop, Ref, Text


def call(*names: str) -> Call:
    return Call("T", {f"x{i}": Ref((name,)) for i, name in enumerate(names)})


def test_each_node_comes_after_those_it_needs() -> None:
    nodes: dict[str, Element] = {"d": call("b", "c"), "b": call("a"), "c": call("a"), "a": call()}
    ordered, left = order(nodes)
    assert left == {}
    assert all(
        ordered.index(source) < ordered.index(name)
        for name, element in nodes.items()
        for source in needs(name, element)
    )


def test_nodes_on_and_behind_a_cycle_are_left_over() -> None:
    ordered, left = order({"a": call("b"), "b": call("a"), "c": call("b"), "d": call()})
    assert ordered == ["d"]
    assert set(left) == {"a", "b", "c"}
    assert cycles(left) == [["a", "b", "a"]]


def test_knots_that_do_not_touch_are_told_one_by_one() -> None:
    _, left = order({"a": call("a"), "x": call("z"), "y": call("x"), "z": call("y")})
    assert cycles(left) == [["a", "a"], ["x", "z", "y", "x"]]


def test_a_loop_needs_what_its_body_needs_but_not_its_own_variables() -> None:
    inner = Loop(Ref(("item",)), {"b": call("far", "a")}, collect={"x": Ref(("outer", "item"))})
    outer = Loop(Ref(("over",)), {"a": call("near"), "inner": inner}, {"c": Ref(("start",))})
    assert needs("outer", outer) == {"over", "start", "near", "far"}
    own = Loop(2, {"a": Call("T", {"x": Ref(("outer", "c"))})}, {"c": 1})
    assert needs("outer", own) == {"outer"}


def test_references_are_found_wherever_they_stand() -> None:
    ref = Ref(("a",))
    assert all(has_refs(value) for value in (ref, [1, [ref]], {"k": {"l": ref}}, Text(("x", ref))))
    assert not any(has_refs(value) for value in (1, "$a", None, [1, "$a"], {"a": Text(("x",))}))

"""What nodes may not do: change what they are given, or give what they do not declare."""

from __future__ import annotations

from typing import Any

import pytest

from graphdiff.engine.errors import RunError
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.session import Session
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.workflow import Workflow
from tests.engine.toys import (
    NODES,
    REGISTRY,
    call,
    graph,
    run,
)


def test_a_node_that_changes_a_list_in_place_is_caught_and_named() -> None:
    what = graph({"list": call("Listed", x=1), "bad": call("Append", xs="$list")}, {"r": "$bad"})
    with pytest.raises(RunError, match=r"bad \(Append\): it changed xs in place"):
        run(what)


def test_a_node_that_changes_a_tensor_in_place_is_caught_and_named() -> None:
    torch = pytest.importorskip("torch")

    @node
    def Ones() -> Any:
        """Ones."""
        return torch.ones(3)

    @node
    def Double(x: Any) -> Any:
        """Double, the wrong way."""
        return x.mul_(2)

    @node
    def Total(x: Any) -> float:
        """The sum."""
        return float(x.sum())

    what = graph(
        {"ones": call("Ones"), "bad": call("Double", x="$ones"), "sum": call("Total", x="$ones")},
        {"bad": "$bad", "sum": "$sum"},
    )
    with pytest.raises(RunError) as caught:
        run(what, registry=Registry.of(Ones, Double, Total))
    assert "bad (Double): it changed x in place" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
@pytest.mark.parametrize("size", [1, 3, 4096])
def test_a_node_that_writes_through_memory_that_a_tensor_shares_is_caught_and_named(
    dtype: str, size: int
) -> None:
    torch = pytest.importorskip("torch")

    @node
    def Ones() -> Any:
        """Ones."""
        return torch.ones(size, dtype=getattr(torch, dtype))

    @node
    def Alias(x: Any) -> int:
        """Clear the bytes, behind the tensor's back."""
        version = x._version
        x.view(torch.uint8).numpy()[:] = 0
        assert x._version == version
        return 1

    what = graph({"ones": call("Ones"), "bad": call("Alias", x="$ones")}, {"bad": "$bad"})
    with pytest.raises(RunError, match=r"bad \(Alias\): it changed x in place"):
        run(what, registry=Registry.of(Ones, Alias))


def test_what_a_node_changed_in_place_is_neither_read_by_others_nor_found_later() -> None:
    torch = pytest.importorskip("torch")

    @node
    def Ones() -> Any:
        """Ones."""
        return torch.ones(3)

    @node
    def Alias(x: Any) -> int:
        """Clear the bytes, behind the tensor's back."""
        x.numpy()[:] = 0
        return 1

    @node
    def Total(x: Any, after: int = 0) -> float:
        """The sum."""
        return float(x.sum())

    nodes = {"ones": call("Ones"), "bad": call("Alias", x="$ones"), "one": call("One")}
    nodes["sum"] = call("Total", x="$ones", after="$one")
    what = graph(nodes, {"bad": "$bad", "sum": "$sum"})
    session = Session(cache=MemoryStore(), registry=Registry.of(*NODES, Ones, Alias, Total))
    with pytest.raises(RunError):
        session.run(what)
    assert session.run(what, targets=["sum"]).outputs["sum"] == 3.0


def test_tensors_that_hold_nan_and_tensors_of_every_layout_are_no_changed_ones() -> None:
    torch = pytest.importorskip("torch")

    @node
    def Odd() -> Any:
        """Tensors of many kinds."""
        return [
            torch.full((3,), float("nan")),
            torch.ones(8, 8).t(),
            torch.ones(1).expand(100),
            torch.ones(0),
            torch.ones(4, 4).to_sparse(),
            torch.ones(3, dtype=torch.complex64).conj(),
            torch.tensor(float("nan"), dtype=torch.bfloat16),
        ]

    @node
    def Look(x: Any) -> int:
        """Look, and touch nothing."""
        return len(x)

    what = graph({"odd": call("Odd"), "n": call("Look", x="$odd")}, {"n": "$n"})
    assert run(what, registry=Registry.of(Odd, Look)).outputs["n"] == 7


def test_what_a_plan_node_gave_is_asked_for_anew_after_a_node_has_changed_it() -> None:
    nodes = {"n": call("Count", n=3), "bad": call("Append", xs="$n")}
    what = graph(nodes | {"sum": call("Sum", xs="$n")}, {"sum": "$sum"})
    with pytest.raises(RunError, match="changed xs in place"):
        run(what, targets=["bad"])
    assert run(what).outputs["sum"] == 0 + 1 + 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_failure_says_which_call_first_gave_what_is_no_number(dtype: str) -> None:
    torch = pytest.importorskip("torch")

    @node
    def Start() -> Any:
        """Fine."""
        return torch.ones(500, dtype=getattr(torch, dtype))

    @node
    def Spoil(x: Any) -> Any:
        """Not fine."""
        return x / 0 - x / 0

    @node
    def Pass(x: Any) -> Any:
        """No better."""
        return x + 1

    @node
    def Refuse(x: Any) -> int:
        """Refuse what is no number."""
        raise ValueError("no number")

    nodes = {
        "start": call("Start"),
        "spoil": call("Spoil", x="$start"),
        "pass": call("Pass", x="$spoil"),
        "fine": call("Refuse", x="$start"),
        "end": call("Refuse", x="$pass"),
    }
    what = graph(nodes, {"fine": "$fine", "end": "$end"})
    with pytest.raises(RunError) as caught:
        run(what, registry=Registry.of(Start, Spoil, Pass, Refuse))
    said = {failure.node: str(failure) for failure in caught.value.failures}
    assert "the first value that is no number came from spoil, a Spoil" in said["end"]
    assert "first value" not in said["fine"]


def test_a_result_that_is_not_what_the_node_declares_fails_that_node() -> None:
    @node
    def Wrong(x: int) -> str:
        """Give what was not declared."""
        return x  # type: ignore[return-value]

    what = graph({"wrong": call("Wrong", x=1)}, {"r": "$wrong"})
    with pytest.raises(RunError, match=r"wrong \(Wrong\): .*it gave int, but declares str"):
        Session(cache=False, registry=Registry.of(Wrong)).run(what)


def test_a_node_that_exits_fails_alone() -> None:
    @node
    def Exits(x: int) -> int:
        """Leave."""
        raise SystemExit(3)

    what = graph({"exits": call("Exits", x=1), "one": call("One")}, {"r": "$exits", "s": "$one"})
    with pytest.raises(RunError, match="exits") as caught:
        Session(cache=False, registry=Registry.of(*NODES, Exits)).run(what)
    assert caught.value.results.outputs["s"] == 1


def test_a_caller_may_change_what_a_run_gave_without_changing_later_runs() -> None:
    nodes = {"plan": call("Count", n=3), "made": call("Listed", x=2)}
    nodes |= {"a": call("Sum", xs="$plan"), "b": call("Sum", xs="$made")}
    what = Workflow(graph(nodes, {name: f"${name}" for name in nodes}))
    session = Session(cache=MemoryStore(), registry=REGISTRY)
    first = session.run(what).outputs
    said = {name: first[name] for name in ("a", "b")}
    for name in ("plan", "made"):
        first[name].append(100)
    again = session.run(what, targets=["plan", "made"]).outputs
    assert 100 not in again["plan"]
    assert 100 not in again["made"]
    assert {name: session.run(what).outputs[name] for name in said} == said


def test_a_tensor_that_a_caller_changed_is_computed_again() -> None:
    torch = pytest.importorskip("torch")

    @node
    def Ones() -> Any:
        """Ones."""
        return torch.ones(3)

    what = Workflow(graph({"ones": call("Ones")}, {"ones": "$ones"}))
    session = Session(cache=MemoryStore(), registry=Registry.of(Ones))
    session.run(what).outputs["ones"].mul_(5)
    session.run(what).outputs["ones"].numpy()[:] = 7
    assert session.run(what).outputs["ones"].tolist() == [1.0, 1.0, 1.0]


def test_a_node_that_changes_its_argument_and_then_fails_spoils_nothing() -> None:
    @node
    def Spoil(xs: list[int]) -> int:
        """Append, then fail."""
        xs.append(7)
        raise ValueError("it is meant to fail")

    nodes = {"made": call("Listed", x=2), "bad": call("Spoil", xs="$made")}
    what = graph(nodes | {"sum": call("Sum", xs="$made")}, {"bad": "$bad", "sum": "$sum"})
    session = Session(cache=MemoryStore(), registry=Registry.of(*NODES, Spoil))
    with pytest.raises(RunError, match="changed xs in place, and then failed: it is meant to"):
        session.run(what, targets=["bad"])
    other = Session(cache=MemoryStore(), registry=Registry.of(*NODES, Spoil))
    expected = other.run(what, targets=["sum"]).outputs["sum"]
    assert session.run(what, targets=["sum"]).outputs["sum"] == expected

"""What is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from graphdiff.engine.disk import DiskStore
from graphdiff.engine.keep import worth_keeping
from graphdiff.engine.maintain import ls
from graphdiff.engine.session import Session
from graphdiff.engine.store import CacheWarning
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Element, Loop
from tests.engine.toys import NODES, call, graph, ran, ref


@pytest.mark.parametrize(
    ("seconds", "size_bytes", "policy", "worth"),
    [
        (1e-6, 10, "auto", False),
        (0.1, 10, "auto", True),
        (0.1, 1 << 30, "auto", False),
        (1000.0, 1 << 30, "auto", True),
        (1e-6, 1 << 30, "always", True),
        (1000.0, 10, "never", False),
        (1000.0, 10, "memory", False),
    ],
)
def test_what_takes_long_for_its_size_is_worth_keeping(
    seconds: float, size_bytes: int, policy: str, worth: bool
) -> None:
    assert worth_keeping(seconds, size_bytes, policy) is worth  # type: ignore[arg-type]


def test_what_is_for_memory_alone_is_found_in_a_session_and_not_in_the_next(
    tmp_path: Path,
) -> None:
    @node(cache="memory")
    def Held(x: int) -> int:
        """Something kept in memory."""
        return x

    registry = Registry.of(*NODES, Held)
    what = graph({"held": call("Held", x=1)}, {"r": "$held"})
    session = Session(cache=tmp_path, registry=registry)
    assert [ran(session.run(what)) for _ in range(2)] == [["held"], []]
    assert ls(tmp_path) == ()
    assert ran(Session(cache=tmp_path, registry=registry).run(what)) == ["held"]


def test_what_cannot_be_written_down_is_warned_of_and_the_run_goes_on(tmp_path: Path) -> None:
    @node
    def Strange() -> object:
        """Something without content."""
        return object()

    @node
    def Given(x: object) -> bool:
        """Whether there is anything."""
        return x is not None

    what = graph({"s": call("Strange"), "g": call("Given", x="$s")}, {"r": "$g"})
    with pytest.warns(UserWarning, match=r"what s \(Strange\) gives"):
        results = Session(cache=tmp_path, registry=Registry.of(Strange, Given)).run(what)
    assert results.outputs["r"] is True


def test_small_tensors_that_later_runs_start_from_are_kept_however_cheap_they_were(
    tmp_path: Path,
) -> None:
    @node
    def Text(x: int) -> torch.Tensor:
        """A tensor outside loops."""
        return torch.full((4,), float(x))

    @node
    def Move(x: torch.Tensor) -> torch.Tensor:
        """A step."""
        return x + 1

    @node
    def Total(x: torch.Tensor) -> float:
        """A number of a tensor."""
        return float(x.sum())

    registry = Registry.of(*NODES, Text, Move, Total)
    loop = Loop(3, {"move": call("Move", x="$carry.x")}, {"x": ref("text")}, {"x": ref("move")})
    nodes: dict[str, Element] = {
        "text": call("Text", x=1),
        "loop": loop,
        "sum": call("Total", x="$loop.x"),
    }
    what = graph(nodes, {"r": "$sum"})
    Session(cache=tmp_path, registry=registry).run(what)
    assert {entry.name for entry in ls(tmp_path)} == {"text", "loop[2].move", "sum"}


def test_an_exit_while_something_is_written_down_loses_that_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = DiskStore.put

    def exits(self: DiskStore, key: str, values: Any, meta: Any, **more: Any) -> Any:
        if values[""] == 2:
            raise SystemExit("out of the writer")
        return put(self, key, values, meta, **more)

    monkeypatch.setattr(DiskStore, "put", exits)
    nodes = {f"n{k}": call("Add", a=k) for k in range(1, 5)}
    what = graph(nodes, {f"n{k}": f"$n{k}" for k in range(1, 5)})
    with pytest.warns(CacheWarning, match="out of the writer"):
        results = Session(cache=tmp_path, registry=Registry.of(*NODES)).run(what)
    assert dict(results.outputs) == {f"n{k}": k for k in range(1, 5)}
    assert {entry.name for entry in ls(tmp_path)} == {"n1", "n3", "n4"}

"""What torch is told around a capture; without a GPU by stand-ins for what it would answer."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from graphdiff import pressure
from graphdiff.models import cuda_graphs
from graphdiff.models.cuda_graphs import Cuda


class Allocator:
    """Torch's, as of 2.11: a capture that fails goes on for it until it is told otherwise."""

    def __init__(self) -> None:
        self.underway: list[tuple[int, int]] = []
        self.pinning: list[tuple[int, int]] = []  # the same of pinned memory, which nobody can tell
        self.held: list[tuple[int, int]] = []
        self.pools = 0
        self.is_new = False  # as of 2.12, when torch tells it by itself

    def pool(self) -> tuple[int, int]:
        self.pools += 1
        return 0, self.pools

    @contextmanager
    def graph(self, graph: Graph, pool: Any, capture_error_mode: str) -> Generator[None]:
        self.empty()
        if pool in self.pinning:
            raise RuntimeError("beginAllocateToPool: already recording to mempool_id")
        self.underway.append(pool)
        self.pinning.append(pool)
        self.held.append(pool)
        try:
            yield
        except Exception as error:
            if self.is_new:
                self.underway.remove(pool)
                self.pinning.remove(pool)
            raise RuntimeError("operation failed due to a previous error during capture") from error
        self.underway.remove(pool)
        self.pinning.remove(pool)
        graph.own = pool

    def empty(self) -> None:
        if self.underway:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    def end(self, device: int, pool: tuple[int, int]) -> None:
        if pool not in self.underway:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.underway.remove(pool)

    def release(self, device: int, pool: tuple[int, int]) -> None:
        self.held.remove(pool)


class Graph:
    own: Any = None

    def pool(self) -> Any:
        return self.own


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> Allocator:
    made = Allocator()
    monkeypatch.setattr(cuda_graphs, "_failed", {})
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", made.graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", made.pool)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", made.empty)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", made.end, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", made.release, raising=False)
    return made


def fails() -> None:
    raise ValueError("this waits for the device")


@pytest.mark.parametrize("is_new", [False, True])
def test_after_a_capture_that_failed_memory_is_given_back_and_the_next_one_begins(
    allocator: Allocator, is_new: bool
) -> None:
    allocator.is_new = is_new
    with pytest.raises(RuntimeError, match="previous error"):
        Cuda().record(fails, None)
    Cuda().trim()
    assert Cuda().record(lambda: 7, None).outputs == 7
    assert len(allocator.held) == 1 + is_new  # the pool of the failed one is torch's own to leave


def test_a_pool_that_is_shared_is_left_to_the_graphs_that_live_in_it(allocator: Allocator) -> None:
    first = Cuda().record(lambda: 1, None)
    second = Cuda().record(lambda: 2, first)
    assert allocator.held == [(0, 1)] * 2
    with pytest.raises(RuntimeError, match="previous error"):
        Cuda().record(fails, second)
    assert allocator.held == [(0, 1)] * 2
    Cuda().record(lambda: 3, second)
    assert allocator.held == [(0, 1), (0, 1), (0, 2)]


def test_while_one_thread_captures_another_waits_to_give_memory_back(allocator: Allocator) -> None:
    errors: list[BaseException] = []

    def gives() -> None:
        try:
            pressure.give_back()
        except BaseException as error:
            errors.append(error)

    other = threading.Thread(target=gives)

    def work() -> None:
        other.start()
        other.join(0.1)
        assert other.is_alive()

    Cuda().record(work, None)
    other.join()
    assert not errors

"""CUDA graphs as a model needs them: recorded once, replayed, and waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch

from graphdiff.pressure import captures, give_back


class Recording(Protocol):
    """Work on a device that was recorded."""

    @property
    def outputs(self) -> Any:  # noqa: ANN401 - whatever the work gives
        """What it gives; the tensors in it are written anew by each replay."""
        ...

    def replay(self) -> None:
        """Enqueue the work once more, on what its inputs hold by then."""
        ...


class Mark(Protocol):
    """A place in what was enqueued on a device."""

    def wait(self) -> None:
        """Wait until the device has got there."""
        ...

    def follow(self) -> None:
        """Have all that is enqueued from here on run after it."""
        ...


class Recorder(Protocol):
    """A device whose work can be recorded."""

    def is_recording(self) -> bool:
        """Whether this thread's work is being recorded at the moment."""
        ...

    def record(self, work: Callable[[], Any], beside: Recording | None) -> Recording:
        """Record what some work enqueues, without any of it being done.

        Args:
            work: The work.
            beside: A recording whose memory this one may share: the two must never run at once.
        """
        ...

    def mark(self) -> Mark:
        """The end of what was enqueued so far."""
        ...

    def trim(self) -> None:
        """Give the memory back that nothing holds any more."""
        ...


# Torch 2.11 has its allocator of pinned memory take these captures to go on, by their pools: it may
# ask the graphs which they are, and such a pool cannot be entered again.
_failed: dict[Any, torch.cuda.CUDAGraph] = {}


@dataclass(frozen=True, slots=True)
class _Graph:
    """A CUDA graph, and where its outputs lie."""

    graph: torch.cuda.CUDAGraph
    outputs: Any

    def replay(self) -> None:
        """Launch it on the current stream."""
        self.graph.replay()


@dataclass(frozen=True, slots=True)
class _Event:
    """A CUDA event."""

    event: torch.cuda.Event

    def wait(self) -> None:
        """Sleep until it has come."""
        self.event.synchronize()

    def follow(self) -> None:
        """Make the current stream wait for it."""
        torch.cuda.current_stream().wait_event(self.event)


class Cuda:
    """The CUDA device of this process."""

    def is_recording(self) -> bool:
        """Whether the current stream is being captured."""
        return torch.cuda.is_current_stream_capturing()

    def record(self, work: Callable[[], Any], beside: Recording | None) -> Recording:
        """Capture a graph on torch's stream for that.

        Other threads may allocate and copy meanwhile: with `thread_local` only what this thread
        does can break the capture. A pool of memory must not be entered again once its last graph
        is gone, so that one is always shared with a graph that lives.
        """
        graph = torch.cuda.CUDAGraph()
        known = beside.graph.pool() if isinstance(beside, _Graph) else None
        pool = torch.cuda.graph_pool_handle() if known is None or known in _failed else known
        stream = torch.cuda.current_stream()
        with captures:
            try:
                with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                    outputs = work()
            except BaseException:
                _end(graph, pool)
                raise
            finally:
                torch.cuda.set_stream(stream)  # torch forgets to where a capture has failed
        return _Graph(graph, outputs)

    def mark(self) -> Mark:
        """An event on the current stream, for which the processor is not kept busy."""
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record()
        return _Event(event)

    def trim(self) -> None:
        """Empty torch's cache."""
        give_back()


def _end(graph: torch.cuda.CUDAGraph, pool: Any) -> None:  # noqa: ANN401 - opaque, says torch
    """Tell torch's allocator that a capture is over that failed, which torch 2.11 leaves out.

    It would take the capture to go on for ever: to empty its cache would fail from then on, and so
    would the next capture, which begins with that.
    """
    allocator = cast("Any", torch)._C
    with suppress(RuntimeError):  # it knows, as it does from torch 2.12 on
        allocator._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
        _failed[pool] = graph
        allocator._cuda_releasePool(torch.cuda.current_device(), pool)

"""Rounds by the clock on the wall, which a GPU needs, until a time that must not pass."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.gpu.device import Device
from benchmarks.rounds import Paired


@dataclass(frozen=True)
class Deadline:
    """When to have stopped.

    Args:
        seconds: How long there is.
    """

    seconds: float
    _start: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """How many seconds there are still."""
        return self._start + self.seconds - time.monotonic()


def wall_rounds(
    ways: Mapping[str, Callable[[], object]], rounds: int, *, device: Device, deadline: Deadline
) -> Paired:
    """Seconds of each way, in rounds that do all of them in a random order.

    One round is always made; a further one only if there is time for it.

    Args:
        ways: What to do, by name; each was done before.
        rounds: How many rounds at most.
        device: What does it.
        deadline: When to have stopped.
    """
    order = list(ways)
    shuffle = random.Random(0).shuffle
    times: dict[str, list[float]] = {name: [] for name in ways}
    longest = 0.0
    for i in range(rounds):
        if i and deadline.left < 1.2 * longest:
            break
        shuffle(order)
        for name in order:
            times[name].append(seconds(ways[name], device))
        longest = max(longest, sum(taken[-1] for taken in times.values()))
    return Paired(times)


def seconds(do: Callable[[], object], device: Device) -> float:
    """How long it takes until a device has done something."""
    device.synchronise()
    start = time.perf_counter()
    do()
    device.synchronise()
    return time.perf_counter() - start

"""What every table on a GPU is made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.gpu.device import Device
from benchmarks.gpu.timing import Deadline
from benchmarks.gpu.ways import Task


@dataclass(frozen=True)
class Trial:
    """What is measured, how often, and until when.

    Args:
        task: What is drawn.
        ways: How, in this order.
        rounds: How many rounds at most.
        deadline: When to have stopped.
        tolerance: How far pictures may be from diffusers', as a share of their contrast.
        matrix: The side of the matrices whose product says what the device can do.
        points: Of how many seeds a sweep is.
        budget: The most bytes of weights to have on the device, where that is asked.
    """

    task: Task
    ways: Sequence[str]
    rounds: int
    deadline: Deadline
    tolerance: float
    matrix: int = 8192
    points: int = 16
    budget: int = 4_000_000_000

    @property
    def device(self) -> Device:
        """What it is drawn on."""
        return Device(self.task.device)

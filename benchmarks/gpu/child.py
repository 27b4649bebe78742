"""One way in a process of its own: what it takes to its first pictures, and the memory it takes.

python -m benchmarks.gpu.child ARGUMENTS, JSON as `arguments` makes it; prints JSON.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()  # before torch is imported

import json  # noqa: E402
import sys  # noqa: E402
from dataclasses import asdict, dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.gpu.ways import Task


@dataclass(frozen=True)
class Reported:
    """What a process found out about itself.

    Args:
        first: Seconds from its start to its first picture.
        second: Seconds of the second picture.
        third: Seconds of the third.
        peak: The most bytes that tensors took on the device.
        reserved: The most that torch kept for them there.
        held: The most bytes of tensors there between calls of models: weights, and little else.
        counted: The most bytes of weights there, as the weights pool counts them.
        host: The most memory of the process.
    """

    first: float
    second: float
    third: float
    peak: int
    reserved: int
    held: int
    counted: int
    host: int


def arguments(task: Task, way: str, *, looks: bool = False, budget: int | None = None) -> str:
    """What the process is started with.

    Args:
        task: What is drawn.
        way: How.
        looks: Whether it looks at the memory between calls, which takes time.
        budget: The most bytes of weights to have on the device.
    """
    told = {"task": asdict(task) | {"folder": str(task.folder)}, "way": way}
    return json.dumps(told | {"looks": looks, "budget": budget})


def main(told: str) -> None:
    """Draw, and print what it took."""
    import resource

    from benchmarks.gpu.device import Device
    from benchmarks.gpu.ways import Task, way
    from graphdiff.checkpoints.pool import pool

    given: dict[str, Any] = json.loads(told)
    task = Task(**(given["task"] | {"folder": Path(given["task"]["folder"])}))
    device = Device(task.device)
    held, counted = [0], [0]

    def look(_: object) -> None:
        held.append(device.held())
        counted.append(pool().bytes_on(device.kind))

    pool().budget = given["budget"]
    draw = way(given["way"], task, watch=look if given["looks"] else None)
    seconds: list[float] = []
    for seed in range(3):
        start = time.perf_counter() if seed else _STARTED
        draw(seed)
        device.synchronise()
        seconds.append(time.perf_counter() - start)
    peak, reserved = device.peaks()
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    first, second, third = seconds
    found = Reported(first, second, third, peak, reserved, max(held), max(counted), host)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""Where the time of a step goes, and how often the host waits for the device in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.gpu.timing import seconds
from benchmarks.gpu.trace import KINDS, OTHERS, Seen, per_step, synchronising, watched
from benchmarks.gpu.trial import Trial
from benchmarks.gpu.ways import OURS, THEIRS, way, with_steps
from benchmarks.rounds import Row

_FEW, _MORE = 3, 8
_LONGEST = 6  # names that are listed


@dataclass(frozen=True)
class _Step:
    """What a step costs: seconds on the wall, what the device did, where the host waited."""

    wall: float
    seen: Seen
    waits: float
    places: tuple[str, ...]


def measure(trial: Trial) -> Iterator[Row]:
    """The difference between runs of some and of more steps, of ours against one of diffusers'."""
    watched(lambda: None, trial.device)  # the first time, tools are loaded
    theirs = next((_step(trial, name) for name in trial.ways if name in THEIRS), None)
    for name in trial.ways:
        if name in OURS and trial.deadline.left > 0:
            yield from _rows(trial, name, _step(trial, name), theirs)


def _step(trial: Trial, name: str) -> _Step:
    walls: list[float] = []
    watches: list[Seen] = []
    waits: list[list[str]] = []
    for steps in (_FEW, _FEW + _MORE):
        once = partial(way(name, with_steps(trial.task, steps)), 0)
        for _ in range(3):  # a first pass may be eager, a second captured, a third replayed
            once()
        walls.append(min(seconds(once, trial.device) for _ in range(3)))
        watches.append(watched(once, trial.device))
        waits.append(synchronising(once, trial.device))
    few, many = waits
    return _Step(
        (walls[1] - walls[0]) / _MORE,
        per_step(watches[0], watches[1], _MORE),
        (len(many) - len(few)) / _MORE,
        tuple(sorted({place for place in many if many.count(place) > few.count(place)})),
    )


def _rows(trial: Trial, name: str, found: _Step, against: _Step | None) -> Iterator[Row]:
    task = trial.task
    said = f"{task.name} batch {task.batch}, a step of {name}"

    names = sorted(found.seen.names.items(), key=lambda pair: -pair[1])[:_LONGEST]
    longest = "; ".join(f"{n[:48]} {t * 1e3:.3g} ms" for n, t in names)
    waits = ", ".join(f"{n} {call}" for call, n in found.seen.waits.items())
    columns: list[tuple[str, str, Callable[[_Step], float], str]] = [
        ("in all", "ms", lambda step: step.wall * 1e3, longest),
        *((kind, "ms", partial(_of_kind, kind), "") for kind in (*KINDS, OTHERS)),
        ("nothing to do", "ms", lambda step: max(0.0, step.wall - step.seen.busy) * 1e3, ""),
        ("kernels", "", lambda step: step.seen.kernels, ""),
        ("waits of the host, by the profiler", "", _unasked, waits),
        ("waits of the host, by torch's warnings", "", lambda s: s.waits, ", ".join(found.places)),
    ]
    for what, unit, read, note in columns:
        ours, theirs = read(found), None if against is None else read(against)
        ratio = theirs / ours if theirs is not None and ours > 0 else None
        case = f"{said}: {what}"
        yield Row("steps", case, unit, ours, theirs, ratio, ratio, ratio, note=note)


def _of_kind(kind: str, step: _Step) -> float:
    return step.seen.kinds.get(kind, 0.0) * 1e3


def _unasked(step: _Step) -> float:
    """Waits other than for an event, which keep the host from running too far ahead."""
    return sum(waits for call, waits in step.seen.waits.items() if "Event" not in call)

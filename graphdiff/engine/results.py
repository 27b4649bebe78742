"""What a run gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphdiff.engine.events import Event, RunFinished
from graphdiff.engine.holdings import Holdings
from graphdiff.engine.job import FREED, State
from graphdiff.engine.program import Point, Program
from graphdiff.engine.task import Form, Known, Task, Wire, filled, wires_in


class Values(Mapping[str, Any]):
    """Values by name, each read from the cache when it is first asked for."""

    def __init__(self, readers: Mapping[str, Callable[[], Any]]) -> None:
        self._readers = readers
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - any value
        if name not in self._values:
            self._values[name] = self._readers[name]()
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __repr__(self) -> str:
        return f"Values({', '.join(self)})"


@dataclass(frozen=True)
class Results:
    """What a run, or one point of it, gave.

    Args:
        outputs: The workflow's outputs, or the targets, by name.
        files: What effects wrote, or had written before.
        events: What happened, in order; for several points, of all of them.
        summary: The last event.
        label: What tells this point from others.
    """

    outputs: Mapping[str, Any]
    files: tuple[Path, ...]
    events: tuple[Event, ...] = field(repr=False)
    summary: RunFinished
    label: str = ""
    points: tuple[Results, ...] = field(default=(), repr=False)


def gathered_results(
    program: Program,
    holdings: Holdings,
    files: Mapping[Task, tuple[Path, ...]],
    events: tuple[Event, ...],
    summary: RunFinished,
) -> Results:
    """What a run gave, as far as it came; of several points, with those of each.

    Args:
        program: The run.
        holdings: Its values.
        files: What each effect wrote.
        events: What happened.
        summary: The last event.
    """

    def of(point: Point) -> Results:
        tasks = point.tasks() if files else ()
        found = dict.fromkeys(f for task in tasks for f in files.get(task, ()))
        values = Values(_readers(program, point, holdings))
        return Results(values, tuple(found), events, summary, point.label)

    if len(program.points) == 1:
        return of(program.points[0])
    points = tuple(map(of, program.points))
    return Results({}, summary.files, events, summary, points=points)


def _readers(program: Program, point: Point, holdings: Holdings) -> dict[str, Callable[[], Any]]:
    """How each result that there is is read."""
    filled_slots = point.scope.values
    found: dict[str, Callable[[], Any]] = {}
    for name, slots in program.wanted.results.items():
        there: dict[str, Form] = {}
        for port, slot in slots.items():
            form = filled_slots.get(slot)
            if form is not None and _is_there(form):
                there[port] = form
        if len(there) == len(slots):
            found[name] = _reader(name, there, holdings)
    return found


def _is_there(form: Form) -> bool:
    for wire in wires_in(form):
        job = wire.task.job
        if job is None or (job.state is not State.DONE and job.state is not State.FOUND):
            return False
    return True


def _reader(name: str, forms: Mapping[str, Form], holdings: Holdings) -> Callable[[], Any]:
    # What this run knows of its calls: the calls themselves may serve another one by then.
    jobs = {wire: wire.task.job for form in forms.values() for wire in wires_in(form)}

    def value_of(wire: Wire) -> Any:  # noqa: ANN401 - any value
        job = jobs[wire]
        assert job is not None
        value = holdings.output(job, wire.port)
        if value is FREED:
            raise LookupError(f"{name} is not in the cache any more: run the workflow again")
        return value

    def read() -> Any:  # noqa: ANN401 - any value
        values = {port: _own(form, filled(form, value_of)) for port, form in forms.items()}
        return values[""] if list(values) == [""] else values

    return read


def _own(form: Form, value: Any) -> Any:  # noqa: ANN401 - any value
    """A value for the caller to change: what is known when planning serves later runs too."""
    return _copied(value) if isinstance(form, Known) else value


def _copied(value: Any) -> Any:  # noqa: ANN401 - any value
    if value.__class__ is list:
        return [_copied(item) for item in value]
    if value.__class__ is dict:
        return {name: _copied(item) for name, item in value.items()}
    return tuple(map(_copied, value)) if value.__class__ is tuple else value

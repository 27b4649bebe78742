"""Several sets of inputs as one run: what can be said of them before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from graphdiff.engine.program import PointInputs, Program, Uncollected
from graphdiff.engine.task import Known, Task
from graphdiff.graph.spec import Diagnostic, WorkflowError


def points_of(
    sweep: Mapping[str, Sequence[Any]], inputs: Mapping[str, Any] | None = None
) -> list[PointInputs]:
    """The points of a sweep: every combination of the values of its names.

    Args:
        sweep: The values of each input that is swept; the last one turns fastest.
        inputs: Inputs that are the same in all points.
    """
    found: list[PointInputs] = []
    for values in product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        label = ",".join(f"{name}={value}" for name, value in chosen.items())
        found.append(PointInputs({**(inputs or {}), **chosen}, label))
    return found


def refuse_clashes(program: Program) -> None:
    """Refuse a sweep in which two points would write different things under one name.

    Raises:
        WorkflowError: with the names.
    """
    if len(program.points) < 2:
        return
    with Uncollected():
        program.advance()
    writers: dict[str, Task] = {}
    mistakes: list[Diagnostic] = []
    for task in program.linker.calls.linked:
        for i, marker in task.kind.paths:
            name = task.args[i]
            if marker != "write" or not isinstance(name, str):
                continue
            other = writers.setdefault(name, task)
            if other.scope.point == task.scope.point:
                continue
            one = program.points[other.scope.point].label
            two = program.points[task.scope.point].label
            message = f"{one} and {two} would both write {name}"
            mistakes.append(
                Diagnostic(
                    "path-clash",
                    message,
                    (*task.path, task.kind.names[i]),
                    program.workflow.places.value((*task.path, task.kind.names[i])),
                    help=f"put what is swept into the path, as in {_telling(program, other, task)}",
                )
            )
            break
    if mistakes:
        raise WorkflowError((mistakes[0],))


def _telling(program: Program, one: Task, other: Task) -> str:
    """A file name of the inputs that two points differ in."""
    first, second = (program.points[task.scope.point].scope.values for task in (one, other))
    names = [
        slot.removeprefix("$inputs.")
        for slot, value in first.items()
        if slot.startswith("$inputs.")
        and isinstance(value, Known)
        and isinstance(theirs := second.get(slot), Known)
        and theirs.token != value.token
    ]
    return f'"{"-".join(f"${{inputs.{name}}}" for name in names) or "${inputs.seed}"}.png"'

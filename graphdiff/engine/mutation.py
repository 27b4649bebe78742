"""Which arguments of a call were changed in place, by it or before it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from graphdiff.engine.guard import SCALARS, Guard, changed, guards_of
from graphdiff.engine.task import Task

_UNGUARDED: Mapping[str, tuple[Guard, ...]] = MappingProxyType({})


class ArgumentGuards:
    """What shows whether calls change their arguments."""

    def __init__(self) -> None:
        self._literals: dict[int, tuple[Any, tuple[Guard, ...]]] = {}

    def of(self, task: Task, args: list[Any]) -> Mapping[str, tuple[Guard, ...]]:
        """What shows whether a call changes its arguments, by parameter."""
        for value in args:
            if value.__class__ not in SCALARS:
                break
        else:
            return _UNGUARDED
        found: dict[str, tuple[Guard, ...]] = {}
        names = task.kind.names
        wired: dict[int, tuple[Guard, ...]] = {}
        for i, wire in task.wires:
            guards = wire.task.job.guards  # type: ignore[union-attr]
            wired[i] = guards[wire.port] if guards is not None else ()
        for i, value in enumerate(args):
            if value.__class__ in SCALARS:
                continue
            guarded = wired.get(i)
            if guarded is None:
                guarded = self._of_literal(value, lasting=not task.nested)
            if guarded:
                found[names[i]] = guarded
        return found

    def _of_literal(self, value: Any, *, lasting: bool) -> tuple[Guard, ...]:  # noqa: ANN401
        """The guards of a value that no call gives; of one that lasts, made once."""
        known = self._literals.get(id(value))
        if known is None or known[0] is not value:
            known = value, guards_of(value)
            if lasting:
                self._literals[id(value)] = known
        return known[1]


def first_changed(guards: Mapping[str, tuple[Guard, ...]], *, closely: bool = False) -> str | None:
    """The name of the first argument that looks different now; None if all are as they were."""
    for name, found in guards.items():
        if changed(found, closely=closely):
            return name
    return None


def changed_before(task: Task, parameter: str) -> str:
    """What is said of an argument that was changed before the call."""
    i = task.kind.place.get(parameter, -1)
    source = next((wire.task.name for j, wire in task.wires if j == i), "an input")
    return (
        f"its argument {parameter}, which {source} gave, was changed in place after that, by a "
        "node that reads it or holds on to it"
    )

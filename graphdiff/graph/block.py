"""A `with` block that nodes are added to, and the names that they get when it ends."""

from __future__ import annotations

import re
from contextvars import Token
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from graphdiff.graph.handles import Handle, parts
from graphdiff.graph.names import RESERVED, is_name
from graphdiff.graph.records import BuildError, Record, Scope, caller, current


class Block:
    """Nodes called inside of `with` are added to its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._tokens: list[Token[Scope | None]] = []

    def __enter__(self) -> Self:
        self._tokens.append(current.set(self._scope))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        current.reset(self._tokens.pop())
        if error is None:
            _name_by_variables(self._scope, caller())


def record_held(value: object) -> Record | None:
    """The record of the node or loop whose whole result a handle, or a loop, stands for."""
    if isinstance(value, Handle):
        origin, tail = parts(value)
        return origin if isinstance(origin, Record) and not tail else None
    if isinstance(value, Block):
        return value._scope.loop  # pyright: ignore[reportPrivateUsage]
    return None


def refuse_name(name: str) -> None:
    """Refuse what cannot be the name of a node.

    Raises:
        BuildError: it cannot.
    """
    if not is_name(name) or name in RESERVED:
        raise BuildError(f"a node cannot be called {name!r}")


def _name_by_variables(scope: Scope, frame: FrameType | None) -> None:
    """Name the nodes of a scope that have no name by the variables that hold their handles."""
    if frame is None:
        return
    names = scope.graph.names
    for variable, value in list(frame.f_locals.items()):
        record = record_held(value)
        if (
            record is not None
            and record.scope is scope
            and record.name is None
            and variable not in names
            and variable not in RESERVED
            and not variable.startswith("_")
        ):
            record.name = variable
            names.add(variable)
    name_the_rest(scope)


def name_the_rest(scope: Scope) -> None:
    """Name the nodes of a scope, and of its loops, that have no name by their types."""
    names = scope.graph.names
    counts: dict[str, int] = {}
    for record in scope.records:
        if record.name is None:
            base = _snake(Path(record.kind).stem)
            base = base if is_name(base) and base not in RESERVED else "node"
            number = counts.get(base, 0) + 1
            while (name := base if number == 1 else f"{base}_{number}") in names:
                number += 1
            counts[base] = number
            record.name = name
            names.add(name)
        if record.body is not None:
            name_the_rest(record.body)


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z])", "_", name)
    return re.sub(r"\W", "_", words).lower()

"""Loops of a graph that Python calls build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar, cast, overload

from graphdiff.graph.block import Block
from graphdiff.graph.handles import Handle
from graphdiff.graph.names import is_name
from graphdiff.graph.records import (
    BuildError,
    Record,
    Scope,
    Variable,
    checked,
    line_of_call,
    needed_scope,
)

T = TypeVar("T")
U = TypeVar("U")
C = TypeVar("C", bound=tuple[Any, ...])
K = TypeVar("K")


class Loop(Block, Generic[T, K]):
    """Nodes run once for each item; what `with Loop(...) as loop:` has inside is its body.

    Args:
        over: A list, a schedule, a number of passes, or a map of these, zipped.
        carry: What the first pass finds in `loop.carry`: a map, or a NamedTuple for type checkers.
    """

    @overload
    def __init__(self: Loop[int, C], over: int, *, carry: C) -> None: ...
    @overload
    def __init__(self: Loop[int, Any], over: int, *, carry: Mapping[str, Any] = ...) -> None: ...
    @overload
    def __init__(self: Loop[Any, C], over: Mapping[str, Any], *, carry: C) -> None: ...
    @overload
    def __init__(
        self: Loop[Any, Any], over: Mapping[str, Any], *, carry: Mapping[str, Any] = ...
    ) -> None: ...
    @overload
    def __init__(self: Loop[U, C], over: Iterable[U], *, carry: C) -> None: ...
    @overload
    def __init__(
        self: Loop[U, Any], over: Iterable[U], *, carry: Mapping[str, Any] = ...
    ) -> None: ...
    def __init__(self, over: Any, *, carry: Any = None) -> None:
        scope = needed_scope("Loop(...)")
        start: dict[str, Any] = _by_name(carry)
        args = checked({"over": over, "carry": start}, scope, "Loop")
        self._record = Record("Loop", args, line_of_call(), scope)
        self._record.body = Scope(scope.graph, self._record)
        super().__init__(self._record.body)
        scope.records.append(self._record)

    @property
    def item(self) -> T:
        """The item of a pass; of a map of lists, `loop.item.name`."""
        return cast(T, Handle(Variable(self._record, "item")))

    @property
    def index(self) -> int:
        """The number of the pass, from 0."""
        return cast(int, Handle(Variable(self._record, "index")))

    @property
    def carry(self) -> K:
        """What the pass before gave to `next`, or the loop's `carry`: `loop.carry.name`."""
        return cast(K, Handle(Variable(self._record, "carry")))

    def next(self, result: object = None, /, **values: object) -> None:
        """Say what the next pass finds in `carry`.

        Args:
            result: A node's result whose outputs have the names of `carry`.
            **values: Or each by its name.
        """
        if isinstance(result, tuple):
            values = {**_by_name(result), **values}
        elif result is not None:
            if values or not isinstance(result, Handle):
                raise BuildError("next(...) takes the result of one node, or values by name")
            self._record.next = checked({"next": result}, self._record.scope, "next")["next"]
            return
        known = self._record.next
        new = checked(values, self._scope, "next")
        self._record.next = {**known, **new} if isinstance(known, dict) else new

    def collect(self, name: str, value: U) -> list[U]:
        """Collect a value of each pass in a list, which is an output of the loop."""
        if not is_name(name):
            raise BuildError(f"an output cannot be called {name!r}: names are letters, digits, _")
        self._record.collect[name] = checked({name: value}, self._scope, "collect")[name]
        return cast("list[U]", Handle(self._record, (name,)))

    def until(self, test: bool) -> None:
        """End the loop after the pass in which this value of its body is true."""
        handle: Any = test
        if not isinstance(handle, Handle):
            raise BuildError("until(...) takes a value of the loop's body")
        self._record.until = handle

    @property
    def outputs(self) -> K:
        """What the loop gives: its last carry, and the lists it collects, by name."""
        return cast(K, Handle(self._record))


def _by_name(values: Any) -> dict[str, Any]:  # noqa: ANN401 - a map, a NamedTuple or None
    """Values by name, of a map or a NamedTuple."""
    if hasattr(values, "_asdict"):
        return dict(values._asdict())
    return dict(values or {})

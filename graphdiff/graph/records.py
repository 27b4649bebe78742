"""What a graph is while Python calls build it: records of its nodes in scopes, and their lines."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, Literal, cast

from graphdiff.graph import spec
from graphdiff.graph.handles import Handle, describe, parts
from graphdiff.graph.node import Node
from graphdiff.graph.places import FilePlaces
from graphdiff.graph.spec import GraphPath, Place, Value

_HERE: Final = __name__.rpartition(".")[0] + "."


class BuildError(TypeError):
    """A call that cannot become part of a graph, with what to write instead."""


@dataclass(slots=True, eq=False)
class Line:
    """A line of Python."""

    file: str
    number: int

    def place(self) -> Place:
        """Where it is, with its text."""
        text = linecache.getline(self.file, self.number).rstrip("\n")
        return Place(self.file, self.number, 0, text or None)


@dataclass(slots=True, eq=False)
class Record:
    """An element while it is built: values still hold handles."""

    kind: str
    args: dict[str, Value]
    line: Line
    scope: Scope
    node: Node[..., Any] | None = None
    part: spec.Graph | None = None
    part_places: FilePlaces | None = None
    name: str | None = None
    body: Scope | None = None
    next: Value = field(default_factory=dict[str, Value])
    collect: dict[str, Value] = field(default_factory=dict[str, Value])
    until: Value = None

    def outputs(self, tail: tuple[str, ...]) -> Iterable[str]:
        """The names that may follow, as `handles.Origin` has it."""
        if tail:
            return ()
        if self.body is not None:
            return (*self.args["carry"], *self.collect)
        if self.part is not None:
            return tuple(self.part.outputs)
        return tuple(n for n in self.node.ports if n) if self.node is not None else ()

    def describe(self) -> str:
        """How messages call it."""
        return f"the result of {self.name or self.kind}"


@dataclass(slots=True, eq=False)
class Variable:
    """`$item`, `$index` or `$carry` of a loop."""

    loop: Record
    word: Literal["item", "index", "carry"]

    def outputs(self, tail: tuple[str, ...]) -> Iterable[str]:
        """The names that may follow, as `handles.Origin` has it."""
        if tail:
            return ()
        if self.word == "carry":
            return tuple(self.loop.args["carry"])
        over = self.loop.args["over"]
        zipped = self.word == "item" and isinstance(over, Mapping)
        return tuple(cast("Mapping[str, object]", over)) if zipped else ()

    def describe(self) -> str:
        """How messages call it."""
        return f"the {self.word} of {self.loop.name or 'the loop'}"


@dataclass(slots=True, eq=False)
class DeclaredInput:
    """An input that was declared."""

    name: str
    graph: Draft

    def outputs(self, tail: tuple[str, ...]) -> Iterable[str]:
        """The names that may follow, as `handles.Origin` has it."""
        return ()

    def describe(self) -> str:
        """How messages call it."""
        return f"the input {self.name}"


@dataclass(slots=True, eq=False)
class Template:
    """Text with handles inserted."""

    parts: tuple[str | Handle, ...]


@dataclass(slots=True, eq=False)
class Draft:
    """What was said so far of one graph, its nodes apart.

    Attributes:
        inputs: The inputs that were declared.
        outputs: The values that the graph gives; they still hold handles.
        places: Where inputs and outputs were said.
        names: The names that nodes have, those in loops too.
        nodes: The node types that were called.
    """

    inputs: dict[str, spec.Input] = field(default_factory=dict[str, spec.Input])
    outputs: dict[str, Value] = field(default_factory=dict[str, Value])
    places: dict[GraphPath, Line] = field(default_factory=dict[GraphPath, Line])
    names: set[str] = field(default_factory=set[str])
    nodes: dict[str, Node[..., Any]] = field(default_factory=dict[str, Node[..., Any]])


@dataclass(slots=True, eq=False)
class Scope:
    """The nodes of a graph, or of a loop's body."""

    graph: Draft
    loop: Record | None = None
    records: list[Record] = field(default_factory=list[Record])


current: ContextVar[Scope | None] = ContextVar("the graph being built", default=None)


def needed_scope(what: str) -> Scope:
    """The scope that calls are added to.

    Raises:
        BuildError: no graph is being built.
    """
    scope = current.get()
    if scope is None:
        raise BuildError(f"{what} makes part of a graph, which needs a `with Graph():` around it")
    return scope


def checked(values: Mapping[str, Any], scope: Scope, what: str) -> dict[str, Value]:
    """The values, of which no handle is another graph's.

    Raises:
        BuildError: one is.
    """
    for handle in _handles(list(values.values())):
        origin, _ = parts(handle)
        owner = origin.graph if isinstance(origin, DeclaredInput) else record_of(origin).scope.graph
        if owner is not scope.graph:
            raise BuildError(f"{what}: {describe(handle)} belongs to another graph")
    return dict(values)


def record_of(origin: Any) -> Record:  # noqa: ANN401 - what a handle is made of
    """The record of a node, or of the loop that a variable is of."""
    record = origin.loop if isinstance(origin, Variable) else origin
    assert isinstance(record, Record)  # the only other origin is an input
    return record


def _handles(values: Any) -> Iterator[Handle]:  # noqa: ANN401 - any value of an argument
    if isinstance(values, Handle):
        yield values
    elif isinstance(values, Template):
        yield from (part for part in values.parts if isinstance(part, Handle))
    elif isinstance(values, Mapping):
        for value in values.values():  # pyright: ignore
            yield from _handles(value)
    elif type(values) in (list, tuple):
        for value in values:
            yield from _handles(value)


def caller() -> FrameType | None:
    """The frame of the code that builds the graph, which is not in this package."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_HERE):
        frame = frame.f_back
    return frame


def line_of_call() -> Line:
    """The line of the code that builds the graph."""
    frame = caller()
    return Line(frame.f_code.co_filename, frame.f_lineno) if frame else Line("<python>", 0)

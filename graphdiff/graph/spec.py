"""What a workflow says, as frozen data: graphs, calls, loops, branches, references, diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path as FilePath
from typing import Any, Final, Literal

FORMAT_VERSION: Final = 1


class Missing(Enum):
    """The type of `MISSING`, which stands where a value could be but is not; null is a value."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference: `$denoise.sample` is `Ref(("denoise", "sample"))`.

    The first name is a node's, or one of `inputs`, `item`, `index` and `carry`; in a nested loop
    `("outer", "item", "step")` is `$outer.item.step`.
    """

    path: tuple[str, ...]

    def __str__(self) -> str:
        return "$" + ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Text:
    """Text with values inserted: `"${inputs.prompt}.png"` is `Text((Ref(...), ".png"))`."""

    parts: tuple[str | Ref, ...]

    def __str__(self) -> str:
        return "".join(p if isinstance(p, str) else f"${{{str(p)[1:]}}}" for p in self.parts)


# What an argument may hold: a reference, text with insertions, a list or map of these, or a
# literal: JSON data in a file, any object on a wire (a tensor, a picture) in Python.
Value = Any
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Input:
    """An input that a workflow declares.

    Args:
        type: `str`, `int`, `float`, `bool`, `path`, a wire type's name (`Image`), or a list of one
            of these, written `[str]`.
        default: The value where none is given; MISSING makes the input required.
        optional: Whether null is a value of it.
        help: One line for people.
        choices: The values allowed, where they are few.
        min: The lowest number allowed.
        max: The highest number allowed.
    """

    type: str
    default: Value = MISSING
    optional: bool = False
    help: str = ""
    choices: tuple[Value, ...] | None = None
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One node: the type's name and its arguments."""

    type: str
    args: Values


@dataclass(frozen=True, slots=True)
class Loop:
    """Nodes run once for each item, in order when something is carried from pass to pass.

    Args:
        over: A list, a schedule, a number of passes, or a map of these, zipped.
        carry: What the first pass finds in `$carry`; empty for a map of independent passes.
        nodes: The body.
        next: What the next pass finds, the same names as `carry`; or one reference to a node whose
            outputs bear those names.
        collect: Lists that the loop gives: one value a pass.
        until: A body value that ends the loop when true.
    """

    over: Value
    nodes: Mapping[str, Element]
    carry: Values = field(default_factory=dict[str, Value])
    next: Ref | Values = field(default_factory=dict[str, Value])
    collect: Values = field(default_factory=dict[str, Value])
    until: Ref | None = None


@dataclass(frozen=True, slots=True)
class If:
    """One of two values, by a test; what only the other needs never runs."""

    test: Value
    then: Value
    otherwise: Value


@dataclass(frozen=True, slots=True)
class Part:
    """A workflow inside a workflow: its inputs are arguments, its outputs outputs.

    Args:
        type: What stands in the file: a path relative to the including file, or a part's name.
        graph: The workflow itself.
        args: Arguments by input name.
    """

    type: str
    graph: Graph
    args: Values


Element = Call | Loop | If | Part


@dataclass(frozen=True, slots=True)
class Graph:
    """A workflow: inputs, nodes by name, and which values it gives."""

    name: str = ""
    description: str = ""
    inputs: Mapping[str, Input] = field(default_factory=dict[str, Input])
    nodes: Mapping[str, Element] = field(default_factory=dict[str, Element])
    outputs: Mapping[str, Value] = field(default_factory=dict[str, Value])
    folder: FilePath | None = field(default=None, compare=False)
    """The folder that paths written in this workflow are relative to."""


# Where something stands in a graph: ("nodes", "denoise", "nodes", "cond", "args", "step", 0).
# The keys are those of the file (a call's arguments have no "args" level there; see graph/yaml).
GraphPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: a file, a line and a column, both from 1."""

    file: str
    line: int
    column: int = 0
    source: str | None = None
    """The text of that line, for showing it."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: what is wrong, where, and what instead.

    Args:
        code: A stable name of the kind of mistake, such as `unknown-node` or `type-mismatch`.
        message: What is wrong, with what was expected.
        path: Where in the graph.
        place: Where in a file, or the line of the Python call.
        help: The way out: the nearest valid name, an output that would fit.
        severity: An error stops the run, a warning does not.
    """

    code: str
    message: str
    path: GraphPath = ()
    place: Place | None = None
    help: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = str(self.place) if self.place else ".".join(map(str, self.path))
        lines = [
            f"{where}: {self.code}: {self.message}" if where else f"{self.code}: {self.message}"
        ]
        if self.place and self.place.source is not None:
            number = f"{self.place.line:>5}"
            lines.append(f"{number} | {self.place.source}")
            if self.place.column:
                lines.append(f"{' ' * len(number)} | {' ' * (self.place.column - 1)}^")
        if self.help:
            lines.append(f"        help: {self.help}")
        return "\n".join(lines)


class WorkflowError(ValueError):
    """A workflow that cannot run as it is written, with every mistake that was found.

    Attributes:
        diagnostics: The mistakes, in the order of the file.
    """

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n".join(map(str, diagnostics)))

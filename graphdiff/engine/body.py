"""A graph laid out for linking: what each node is, and how the slots of outputs are filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from graphdiff.engine.keys import list_token, map_token
from graphdiff.engine.kind import Kind
from graphdiff.engine.task import Known
from graphdiff.graph.spec import Element, Graph, GraphPath

if TYPE_CHECKING:
    from graphdiff.engine.targets import Wanted


class Local:
    """A reference: the slot `slot` of the scope that is `up` scopes further out."""

    __slots__ = ("slot", "up")

    def __init__(self, up: int, slot: str) -> None:
        self.up = up
        self.slot = slot


class Joined:
    """Text with values inserted."""

    __slots__ = ("base", "parts")

    def __init__(self, parts: tuple[str | Local, ...], base: Path | None) -> None:
        self.parts = parts
        self.base = base


class Gathered:
    """A list or map with references in it."""

    __slots__ = ("items",)

    def __init__(self, items: list[Expr] | dict[str, Expr]) -> None:
        self.items = items


Expr: TypeAlias = Known | Local | Joined | Gathered


class CallSite:
    """A call as it stands in a graph.

    Attributes:
        label: Its name.
        kind: Its node.
        within: Where the body stands that it is in.
        args: Its arguments by position, None where they are not literals.
        tokens: The tokens of those.
        locals: The arguments that are a reference: position, scopes outwards, slot.
        others: The arguments that are text or lists with references.
    """

    __slots__ = ("args", "kind", "label", "locals", "others", "tokens", "within")

    def __init__(self, label: str, kind: Kind, within: GraphPath) -> None:
        self.label = label
        self.kind = kind
        self.within = within
        self.args: list[Any] = [None] * len(kind.names)
        self.tokens: list[bytes] = [b""] * len(kind.names)
        self.locals: tuple[tuple[int, int, str], ...] = ()
        self.others: tuple[tuple[int, Expr], ...] = ()

    @property
    def path(self) -> GraphPath:
        """Where it stands."""
        return (*self.within, "nodes", self.label)


class LoopSite:
    """A loop as it stands in a graph; `over` is one thing to go over, or several by name.

    `closed`: whether how it is linked is a matter of what it reads, once somebody asked.
    """

    __slots__ = ("body", "closed", "collect", "label", "names", "over", "path", "until")

    def __init__(self, label: str, path: GraphPath, over: Expr | dict[str, Expr]) -> None:
        self.label = label
        self.path = path
        self.over = over
        self.body: Body
        self.names: tuple[str, ...] = ()
        self.collect: tuple[str, ...] = ()
        self.until = False
        self.closed: bool | None = None


class IfSite:
    """A branch as it stands in a graph."""

    __slots__ = ("label", "otherwise", "path", "test", "then")

    def __init__(self, label: str, path: GraphPath, test: Expr, then: Expr, other: Expr) -> None:
        self.label, self.path = label, path
        self.test, self.then, self.otherwise = test, then, other


class PartSite:
    """A workflow inside a workflow."""

    __slots__ = ("body", "label", "path")

    def __init__(self, label: str, path: GraphPath, body: Body) -> None:
        self.label = label
        self.path = path
        self.body = body


Site: TypeAlias = CallSite | LoopSite | IfSite | PartSite

Descent: TypeAlias = tuple[LoopSite | PartSite, int]
"""A part, or a loop and the number of a pass, on the way to something inside of it."""

# What fills a slot. The third item of a slot's triple is what the handler needs beside the site.
How = Literal[
    "if", "loop", "loop-output", "collected", "part", "part-output",
    "carry", "inner", "item", "index", "argument", "effects", "loop-effects", "inside",
]  # fmt: skip
Slot: TypeAlias = tuple[How, Any, Any] | CallSite
"""How a slot is filled; a call fills the slots of its outputs."""


class Body:
    """The nodes of a graph, or of a loop, by the slots that their outputs fill.

    Attributes:
        slots: How each slot is filled.
        parent: The body around a loop's; None for a graph's.
        labels: What a slot is called by people: the name of its element.
        inputs: What the graph declares: the conversion of each input's value, and its default.
        wanted: What a run without targets is for, once somebody asked.
        evaluated: What runs were given by plan nodes that see nothing but their arguments, by key.
    """

    __slots__ = (
        "elements",
        "evaluated",
        "folder",
        "graph",
        "inputs",
        "labels",
        "loop",
        "outputs",
        "parent",
        "path",
        "slots",
        "wanted",
    )  # fmt: skip

    def __init__(
        self,
        graph: Graph,
        elements: Mapping[str, Element],
        path: GraphPath,
        parent: Body | None,
        loop: str,
    ) -> None:
        self.graph = graph
        self.elements = elements
        self.path = path
        self.parent = parent
        self.loop = loop
        self.folder = graph.folder
        self.slots: dict[str, Slot] = {}
        self.labels: dict[str, Site] = {}
        self.inputs: dict[str, tuple[Callable[[object], object], Known | None]] = {}
        self.outputs: tuple[str, ...] = ()
        self.wanted: Wanted | None = None
        self.evaluated: dict[str, tuple[Known, ...]] = {}

    def with_slots(self, more: Mapping[str, Slot]) -> Body:
        """The same with further slots."""
        if not more:
            return self
        body = copy(self)
        body.slots = {**self.slots, **more}
        return body


def slots_in(expr: Expr) -> Iterator[str]:
    """The slots that an expression reads, however far out these are."""
    if isinstance(expr, Local):
        yield expr.slot
    elif isinstance(expr, Joined):
        yield from (part.slot for part in expr.parts if isinstance(part, Local))
    elif isinstance(expr, Gathered):
        for item in expr.items.values() if isinstance(expr.items, dict) else expr.items:
            yield from slots_in(item)


def gathered_token(items: list[Any] | dict[str, Any]) -> bytes:
    """The token of a list or map of forms: that of the same list of values, were all known."""
    if isinstance(items, dict):
        return map_token({name: form.token for name, form in items.items()})
    return list_token(form.token for form in items)

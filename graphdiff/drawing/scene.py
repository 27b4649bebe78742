"""A workflow -> what a drawing of it shows: nested boxes and the edges between them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphdiff.graph.data import is_mapping
from graphdiff.graph.order import refs
from graphdiff.graph.spec import Call, Element, Graph, If, Loop, Part, Ref, Value

Kind = Literal["call", "loop", "part", "if", "port"]
Status = Literal["run", "cached", "skip", "mixed", "changed", ""]

_LOOP_NAMES = ("item", "index", "carry")
_LONGEST = 40  # characters of a line in a box


@dataclass(frozen=True, slots=True)
class Edge:
    """A value that goes from one box to a box beside it.

    Args:
        source: The name of the box that gives it.
        target: The name of the box that takes it.
        label: The output's name, where there are several.
    """

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the drawing; a frame where it has boxes inside.

    Args:
        name: The node's name among its neighbours.
        title: What is written large.
        lines: Smaller lines below: the type, then arguments that are no edges.
        kind: What sort of element it stands for.
        status: What a plan or a comparison says of it.
        boxes: What is inside, for a loop or a part.
        edges: Between the boxes inside.
    """

    name: str
    title: str
    lines: tuple[str, ...] = ()
    kind: Kind = "call"
    status: Status = ""
    boxes: tuple[Box, ...] = field(default=())
    edges: tuple[Edge, ...] = field(default=())


def scene(graph: Graph, statuses: Mapping[str, Status] | None = None) -> Box:
    """The whole workflow as one frame.

    Args:
        graph: The workflow.
        statuses: What to say of nodes, by dotted path without pass numbers (`denoise.cond`).
    """
    boxes, edges = _inside(graph.nodes, "", statuses or {}, "")
    lines = (graph.description,) if graph.description else ()
    return Box(graph.name, graph.name, lines, "part", "", boxes, edges)


def _inside(
    nodes: Mapping[str, Element], prefix: str, statuses: Mapping[str, Status], around: Status
) -> tuple[tuple[Box, ...], tuple[Edge, ...]]:
    boxes = tuple(_box(name, element, prefix, statuses, around) for name, element in nodes.items())
    return boxes, _edges(nodes, nodes)


def _edges(nodes: Mapping[str, Element], sources: Container[str]) -> tuple[Edge, ...]:
    """One edge for each pair of neighbours, with the outputs that go along it."""
    labels: dict[tuple[str, str], dict[str, None]] = {}
    for name, element in nodes.items():
        for ref in references(element):
            if ref.path[0] in sources and ref.path[0] != name:
                outputs = labels.setdefault((ref.path[0], name), {})
                outputs.update(dict.fromkeys(ref.path[1:2]))
    return tuple(Edge(source, target, ", ".join(o)) for (source, target), o in labels.items())


def _box(
    name: str, element: Element, prefix: str, statuses: Mapping[str, Status], around: Status
) -> Box:
    path = f"{prefix}{name}"
    status = statuses.get(path, "skip" if around == "skip" else "")
    match element:
        case Call(type=kind, args=args):
            return Box(name, name, (kind, *_plain_lines(args)), "call", status)
        case If(test=test):
            return Box(name, name, ("If", f"test: {_shown(test)}"), "if", status)
        case Part(type=kind, graph=graph):
            boxes, edges = _inside(graph.nodes, f"{path}.", statuses, status)
            return Box(name, f"{name}: {kind}", (), "part", status, boxes, edges)
        case Loop():
            boxes, edges = _inside(element.nodes, f"{path}.", statuses, status)
            ports = sorted({r.path[0] for r in references(element) if r.path[0] in _LOOP_NAMES})
            boxes = (*(Box(p, f"${p}", (), "port") for p in ports), *boxes)
            back = _carried(element)
            title = f"{name}: for each of {_shown(element.over)}"
            return Box(
                name, title, back, "loop", status, boxes, (*_edges(element.nodes, ports), *edges)
            )


def _carried(loop: Loop) -> tuple[str, ...]:
    """What a loop hands from pass to pass, and when it stops early."""
    lines: list[str] = []
    if loop.carry:
        back = loop.next if isinstance(loop.next, Ref) else _shown(loop.next)
        lines.append(f"carries {', '.join(loop.carry)}; next: {back}")
    if loop.until is not None:
        lines.append(f"until {loop.until}")
    return tuple(lines)


def references(value: Value | Element) -> Iterator[Ref]:
    """Every reference in a value or an element, those of a loop's body included."""
    match value:
        case Call(args=args) | Part(args=args):
            yield from refs(args)
        case If(test=test, then=then, otherwise=otherwise):
            yield from refs([test, then, otherwise])
        case Loop():
            yield from refs([value.over, value.carry, value.next, value.collect, value.until])
            for body in value.nodes.values():
                yield from references(body)
        case _:
            yield from refs(value)


def _plain_lines(args: Mapping[str, Value]) -> list[str]:
    """Arguments that come from no node: literals and inputs."""
    return [
        f"{name}: {_shown(value)}"
        for name, value in args.items()
        if all(ref.path[0] == "inputs" for ref in references(value))
    ]


def _shown(value: Value) -> str:
    text = value if isinstance(value, str) else str(value)
    if is_mapping(value):
        text = ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    text = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"

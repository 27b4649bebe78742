"""Which nodes of a scope need which others: an order to look at them in, and cycles."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import cast

from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.names import RESERVED
from graphdiff.graph.spec import Call, Element, GraphPath, If, Loop, Part, Ref, Text, Value

_LOOP_WORDS = ("item", "index", "carry")
_SCALARS = frozenset((str, int, float, bool, type(None)))


def refs(value: Value) -> Iterator[Ref]:
    """Every reference in a value."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Text):
        yield from (part for part in value.parts if isinstance(part, Ref))
    elif is_sequence(value):
        for item in value:
            yield from refs(item)
    elif is_mapping(value):
        for item in value.values():
            yield from refs(item)


def has_refs(value: Value) -> bool:
    """Whether there is a reference in a value."""
    if type(value) in _SCALARS:
        return False
    return next(refs(value), None) is not None


def needs(name: str, element: Element) -> frozenset[str]:
    """The names of the nodes outside of an element that it refers to, its own among them.

    A loop's own name is needed where its body refers to its result, not to `$name.item`.
    """
    return frozenset(ref.path[0] for ref in _outward(name, element))


def order(
    nodes: Mapping[str, Element], apart_from: Collection[str] = ()
) -> tuple[list[str], dict[str, frozenset[str]]]:
    """The names of nodes, each after those it needs, and the nodes on or behind cycles.

    What needs nothing that stands below it keeps its place.

    Args:
        nodes: The nodes.
        apart_from: Names that say nothing about the order, since it is open what they refer to.

    Returns:
        The order, and the needs of those nodes that have no place in it.
    """
    edges = {
        name: frozenset(n for n in needs(name, element) if n in nodes and n not in apart_from)
        for name, element in nodes.items()
    }
    readers: dict[str, list[str]] = {}
    waiting: dict[str, int] = {}
    for name, sources in edges.items():
        waiting[name] = len(sources)
        for source in sources:
            readers.setdefault(source, []).append(name)
    names = list(nodes)
    place = {name: i for i, name in enumerate(names)}
    ready = [place[name] for name, count in waiting.items() if not count]  # sorted, so a heap
    found: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        found.append(name)
        for reader in readers.get(name, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, place[reader])
    done = set(found)
    return found, {name: sources for name, sources in edges.items() if name not in done}


def cycles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """One cycle of each knot of nodes that need each other's results, in the order of the file."""
    return [cycle for cycle, _ in knots(edges)]


def knots(edges: Mapping[str, Iterable[str]]) -> list[tuple[list[str], frozenset[str]]]:
    """Nodes that need each other's results: one cycle of each such knot, and all that are in it."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from((n, source) for n, sources in edges.items() for source in sources)
    position = {name: i for i, name in enumerate(edges)}
    found: list[tuple[list[str], frozenset[str]]] = []
    for knot in nx.strongly_connected_components(graph):
        first = min(knot, key=lambda name: position.get(name, 0))
        if len(knot) > 1:
            inside = graph.subgraph(knot)
            back = min(inside.predecessors(first), key=lambda name: position.get(name, 0))
            path: list[str] = nx.shortest_path(  # pyright: ignore[reportUnknownMemberType]
                inside, first, back
            )
            found.append(([*path, first], frozenset(knot)))
        elif graph.has_edge(first, first):
            found.append(([first, first], frozenset(knot)))
    return sorted(found, key=lambda pair: position.get(pair[0][0], 0))


def place_of(element: Element, name: str) -> GraphPath | None:
    """Where an element refers to a node outside of it: a path from the element on."""
    if isinstance(element, (Call, Part)):
        return _within(cast(Value, element.args), name)
    if isinstance(element, If):
        return _within(
            {"test": element.test, "then": element.then, "else": element.otherwise}, name
        )
    if name not in element.nodes:
        for inner, below in element.nodes.items():
            if (found := place_of(below, name)) is not None:
                return ("nodes", inner, *found)
    ends = {"next": element.next, "collect": element.collect, "until": element.until}
    inside = {} if name in element.nodes else ends
    return _within({"over": element.over, "carry": element.carry, **inside}, name)


def _within(value: Value, name: str) -> GraphPath | None:
    """Where in a value a node is referred to, `$name.item` of a loop apart."""
    if isinstance(value, (Ref, Text)):
        found = any(ref.path[:1] == (name,) and not _is_own(ref, name) for ref in refs(value))
        return () if found else None
    items: Iterable[tuple[str | int, Value]] = ()
    if is_mapping(value):
        items = value.items()
    elif is_sequence(value):
        items = enumerate(value)
    for key, item in items:
        if (below := _within(item, name)) is not None:
            return (key, *below)
    return None


def _outward(name: str, element: Element) -> Iterator[Ref]:
    """The references of an element to nodes that are not in its body."""
    if isinstance(element, (Call, Part)):
        found = refs(cast(Value, element.args))
    elif isinstance(element, If):
        found = refs([element.test, element.then, element.otherwise])
    else:
        yield from (ref for ref in refs([element.over, element.carry]) if _is_to_node(ref))
        for ref in _of_body(element):
            if ref.path[0] not in element.nodes and not _is_own(ref, name):
                yield ref
        return
    yield from (ref for ref in found if _is_to_node(ref))


def _of_body(loop: Loop) -> Iterator[Ref]:
    """The references in a loop's body to nodes in it or around it."""
    ends = refs([loop.next, loop.collect, loop.until])
    yield from (ref for ref in ends if _is_to_node(ref))
    for name, element in loop.nodes.items():
        yield from _outward(name, element)


def _is_to_node(ref: Ref) -> bool:
    return bool(ref.path) and ref.path[0] not in RESERVED


def _is_own(ref: Ref, name: str) -> bool:
    """Whether a reference in a body is to its loop's variable, `$name.item`."""
    return len(ref.path) > 1 and ref.path[0] == name and ref.path[1] in _LOOP_WORDS

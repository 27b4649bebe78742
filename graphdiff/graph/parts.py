"""Named parts: calls of a part's name replaced by the part itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import overload

from graphdiff.graph.places import FilePlaces
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import (
    Call,
    Diagnostic,
    Element,
    Graph,
    GraphPath,
    Loop,
    Part,
    WorkflowError,
)
from graphdiff.graph.workflow import Workflow


@overload
def resolve(workflow: Workflow, registry: Registry) -> Workflow: ...
@overload
def resolve(workflow: Graph, registry: Registry) -> Graph: ...
def resolve(workflow: Workflow | Graph, registry: Registry) -> Workflow | Graph:
    """The same with every call of a named part as a `Part` that holds the part's graph.

    A graph without such calls is given back as it is. Of a workflow the places go on into the
    parts' files.

    Raises:
        WorkflowError: a part's file has mistakes, or includes itself.
    """
    resolver = _Resolver(registry)
    if isinstance(workflow, Graph):
        return resolver.graph(workflow, None)
    places = workflow.places if isinstance(workflow.places, FilePlaces) else None
    return replace(workflow, graph=resolver.graph(workflow.graph, places))


class _Resolver:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.loaded: dict[str, tuple[Graph, FilePlaces | None]] = {}
        self.included: dict[int, tuple[Graph, Graph]] = {}
        self.chain: list[str] = []

    def graph(self, graph: Graph, places: FilePlaces | None) -> Graph:
        nodes = self.nodes(graph.nodes, places, ("nodes",))
        return graph if nodes is graph.nodes else replace(graph, nodes=nodes)

    def nodes(
        self, nodes: Mapping[str, Element], places: FilePlaces | None, path: GraphPath
    ) -> Mapping[str, Element]:
        changed: dict[str, Element] = {}
        for name, element in nodes.items():
            new = self.element(element, places, (*path, name))
            if new is not element:
                changed[name] = new
        return {**nodes, **changed} if changed else nodes

    def element(self, element: Element, places: FilePlaces | None, path: GraphPath) -> Element:
        if isinstance(element, Call):
            if element.type not in self.registry.parts:
                return element
            graph, part_places = self.part(element.type, places, path)
            if places is not None and part_places is not None:
                places.with_part(element.type, part_places)
            return Part(element.type, graph, element.args)
        if isinstance(element, Loop):
            nodes = self.nodes(element.nodes, places, (*path, "nodes"))
            return element if nodes is element.nodes else replace(element, nodes=nodes)
        if isinstance(element, Part):
            known = self.included.get(id(element.graph))
            if known is None:  # a file that is included several times is resolved once
                below = places.parts.get(element.type) if places is not None else None
                known = element.graph, self.graph(element.graph, below)
                self.included[id(element.graph)] = known
            new = known[1]
            return element if new is element.graph else replace(element, graph=new)
        return element

    def part(
        self, name: str, places: FilePlaces | None, path: GraphPath
    ) -> tuple[Graph, FilePlaces | None]:
        if name in self.loaded:
            return self.loaded[name]
        if name in self.chain:
            chain = " -> ".join([*self.chain[self.chain.index(name) :], name])
            place = places.value((*path, "type")) if places is not None else None
            message = f"a part includes itself: {chain}"
            raise WorkflowError((Diagnostic("recursive-part", message, (*path, "type"), place),))
        from graphdiff.graph.yaml import read

        workflow = read(Path(self.registry.parts[name]))
        own = workflow.places if isinstance(workflow.places, FilePlaces) else None
        self.chain.append(name)
        try:
            loaded = self.graph(workflow.graph, own), own
        finally:
            self.chain.pop()
        self.loaded[name] = loaded
        return loaded

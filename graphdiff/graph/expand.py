"""Parts written out in place: the same graph without the inclusion, to read and to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from graphdiff.graph.hold import Holder
from graphdiff.graph.inputs import UnknownTypeError, input_annotation
from graphdiff.graph.literals import LiteralError, convert
from graphdiff.graph.names import did_you_mean
from graphdiff.graph.order import has_refs
from graphdiff.graph.parts import resolve
from graphdiff.graph.registry import Registry
from graphdiff.graph.rewrite import (
    Find,
    map_element,
    map_loop_ends,
    map_value,
    map_values,
    outputs_finder,
    qualified,
    renamer,
)
from graphdiff.graph.spec import (
    MISSING,
    Call,
    Diagnostic,
    Element,
    Graph,
    Loop,
    Part,
    Ref,
    Value,
    WorkflowError,
)


def expand(graph: Graph, registry: Registry, node: str | None = None) -> Graph:
    """The graph with its parts written out: what runs is the same, down to the last key.

    Args:
        graph: The graph.
        registry: The nodes and named parts there are.
        node: Only the part of this name; every part without.

    Raises:
        WorkflowError: there is no part of this name, or a part has mistakes.
    """
    expander = _Expander(registry, node, resolve(graph, registry))
    expanded = expander.graph()
    if node is not None and not expander.done:
        help = did_you_mean(node, expander.parts)
        message = f"there is no part called {node}"
        raise WorkflowError((Diagnostic("unknown-node", message, ("nodes", node), None, help),))
    return expanded


class _Expander:
    def __init__(self, registry: Registry, node: str | None, graph: Graph) -> None:
        self.registry = registry
        self.node = node
        self.whole = graph
        self.taken = set(_names(graph.nodes))
        self.parts: list[str] = []
        self.done = False

    def graph(self) -> Graph:
        nodes, outputs = self.scope(self.whole.nodes, "", self.whole.folder)
        changed = map_values(self.whole.outputs, outputs_finder(outputs, ""), 0)
        return replace(self.whole, nodes=nodes, outputs=changed)

    def scope(
        self, nodes: Mapping[str, Element], loop: str, folder: Path | None
    ) -> tuple[Mapping[str, Element], dict[str, Mapping[str, Value]]]:
        """The nodes of a scope written out, and the outputs of the parts that were in it."""
        found: dict[str, Element] = {}
        outputs: dict[str, Mapping[str, Value]] = {}
        for name, element in nodes.items():
            if isinstance(element, Part):
                self.parts.append(name)
                if self.node in (None, name):
                    self.done = True
                    inner, outputs[name] = self.part(name, element, loop, folder)
                    found.update(inner)
                    continue
            if isinstance(element, Loop):
                body, given = self.scope(element.nodes, name, folder)
                find = outputs_finder(given, name)
                element = map_loop_ends(replace(element, nodes=body), find, 0)
            found[name] = element
        outputs = _settled(outputs, loop)
        return self.written(found, outputs_finder(outputs, loop)), outputs

    def part(
        self, name: str, part: Part, loop: str, folder: Path | None
    ) -> tuple[dict[str, Element], Mapping[str, Value]]:
        """A part's nodes and what its outputs are, said in the scope around it."""
        inner = part.graph
        only = len(inner.nodes) == 1
        if not only:
            self.taken.discard(name)
        tops = {own: name if only else self.free(own, name) for own in inner.nodes}
        nodes = self.renamed(inner.nodes, tops, name)
        if inner.folder != folder:
            nodes = {n: self.moved(e, inner.folder) for n, e in nodes.items()}
        inputs = {
            given: self.argument(part, given, inner.folder if inner.folder != folder else None)
            for given in inner.inputs
        }

        def find(ref: Ref, depth: int) -> Value:
            if ref.path[0] != "inputs" or len(ref.path) != 2:
                return MISSING
            value = inputs.get(ref.path[1], MISSING)
            return qualified(value, loop) if depth else value

        written = self.written(nodes, find)
        outputs = map_values(map_values(inner.outputs, renamer(tops), 0), find, 0)
        if self.node is None:
            below, given = self.scope(written, loop, folder)
            written = dict(below)
            outputs = map_values(outputs, outputs_finder(given, loop), 0)
        return written, outputs

    def written(self, nodes: Mapping[str, Element], find: Find) -> dict[str, Element]:
        """Nodes with their references replaced, after those that hold what goes into paths."""
        holder = Holder(self.registry, find, self.free)
        found = {n: map_element(holder.element(e), find, 0) for n, e in nodes.items()}
        return {**holder.held, **found}

    def argument(self, part: Part, name: str, folder: Path | None) -> Value:
        """What an input of a part is, converted to its declared type as a run would."""
        declared = part.graph.inputs[name]
        value = part.args.get(name, declared.default)
        if name not in part.args and declared.type == "path" and isinstance(value, str):
            value = _absolute(value, folder)
        if value is MISSING or has_refs(value):
            return value
        try:
            converted = convert(value, input_annotation(declared, self.registry.types))
        except (LiteralError, UnknownTypeError):
            return value  # the checker tells
        return str(converted) if isinstance(converted, Path) else converted

    def renamed(
        self, nodes: Mapping[str, Element], names: Mapping[str, str], part: str
    ) -> dict[str, Element]:
        """The nodes of a part under names that are free around it."""
        found: dict[str, Element] = {}
        for own, element in nodes.items():
            if isinstance(element, Loop):
                inside = {n: self.free(n, part) for n in element.nodes}
                body = self.renamed(element.nodes, {**names, **inside}, part)
                find = renamer({**names, **inside})
                element = replace(
                    element,
                    over=map_value(element.over, renamer(names), 0),
                    carry=map_values(element.carry, renamer(names), 0),
                    nodes=body,
                )
                element = map_loop_ends(element, find, 0)
            else:
                element = map_element(element, renamer(names), 0)
            found[names[own]] = element
        return found

    def free(self, name: str, part: str) -> str:
        """A name near this one that no node has; it is then taken."""
        new, number = name, 1
        while new in self.taken:
            new = f"{part}_{name}" if number == 1 else f"{part}_{name}_{number}"
            number += 1
        self.taken.add(new)
        return new

    def moved(self, element: Element, folder: Path | None) -> Element:
        """An element with the paths in it made absolute, as they are relative to another file."""
        if isinstance(element, Loop):
            nodes = {n: self.moved(e, folder) for n, e in element.nodes.items()}
            return replace(element, nodes=nodes)
        node = self.registry.nodes.get(element.type) if isinstance(element, Call) else None
        if node is None or not isinstance(element, Call):
            return element
        args = dict(element.args)
        for name, value in args.items():
            kind = node.params[name].path_kind if name in node.params else None
            if isinstance(value, str) and kind == "read":
                args[name] = _absolute(value, folder)
            elif isinstance(value, str) and kind == "name" and folder is not None:
                beside = value.startswith(("./", "../")) or (folder / value).exists()
                args[name] = _absolute(value, folder) if beside else value
        return replace(element, args=args)


def _settled(
    outputs: Mapping[str, Mapping[str, Value]], loop: str
) -> dict[str, Mapping[str, Value]]:
    """The outputs of parts, with those that one part hands on from another said directly."""
    found = dict(outputs)
    for _ in outputs:  # the longest chain goes through all of them
        find = outputs_finder(found, loop)
        new = {name: map_values(given, find, 0) for name, given in found.items()}
        if new == found:
            break
        found = dict[str, Mapping[str, Value]](new)
    return found


def _names(nodes: Mapping[str, Element]) -> list[str]:
    found: list[str] = []
    for name, element in nodes.items():
        found.append(name)
        if isinstance(element, Loop):
            found += _names(element.nodes)
    return found


def _absolute(value: str, folder: Path | None) -> str:
    path = Path(value).expanduser()
    return value if folder is None or path.is_absolute() else str((folder / path).absolute())

"""Parts written out in place: the same graph without the inclusion, to read and to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.literals import LiteralError, UnknownTypeError, convert, input_annotation
from graphdiff.graph.names import did_you_mean, text_of
from graphdiff.graph.order import has_refs
from graphdiff.graph.parts import resolve
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import (
    MISSING,
    Call,
    Diagnostic,
    Element,
    Graph,
    If,
    Loop,
    Part,
    Ref,
    Text,
    Value,
    Values,
    WorkflowError,
)

Find = Callable[[Ref, int], Value]
"""What stands for a reference at a depth of loops; MISSING leaves it."""

_WORDS = ("item", "index", "carry")


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
        changed = _map_values(self.whole.outputs, _finder(outputs, ""), 0)
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
                find = _finder(given, name)
                element = _map_loop_ends(replace(element, nodes=body), find, 0)
            found[name] = element
        find = _finder(outputs, loop)
        return {name: map_element(e, find, 0) for name, e in found.items()}, outputs

    def part(
        self, name: str, part: Part, loop: str, folder: Path | None
    ) -> tuple[dict[str, Element], Mapping[str, Value]]:
        """A part's nodes and what its outputs are, said in the scope around it."""
        self.taken.discard(name)
        inner = part.graph
        only = len(inner.nodes) == 1
        tops = {own: name if only else self.free(own, name) for own in inner.nodes}
        nodes, outputs = self.renamed(inner.nodes, tops, name), _rename(inner.outputs, tops)
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
            return _qualified(value, loop) if depth else value

        written = {n: map_element(e, find, 0) for n, e in nodes.items()}
        if self.node is None:
            below, given = self.scope(written, loop, folder)
            written = dict(below)
            outputs = _map_values(outputs, _finder(given, loop), 0)
        return written, _map_values(outputs, find, 0)

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
                find = _renamer({**names, **inside})
                element = replace(
                    element,
                    over=_map_value(element.over, _renamer(names), 0),
                    carry=_map_values(element.carry, _renamer(names), 0),
                    nodes=body,
                )
                element = _map_loop_ends(element, find, 0)
            else:
                element = map_element(element, _renamer(names), 0)
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


def map_element(element: Element, find: Find, depth: int) -> Element:
    """An element with its references replaced."""
    if isinstance(element, (Call, Part)):
        return replace(element, args=_map_values(element.args, find, depth))
    if isinstance(element, If):
        test, then, otherwise = (
            _map_value(value, find, depth)
            for value in (element.test, element.then, element.otherwise)
        )
        return If(test, then, otherwise)
    element = replace(
        element,
        over=_map_value(element.over, find, depth),
        carry=_map_values(element.carry, find, depth),
        nodes={n: map_element(e, find, depth + 1) for n, e in element.nodes.items()},
    )
    return _map_loop_ends(element, find, depth + 1)


def _map_loop_ends(loop: Loop, find: Find, depth: int) -> Loop:
    """A loop with the references replaced that are made at the end of a pass."""
    following: Ref | Values
    if isinstance(loop.next, Ref):
        each = {n: Ref((*loop.next.path, n)) for n in loop.carry}
        moved = {n: find(ref, depth) for n, ref in each.items()}
        names = {new.path[:-1] for new in moved.values() if isinstance(new, Ref)}
        if all(new is MISSING for new in moved.values()):
            following = loop.next
        elif len(names) == 1 and all(
            isinstance(new, Ref) and new.path[-1] == n for n, new in moved.items()
        ):
            following = Ref(names.pop())  # one node still gives them all
        else:
            following = {n: each[n] if new is MISSING else new for n, new in moved.items()}
    else:
        following = _map_values(loop.next, find, depth)
    until = None if loop.until is None else _map_value(loop.until, find, depth)
    return replace(
        loop,
        next=following,
        collect=_map_values(loop.collect, find, depth),
        until=until if isinstance(until, Ref) else None if until in (None, False) else loop.until,
    )


def _map_values(values: Values, find: Find, depth: int) -> dict[str, Value]:
    return {name: _map_value(value, find, depth) for name, value in values.items()}


def _map_value(value: Value, find: Find, depth: int) -> Value:
    if isinstance(value, Ref):
        found = find(value, depth)
        return value if found is MISSING else found
    if isinstance(value, Text):
        return _joined(
            [p if isinstance(p, str) else _map_value(p, find, depth) for p in value.parts]
        )
    if is_sequence(value):
        return [_map_value(item, find, depth) for item in value]
    if is_mapping(value):
        return _map_values(value, find, depth)
    return value


def _joined(parts: list[Any]) -> str | Text:
    """Text of parts, of which those that became literals are part of the text."""
    merged: list[str | Ref] = []
    for part in parts:
        pieces = part.parts if isinstance(part, Text) else (part,)
        for piece in pieces:
            new = piece if isinstance(piece, Ref) else text_of(piece)
            if isinstance(new, str) and merged and isinstance(merged[-1], str):
                merged[-1] += new
            elif new != "":
                merged.append(new)
    if all(isinstance(part, str) for part in merged):
        return "".join(cast("list[str]", merged))
    return Text(tuple(merged))


def _finder(outputs: Mapping[str, Mapping[str, Value]], loop: str) -> Find:
    """Finds what stands for the outputs of parts that were written out."""

    def find(ref: Ref, depth: int) -> Value:
        given = outputs.get(ref.path[0])
        if given is None:
            return MISSING
        if len(ref.path) == 1 and len(given) == 1:
            value = next(iter(given.values()))
        else:
            value = given.get(ref.path[1], MISSING) if len(ref.path) == 2 else MISSING
        return _qualified(value, loop) if depth else value

    return find


def _renamer(names: Mapping[str, str]) -> Find:
    def find(ref: Ref, depth: int) -> Value:
        new = names.get(ref.path[0]) if ref.path else None
        return MISSING if new is None else Ref((new, *ref.path[1:]))

    return find


def _rename(values: Values, names: Mapping[str, str]) -> dict[str, Value]:
    return _map_values(values, _renamer(names), 0)


def _qualified(value: Value, loop: str) -> Value:
    """A value said inside of a further loop, where `$item` would be that loop's."""

    def find(ref: Ref, depth: int) -> Value:
        return Ref((loop, *ref.path)) if loop and ref.path[0] in _WORDS else MISSING

    return _map_value(value, find, 0)


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

"""References in values and elements replaced by what stands for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.names import text_of
from graphdiff.graph.spec import (
    MISSING,
    Call,
    Element,
    If,
    Loop,
    Part,
    Ref,
    Text,
    Value,
    Values,
)

Find = Callable[[Ref, int], Value]
"""What stands for a reference at a depth of loops; MISSING leaves it."""

_WORDS = ("item", "index", "carry")


def map_element(element: Element, find: Find, depth: int) -> Element:
    """An element with its references replaced."""
    if isinstance(element, (Call, Part)):
        return replace(element, args=map_values(element.args, find, depth))
    if isinstance(element, If):
        test, then, otherwise = (
            map_value(value, find, depth)
            for value in (element.test, element.then, element.otherwise)
        )
        return If(test, then, otherwise)
    element = replace(
        element,
        over=map_value(element.over, find, depth),
        carry=map_values(element.carry, find, depth),
        nodes={n: map_element(e, find, depth + 1) for n, e in element.nodes.items()},
    )
    return map_loop_ends(element, find, depth + 1)


def map_loop_ends(loop: Loop, find: Find, depth: int) -> Loop:
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
        following = map_values(loop.next, find, depth)
    until = None if loop.until is None else map_value(loop.until, find, depth)
    return replace(
        loop,
        next=following,
        collect=map_values(loop.collect, find, depth),
        until=until if isinstance(until, Ref) else None if until in (None, False) else loop.until,
    )


def map_values(values: Values, find: Find, depth: int) -> dict[str, Value]:
    """Values by name with their references replaced."""
    return {name: map_value(value, find, depth) for name, value in values.items()}


def map_value(value: Value, find: Find, depth: int) -> Value:
    """A value with its references replaced; text into which a literal goes holds it as text."""
    if isinstance(value, Ref):
        found = find(value, depth)
        return value if found is MISSING else found
    if isinstance(value, Text):
        return _joined(
            [p if isinstance(p, str) else map_value(p, find, depth) for p in value.parts]
        )
    if is_sequence(value):
        return [map_value(item, find, depth) for item in value]
    if is_mapping(value):
        return map_values(value, find, depth)
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


def outputs_finder(outputs: Mapping[str, Mapping[str, Value]], loop: str) -> Find:
    """Finds what stands for the outputs of parts that were written out."""

    def find(ref: Ref, depth: int) -> Value:
        given = outputs.get(ref.path[0])
        if given is None:
            return MISSING
        if len(ref.path) == 1 and len(given) == 1:
            value = next(iter(given.values()))
        else:
            value = given.get(ref.path[1], MISSING) if len(ref.path) == 2 else MISSING
        return qualified(value, loop) if depth else value

    return find


def renamer(names: Mapping[str, str]) -> Find:
    """Finds nodes under their new names."""

    def find(ref: Ref, depth: int) -> Value:
        new = names.get(ref.path[0]) if ref.path else None
        return MISSING if new is None else Ref((new, *ref.path[1:]))

    return find


def qualified(value: Value, loop: str) -> Value:
    """A value said inside of a further loop, where `$item` would be that loop's."""

    def find(ref: Ref, depth: int) -> Value:
        return Ref((loop, *ref.path)) if loop and ref.path[0] in _WORDS else MISSING

    return map_value(value, find, 0)

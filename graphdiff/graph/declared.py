"""Types by declarations alone: what a value is before the nodes that it comes from are checked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from graphdiff.graph.annotations import (
    substitute,
    union,
)
from graphdiff.graph.order import has_refs
from graphdiff.graph.registry import Registry
from graphdiff.graph.scope import ANYTHING, Out, Outs, Scope, UnresolvedError
from graphdiff.graph.spec import MISSING, Call, Element, If, Loop, Part, Ref, Value
from graphdiff.graph.values import literal_type


def declared_outs(element: Element, registry: Registry) -> Outs | None:
    """What a node gives as far as its declaration says; None for what is no node."""
    node = registry.nodes.get(element.type) if isinstance(element, Call) else None
    if node is None:
        return None
    return {n: Out(substitute(port.type, {}), True) for n, port in node.ports.items()}


def names_given(loop: Loop, registry: Registry) -> Collection[str]:
    """The names under which `next` gives something, by what the body's nodes declare."""
    if not isinstance(loop.next, Ref):
        return loop.next
    element = loop.nodes.get(loop.next.path[0]) if len(loop.next.path) == 1 else None
    if isinstance(element, Loop):
        return (*element.carry, *element.collect)
    if isinstance(element, Part):
        return element.graph.outputs
    outs = declared_outs(element, registry) if element is not None else None
    return [name for name in outs or () if name]


def next_type(loop: Loop, carried: str, body: Scope, registry: Registry) -> Any:  # noqa: ANN401
    """The type of what `next` gives under a name, by what the body's nodes declare."""
    value = _next_value(loop, carried)
    return Any if value is MISSING else _declared_type(value, body, 0, registry)


def _next_value(loop: Loop, carried: str) -> Value:
    """What `next` gives under a name; MISSING where it has none, which is reported elsewhere."""
    if isinstance(loop.next, Ref):
        return Ref((*loop.next.path, carried))
    return loop.next.get(carried, MISSING)


def _declared_type(value: Value, body: Scope, depth: int, registry: Registry) -> Any:  # noqa: ANN401
    """The type of a value of a body before the body is checked; anything where that is hard."""
    if not isinstance(value, Ref):
        return Any if has_refs(value) else literal_type(value)
    first, rest = value.path[0] if value.path else "", value.path[1:]
    element = body.nodes.get(first)
    if element is None or depth > 20:
        try:
            out = body.find(value) if value.path else None
        except UnresolvedError:
            out = None
        return out.type if out is not None else Any
    if isinstance(element, Call):
        outs = declared_outs(element, registry) or {}
        if not rest and len(outs) == 1:
            return next(iter(outs.values())).type
        return outs[rest[0]].type if len(rest) == 1 and rest[0] in outs else Any
    if isinstance(element, If):
        sides = (element.then, element.otherwise)
        return union(_declared_type(side, body, depth + 1, registry) for side in sides)
    if isinstance(element, Loop) and len(rest) == 1 and rest[0] in element.carry:
        start = _declared_type(element.carry[rest[0]], body, depth + 1, registry)
        inner = Scope((), element.nodes, body.inputs, body, first)
        inner.carry = {n: ANYTHING for n in element.carry}
        following = _next_value(element, rest[0])
        if isinstance(following, Ref) and following.path[:1] == ("carry",):
            return start
        return union([start, _declared_type(following, inner, depth + 1, registry)])
    return Any

"""Loops: what they go over, what passes from pass to pass, and what they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphdiff.graph.annotations import (
    item_type,
    list_of,
    union,
)
from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.declared import next_type
from graphdiff.graph.names import UNREAD
from graphdiff.graph.registry import Registry
from graphdiff.graph.scope import ANYTHING, Out, Outs, Scope
from graphdiff.graph.spec import MISSING, GraphPath, Loop, Ref, Value
from graphdiff.graph.types import show, type_name
from graphdiff.graph.values import Report, Slot, ValueChecker


class LoopChecker:
    """Checks loops around their bodies, whose nodes are checked between `body` and `outs`.

    Args:
        report: Takes the mistakes.
        values: Checks values.
        registry: The nodes there are.
    """

    def __init__(self, report: Report, values: ValueChecker, registry: Registry) -> None:
        self._report = report
        self._values = values
        self._registry = registry

    def body(self, name: str, loop: Loop, path: GraphPath, scope: Scope) -> Scope:
        """The scope of a loop's body, whose nodes are not checked yet."""
        item, known = self._over(name, loop, Slot(name, path, scope).below("over"))
        start = {
            carried: self._values.type_of(
                value, Slot(f"{name}.{carried}", (*path, "carry", carried), scope)
            )
            for carried, value in loop.carry.items()
        }
        body = Scope(
            path, loop.nodes, scope.inputs, scope, name, item, Out(int, known), dict(start)
        )
        body.carry = {
            carried: Out(union([out.type, next_type(loop, carried, body, self._registry)]), False)
            for carried, out in start.items()
        }
        return body

    def outs(self, name: str, loop: Loop, path: GraphPath, body: Scope) -> Outs | None:
        """Check what stands at the end of a pass, and give the loop's outputs."""
        self._next(name, loop, path, body)
        outs = dict(body.carry)
        for collected, value in loop.collect.items():
            where = (*path, "collect", collected)
            out = self._values.type_of(value, Slot(f"{name}.{collected}", where, body))
            if collected in outs:
                message = f"{name} gives two outputs called {collected}: its carry, and a list"
                help = "collect it under another name"
                self._report("duplicate-output", message, where, help, at_key=True)
                continue
            outs[collected] = Out(list_of(out.type), out.known and body.index.known)
        if loop.until is not None:
            self._values.check(loop.until, bool, Slot(name, path, body).below("until"))
        return None if UNREAD in outs else outs

    def _over(self, name: str, loop: Loop, slot: Slot) -> tuple[Out | Mapping[str, Out], bool]:
        """What `$item` is, and whether the number of passes is known before the run."""
        if not is_mapping(loop.over):
            item = self._items(loop.over, slot)
            return item, item.known
        zipped = loop.over
        items = {key: self._items(value, slot.below(key)) for key, value in zipped.items()}
        lengths = {
            key: length for key, value in zipped.items() if (length := _length(value)) is not None
        }
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            message = f"{name} goes over lists of unequal lengths: {told}"
            self._report("unequal-lengths", message, slot.path)
        if not zipped:
            message = f"{name} goes over nothing"
            self._report("wrong-shape", message, slot.path, "write over: a list")
        return items, all(out.known for out in items.values())

    def _items(self, value: Value, slot: Slot) -> Out:
        """What looping over a value gives in each pass."""
        if value is MISSING:
            return ANYTHING
        if isinstance(value, list):
            found = self._values.type_of(value, slot)
            return Out(item_type(found.type) if value else Any, found.known)
        if type(value) is int:
            if value < 0:
                message = f"{slot.label}: wants at least 0 passes, got {value}"
                self._report("out-of-bounds", message, slot.path)
            return Out(int, True)
        help = "loop over a list, a schedule, a number of passes, or a map of these"
        if not isinstance(value, Ref):
            if isinstance(value, (str, float, bool)) or value is None:
                message = f"{slot.label}: {show(value)} is no list"
                self._report("wrong-literal", message, slot.path, help)
                return ANYTHING
            return Out(item_type(type(value)) or Any, True)
        found = self._values.type_of(value, slot)
        item = item_type(found.type)
        if item is None:
            message = f"{slot.label}: {value} is {type_name(found.type)}, which is no list"
            self._report("type-mismatch", message, slot.path, help)
            return ANYTHING
        return Out(item, found.known)

    def _next(self, name: str, loop: Loop, path: GraphPath, body: Scope) -> None:
        """Check what a pass gives to the next one."""
        slot = Slot(f"{name}.next", (*path, "next"), body)
        if UNREAD in loop.carry:
            return
        if isinstance(loop.next, Ref):
            self._next_of_one(name, loop, loop.next, slot)
            return
        for carried, value in loop.next.items():
            self._values.type_of(value, slot.below(carried))
        if UNREAD in loop.next:
            return
        missing = [n for n in loop.carry if n not in loop.next]
        extra = [n for n in loop.next if n not in loop.carry]
        if missing or extra:
            message = f"carry and next of {name} differ: " + "; ".join(
                [f"next has no {n}" for n in missing] + [f"carry has no {n}" for n in extra]
            )
            help = "each pass gives the next one everything that is carried"
            at = slot.path if loop.next else (*path, "carry")
            self._report("carry-mismatch", message, at, help, at_key=True)

    def _next_of_one(self, name: str, loop: Loop, ref: Ref, slot: Slot) -> None:
        """Check `next: $step`, which is short for each of its outputs by name."""
        if not ref.path:
            return
        body, first = slot.scope, ref.path[0]
        spelt = f"write next: {{{', '.join(f'{n}: ...' for n in loop.carry)}}}"
        if len(ref.path) != 1 or first not in body.nodes:
            if self._values.type_of(ref, slot).type is not Any:
                message = f"next of {name} is a node of the body with outputs named as carry's"
                self._report("carry-mismatch", message, slot.path, spelt)
            return
        outs = body.results.get(first)
        if outs is None:
            return
        if not loop.carry or any(n not in outs for n in loop.carry):
            gives = ", ".join(n for n in outs if n) or "one output without a name"
            carries = ", ".join(loop.carry) or "nothing"
            message = f"carry and next of {name} differ: it carries {carries}, {ref} gives {gives}"
            self._report("carry-mismatch", message, slot.path, spelt if loop.carry else None)


def _length(over: Value) -> int | None:
    """How many passes a loop over a value has, where the file says it."""
    if is_sequence(over):
        return len(over)
    return over if type(over) is int else None

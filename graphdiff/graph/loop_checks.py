"""Loops: what they go over, what passes from pass to pass, and what they give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphdiff.graph.annotations import (
    item_type,
    list_of,
    union,
)
from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.declared import names_given, next_type
from graphdiff.graph.mismatch import fitting_help
from graphdiff.graph.names import UNREAD, near
from graphdiff.graph.registry import Registry
from graphdiff.graph.scope import ANYTHING, Carried, Out, Outs, Scope
from graphdiff.graph.spec import MISSING, GraphPath, Loop, Ref, Value
from graphdiff.graph.types import assignable, show, type_name
from graphdiff.graph.values import Report, Slot, ValueChecker, mismatched


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
        body.given = names_given(loop, self._registry)
        carry: dict[str, Out] = {}
        for carried, out in start.items():
            following = next_type(loop, carried, body, self._registry)
            both = union([out.type, following])
            carry[carried] = Out(both, False, Carried(out.type, following))
        body.carry = carry
        return body

    def outs(self, name: str, loop: Loop, path: GraphPath, body: Scope) -> Outs | None:
        """Check what stands at the end of a pass, and give the loop's outputs."""
        if UNREAD not in loop.carry:
            self._next(name, loop, path, body)
        if loop.until is not None:
            self._values.check(loop.until, bool, Slot(name, path, body).below("until"))
        outs = {
            carried: self._carried(name, carried, out, loop, path, body)
            for carried, out in body.carry.items()
        }
        if not (UNREAD in loop.carry or all(n in loop.carry for n in body.given)):
            poisoned = body.unstarted if isinstance(loop.next, Ref) and loop.carry else body.given
            outs.update((n, ANYTHING) for n in poisoned if n not in outs)
        for collected, value in loop.collect.items():
            where = (*path, "collect", collected)
            out = self._values.type_of(value, Slot(f"{name}.{collected}", where, body))
            if collected in outs and collected != UNREAD:
                message = f"{name} gives two outputs called {collected}: its carry, and a list"
                help = "collect it under another name"
                self._report("duplicate-output", message, where, help, at_key=True)
                continue
            outs[collected] = Out(list_of(out.type), out.known and body.index.known)
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
            cause = mismatched(value, slot.scope, "list")
            self._report("type-mismatch", message, slot.path, help, cause=cause)
            return ANYTHING
        return Out(item, found.known)

    def _carried(
        self, name: str, carried: str, out: Out, loop: Loop, path: GraphPath, body: Scope
    ) -> Out:
        """Say who is wrong where readers refuse what is carried, and give what is known of it."""
        found = out.carried
        if found is None or not found.refused:
            return Out(out.type, out.known)
        wanted, first = found.refused[0]
        starts, follows = (assignable(t, wanted) for t in (found.start, found.following))
        if found.accepted or starts == follows:
            for _, refusal in found.refused:
                self._values.refused(refusal)
            return Out(out.type, out.known)
        # No reader takes it, and it is one of its two sources that does not fit.
        if starts:
            source, kind, passes = "next", found.following, "the passes after the first"
        else:
            source, kind, passes = "carry", found.start, "the first pass"
        message = (
            f"{name}.{source}.{carried}: {first.label} wants {type_name(wanted)}, but this is "
            f"{type_name(kind)} in {passes}"
        )
        where = (
            (*path, source) if isinstance(loop.next, Ref) and starts else (*path, source, carried)
        )
        outer = body.parent
        help = fitting_help(wanted, body if starts or outer is None else outer)
        value = loop.next if starts else loop.carry
        ref = value if isinstance(value, Ref) else value[carried]
        cause = mismatched(ref, body, type_name(wanted)) if isinstance(ref, Ref) else None
        self._report("type-mismatch", message, where, help, cause=cause)
        return ANYTHING

    def _next(self, name: str, loop: Loop, path: GraphPath, body: Scope) -> None:
        """Check what a pass gives to the next one."""
        slot = Slot(f"{name}.next", (*path, "next"), body)
        if not isinstance(loop.next, Ref):
            for carried, value in loop.next.items():
                self._values.type_of(value, slot.below(carried))
            if UNREAD not in loop.next:
                self._differ(name, loop, path, body, list(loop.next))
            return
        if not loop.next.path:
            return
        first = loop.next.path[0]
        if len(loop.next.path) != 1 or first not in body.nodes:
            if self._values.type_of(loop.next, slot) is not ANYTHING:
                message = f"next of {name} is a node of the body with outputs named as carry's"
                self._report("carry-mismatch", message, slot.path, _spelt("next", loop.carry))
            return
        outs = body.results.get(first)
        if outs is not None:
            given = [n for n in outs if n and (n in loop.carry or n in body.unstarted)]
            self._differ(name, loop, path, body, given if loop.carry else [n for n in outs if n])

    def _differ(
        self, name: str, loop: Loop, path: GraphPath, body: Scope, given: Sequence[str]
    ) -> None:
        """Report carry and next that do not have the same names."""
        missing = [n for n in loop.carry if n not in given]
        extra = [n for n in given if n not in loop.carry]
        told = [
            f"{key} has no {', '.join(n)}" for key, n in (("next", missing), ("carry", extra)) if n
        ]
        if isinstance(loop.next, Ref) and not loop.carry and not extra:
            told = [f"{loop.next} has no outputs with names"]
        if not told:
            return
        meant = near(missing[0], extra) if missing else None
        help = (
            f"did you mean {meant}?"
            if meant
            else _spelt("next" if missing else "carry", [*loop.carry, *extra])
        )
        where: GraphPath = (*path, "next")
        if body.unstarted or (extra and not loop.carry) or not loop.next:
            # The body reads under `next`'s names: it is the carry that is wrong.
            where = (*path, "carry", *(missing[:1] if body.unstarted else ()))
        elif extra and not isinstance(loop.next, Ref):
            where = (*where, extra[0])
        message = f"carry and next of {name} differ: {'; '.join(told)}"
        self._report("carry-mismatch", message, where, help, at_key=True)


def _spelt(key: str, names: Iterable[str]) -> str:
    return f"write {key}: {{{', '.join(f'{n}: ...' for n in names)}}}"


def _length(over: Value) -> int | None:
    """How many passes a loop over a value has, where the file says it."""
    if is_sequence(over):
        return len(over)
    return over if type(over) is int else None

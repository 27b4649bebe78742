"""One value against one declared type: literals, references, text, lists and maps of these."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol, cast, get_args, get_origin

from graphdiff.graph.annotations import (
    NONE,
    Bindings,
    has_variables,
    is_list,
    is_map,
    is_union,
    list_of,
    map_of,
    resolve,
    union,
)
from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.literals import LiteralError, convert
from graphdiff.graph.mismatch import fitting_help, mismatch
from graphdiff.graph.order import has_refs
from graphdiff.graph.scope import ANYTHING, Out, Scope, UnresolvedError
from graphdiff.graph.spec import MISSING, GraphPath, Ref, Text, Value
from graphdiff.graph.types import assignable, type_name

_INSERTABLE: Final = str | int | float | bool | Enum


class Report(Protocol):
    """Takes a mistake."""

    def __call__(
        self,
        code: str,
        message: str,
        path: GraphPath,
        help: str | None = None,
        *,
        at_key: bool = False,
    ) -> None:
        """Report it."""
        ...


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a value is given.

    Args:
        label: How messages call it: `image.latents`.
        path: Where the value stands.
        scope: What it can refer to.
        bindings: Type variables of a generic node, bound by its arguments.
    """

    label: str
    path: GraphPath
    scope: Scope
    bindings: Bindings | None = None

    def below(self, key: str | int) -> Slot:
        """The slot of an item of a list, or of a value of a map, that is given here."""
        label = f"{self.label}[{key}]" if isinstance(key, int) else f"{self.label}.{key}"
        return Slot(label, (*self.path, key), self.scope, self.bindings)


class ValueChecker:
    """Checks values in scopes.

    Args:
        report: Takes the mistakes.
        may_help: Whether to look for what was meant, which takes time.
    """

    def __init__(self, report: Report, may_help: Callable[[], bool]) -> None:
        self._report = report
        self._may_help = may_help

    def check(self, value: Value, wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        """Check that a value is of the wanted type, an annotation, and give what is known of it."""
        if isinstance(value, Ref):
            return self._ref(value, wanted, slot)
        if value is MISSING:
            return ANYTHING
        if isinstance(value, Text):
            return self._text(value, wanted, slot)
        if not has_refs(value):
            return self._literal(value, wanted, slot)
        if is_mapping(value):
            return self._map(value, wanted, slot)
        return self._list(value, wanted, slot)

    def type_of(self, value: Value, slot: Slot) -> Out:
        """What is known of a value that may be of any type; its references are checked."""
        if isinstance(value, Ref):
            return self._find(value, Any, slot) or ANYTHING
        if isinstance(value, Text):
            return self._text(value, str, slot)
        if value is MISSING:
            return ANYTHING
        if not has_refs(value):
            return Out(literal_type(value), True)
        if is_mapping(value):
            outs = [self.type_of(item, slot.below(key)) for key, item in value.items()]
            return Out(map_of(union(out.type for out in outs)), all(out.known for out in outs))
        outs = [self.type_of(item, slot.below(i)) for i, item in enumerate(value)]
        return Out(list_of(union(out.type for out in outs)), all(out.known for out in outs))

    def references(
        self, args: Mapping[str, Value], name: str, path: GraphPath, scope: Scope
    ) -> None:
        """Check only that what a node's arguments refer to exists."""
        node = Slot(name, path, scope)
        for argument, value in args.items():
            if has_refs(value):
                self.type_of(value, node.below(argument))

    def _wrong(self, slot: Slot, code: str, message: str, help: str | None = None) -> None:
        self._report(code, f"{slot.label}: {message}", slot.path, help)

    def _find(self, ref: Ref, wanted: Any, slot: Slot) -> Out | None:  # noqa: ANN401
        try:
            return slot.scope.find(ref)
        except UnresolvedError as problem:
            help = problem.help if self._may_help() else None
            if problem.code in ("ambiguous-output", "unknown-output") and wanted is not Any:
                own = slot.scope.fitting(wanted, ref.path[0])
                help = f"{own[0]} would fit" if len(own) == 1 else help
            self._wrong(slot, problem.code, problem.message, help)
            return None

    def _ref(self, ref: Ref, wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        out = self._find(ref, wanted, slot)
        if out is None:
            return ANYTHING
        if not assignable(out.type, wanted, slot.bindings):
            message, help = mismatch(ref, out.type, wanted)
            if help is None and self._may_help():
                help = fitting_help(wanted, slot.scope)
            self._wrong(slot, "type-mismatch", message, help)
        return out

    def _literal(self, value: Value, wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        if slot.bindings is not None and has_variables(wanted):
            kind = literal_type(value)
            if not assignable(kind, wanted, slot.bindings):
                message = f"wants {type_name(wanted)}, got {type_name(kind)}"
                self._wrong(slot, "wrong-literal", message)
            return Out(kind, True)
        try:
            convert(value, wanted)
        except LiteralError as error:
            self._wrong(slot, error.code, error.message, error.help)
        return Out(wanted, True)

    def _text(self, text: Text, wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        known = True
        for ref in (part for part in text.parts if isinstance(part, Ref)):
            out = self._find(ref, Any, slot)
            if out is None:
                continue
            if not assignable(out.type, _INSERTABLE):
                message = f"{ref} is {type_name(out.type)}, which cannot be put into text"
                help = "text takes str, int, float, bool and enums"
                self._wrong(slot, "type-mismatch", message, help)
            elif not out.known:
                message = f"{ref} is not known before the run, so no text can be made of it"
                help = "insert inputs, and what plan nodes make of them"
                self._wrong(slot, "not-known-in-time", message, help)
                known = False
        if not assignable(str, wanted) and not assignable(Path, wanted):
            alone = text.parts[0] if len(text.parts) == 1 else None
            instead = f"write {alone}" if isinstance(alone, Ref) else None
            message = f"wants {type_name(wanted)}, but this is text"
            self._wrong(slot, "type-mismatch", message, instead)
        return Out(str, known)

    def _list(self, items: list[Value], wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        kinds = _item_kinds(wanted, len(items))
        if kinds is None:
            help = f"write {items[0]}" if len(items) == 1 and isinstance(items[0], Ref) else None
            message = f"wants {type_name(wanted)}, but this is a list"
            self._wrong(slot, "type-mismatch", message, help)
            kinds = [Any] * len(items)
        outs = [
            self.check(item, kind, slot.below(i))
            for i, (item, kind) in enumerate(zip(items, kinds, strict=True))
        ]
        return Out(wanted, all(out.known for out in outs))

    def _map(self, items: Mapping[str, Value], wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        kind = _value_kind(wanted)
        if kind is None:
            message = f"wants {type_name(wanted)}, but this is a map"
            self._wrong(slot, "type-mismatch", message)
            kind = Any
        outs = [self.check(item, kind, slot.below(key)) for key, item in items.items()]
        return Out(wanted, all(out.known for out in outs))


def literal_type(value: Value) -> Any:  # noqa: ANN401 - an annotation
    """The type of a value without references."""
    if value is None:
        return NONE
    if is_sequence(value):
        kinds = [literal_type(item) for item in value]
        return list_of(union(kinds) if kinds else Any)
    if is_mapping(value):
        kinds = [literal_type(item) for item in value.values()]
        return map_of(union(kinds) if kinds else Any)
    return type(cast(object, value))


def _members(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - annotations are any object
    plain = resolve(annotation)
    if is_union(plain):
        return tuple(found for member in get_args(plain) for found in _members(member))
    return (plain,)


def _item_kinds(wanted: Any, count: int) -> list[Any] | None:  # noqa: ANN401
    """What each item of a list given for a type should be; None if it takes no list."""
    for plain in _members(wanted):
        args = get_args(plain)
        if is_list(plain):
            return [args[0] if args else Any] * count
        if (get_origin(plain) or plain) is tuple:
            if len(args) == 2 and args[1] is ...:
                return [args[0]] * count
            if not args or len(args) == count:
                return list(args) or [Any] * count
        if plain is Any or plain is object or isinstance(plain, typing.TypeVar):
            return [Any] * count
        if get_origin(plain) is collections.abc.Sequence:
            return [args[0]] * count
    return None


def _value_kind(wanted: Any) -> Any | None:  # noqa: ANN401 - annotations are any object
    """What each value of a map given for a type should be; None if it takes no map."""
    for plain in _members(wanted):
        if is_map(plain):
            return get_args(plain)[1] if get_args(plain) else Any
        if plain is Any or plain is object or isinstance(plain, typing.TypeVar):
            return Any
    return None

"""One value against one declared type: literals, references, text, lists and maps of these."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Callable, Iterable, Mapping
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
from graphdiff.graph.names import is_reference
from graphdiff.graph.order import has_refs, refs
from graphdiff.graph.scope import ANYTHING, Out, Refusal, Scope, UnresolvedError
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
        cause: tuple[object, ...] | None = None,
    ) -> None:
        """Report it; mistakes with one cause are told together, where the first of them stands."""
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
        between: Says what makes a value of one type of one of another.
    """

    def __init__(
        self,
        report: Report,
        may_help: Callable[[], bool],
        between: Callable[[Any, Any], str | None],
    ) -> None:
        self._report = report
        self._may_help = may_help
        self._between = between

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
            for ref in refs(value) if has_refs(value) else ():
                self._find(ref, Any, node.below(argument), whole=True)

    def _wrong(
        self,
        slot: Slot,
        code: str,
        message: str,
        help: str | None = None,
        cause: tuple[object, ...] | None = None,
    ) -> None:
        self._report(code, f"{slot.label}: {message}", slot.path, help, cause=cause)

    def _find(
        self,
        ref: Ref,
        wanted: Any,  # noqa: ANN401 - an annotation
        slot: Slot,
        *,
        whole: bool = False,
    ) -> Out | None:
        """What a reference gives; several outputs at once only where `whole` allows it."""
        try:
            return slot.scope.find(ref)
        except UnresolvedError as problem:
            if whole and problem.code == "ambiguous-output":
                return None
            help = problem.help if self._may_help() else None
            if problem.code in ("ambiguous-output", "unknown-output") and wanted is not Any:
                own = slot.scope.fitting(wanted, ref.path[0])
                help = f"{own[0]} would fit" if len(own) == 1 else help
            if problem.code == "unknown-node" and wanted is not Any and takes_text(wanted):
                itself = f"write ${ref} for this text itself"
                if help is None or not help.startswith("did you mean"):
                    help = itself if help is None else f"{help}; or {itself}"
            first = ref.path[0]
            cause = (problem.code, slot.scope.home(first), first, problem.cause or ref.path)
            self._wrong(slot, problem.code, problem.message, help, cause)
            return None

    def _ref(self, ref: Ref, wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        out = self._find(ref, wanted, slot)
        if out is None:
            return ANYTHING
        if not assignable(out.type, wanted, slot.bindings):
            message, help = mismatch(ref, out.type, wanted)
            if help is None and self._may_help():
                help = fitting_help(wanted, slot.scope) or self._between(out.type, wanted)
            self._mismatch(ref, out, wanted, slot, message, help)
            return ANYTHING
        if out.carried is not None and wanted is not Any:
            out.carried.accepted = True
        return out

    def _mismatch(
        self,
        ref: Ref,
        out: Out,
        wanted: Any,  # noqa: ANN401 - an annotation
        slot: Slot,
        message: str,
        help: str | None,
    ) -> None:
        plain = type_name(union(m for m in members(wanted) if m is not NONE and m is not None))
        cause = mismatched(ref, slot.scope, plain)
        if out.carried is None:
            self._wrong(slot, "type-mismatch", message, help, cause)
        else:  # the reader may be wrong, or what is carried: told when all readers are known
            refusal = Refusal("type-mismatch", slot.label, message, slot.path, help, cause)
            out.carried.refused.append((wanted, refusal))

    def refused(self, refusal: Refusal) -> None:
        """Report what was put off."""
        message = f"{refusal.label}: {refusal.message}"
        self._report(refusal.code, message, refusal.path, refusal.help, cause=refusal.cause)

    def _literal(self, value: Value, wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        if slot.bindings is not None and has_variables(wanted):
            kind = literal_type(value)
            if not assignable(kind, wanted, slot.bindings):
                message = f"wants {type_name(wanted)}, got {type_name(kind)}"
                self._wrong(slot, "wrong-literal", message)
                return ANYTHING
            return Out(kind, True)
        try:
            convert(value, wanted)
        except LiteralError as error:
            if not self._inside(value, wanted, slot):
                help = error.help if takes_text(wanted) else self._meant(value, wanted, slot)
                self._wrong(slot, error.code, error.message, help or error.help)
        return Out(wanted, True)

    def _inside(self, value: Value, wanted: Any, slot: Slot) -> bool:  # noqa: ANN401
        """Report what is wrong with the items of a list or map; whether there is anything."""
        items: Iterable[tuple[str | int, Value, Any]] = ()
        if is_sequence(value):
            kinds = _item_kinds(wanted, len(value)) or []
            items = ((i, v, kind) for i, (v, kind) in enumerate(zip(value, kinds, strict=False)))
        elif is_mapping(value):
            kind = _value_kind(wanted)
            items = ((k, v, kind) for k, v in value.items()) if kind is not None else ()
        found = False
        for key, item, kind in items:
            try:
                convert(item, kind)
            except LiteralError:
                self._literal(item, kind, slot.below(key))
                found = True
        return found

    def _meant(self, value: Value, wanted: Any, slot: Slot) -> str | None:  # noqa: ANN401
        """The reference that stands here without its `$`, or what would fit instead."""
        if not self._may_help():
            return None
        if isinstance(value, str) and is_reference(f"${value}"):
            ref = Ref(tuple(value.split(".")))
            for meant in (ref, Ref(("inputs", *ref.path))):
                try:
                    out = slot.scope.find(meant)
                except UnresolvedError:
                    continue
                if out is None or assignable(out.type, wanted, dict(slot.bindings or {})):
                    return f"write {meant}"
            near = slot.scope.fitting(wanted, ref.path[0])
            if near:
                return f"{' or '.join(near)} would fit"
        return fitting_help(wanted, slot.scope)

    def _text(self, text: Text, wanted: Any, slot: Slot) -> Out:  # noqa: ANN401
        known = True
        for ref in (part for part in text.parts if isinstance(part, Ref)):
            out = self._find(ref, Any, slot)
            if out is None:
                continue
            if not assignable(out.type, _INSERTABLE):
                message = f"{ref} is {type_name(out.type)}, which cannot be put into text"
                help = "text takes str, int, float, bool and enums"
                cause = mismatched(ref, slot.scope, "text")
                self._wrong(slot, "type-mismatch", message, help, cause)
            elif not out.known:
                message = f"{ref} is not known before the run, so no text can be made of it"
                help = "insert inputs, and what plan nodes make of them"
                cause = ("not-known-in-time", slot.scope.home(ref.path[0]), *ref.path)
                self._wrong(slot, "not-known-in-time", message, help, cause)
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
            self.type_of(items, slot)
            return ANYTHING
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
            self.type_of(items, slot)
            return ANYTHING
        outs = [self.check(item, kind, slot.below(key)) for key, item in items.items()]
        return Out(wanted, all(out.known for out in outs))


def mismatched(ref: Ref, scope: Scope, wanted: str) -> tuple[object, ...]:
    """The cause of a mismatch: what is read, where it is declared, and for a node the type wanted.

    An input that several nodes refuse is declared wrongly; of a node they may read it wrongly.
    """
    first = ref.path[0]
    kind = "" if first in ("inputs", "item") else wanted
    return ("type-mismatch", scope.home(first), first, ref.path, kind)


def takes_text(wanted: Any) -> bool:  # noqa: ANN401 - annotations are any object
    """Whether some text is a value of a type."""
    return any(
        plain in (str, Path, Any, object)
        or get_origin(plain) is typing.Literal
        or (isinstance(plain, type) and issubclass(plain, Enum))
        for plain in members(wanted)
    )


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


def members(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - annotations are any object
    """The types that a union is made of; the type itself where it is none."""
    plain = resolve(annotation)
    if is_union(plain):
        return tuple(found for member in get_args(plain) for found in members(member))
    return (plain,)


def _item_kinds(wanted: Any, count: int) -> list[Any] | None:  # noqa: ANN401
    """What each item of a list given for a type should be; None if it takes no list."""
    for plain in members(wanted):
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
    for plain in members(wanted):
        if is_map(plain):
            return get_args(plain)[1] if get_args(plain) else Any
        if plain is Any or plain is object or isinstance(plain, typing.TypeVar):
            return Any
    return None

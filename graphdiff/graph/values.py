"""One value against one declared type: literals, references, text, lists and maps of these."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol, cast, get_args, get_origin

from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.literals import LiteralError, convert
from graphdiff.graph.order import has_refs
from graphdiff.graph.scope import ANYTHING, Out, Scope, UnresolvedError
from graphdiff.graph.spec import MISSING, GraphPath, Ref, Text, Value
from graphdiff.graph.types import (
    NONE,
    Bindings,
    assignable,
    has_variables,
    is_list,
    is_map,
    is_union,
    list_of,
    map_of,
    resolve,
    type_name,
    union,
)

_INSERTABLE: Final = str | int | float | bool | Enum
_SCALARS: Final = (str, int, float, bool, NONE)


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


class ValueChecker:
    """Checks values in scopes.

    Args:
        report: Takes the mistakes.
        may_help: Whether to look for what was meant, which takes time.
    """

    def __init__(self, report: Report, may_help: Callable[[], bool]) -> None:
        self.report = report
        self.may_help = may_help

    def check(
        self,
        value: Value,
        wanted: Any,  # noqa: ANN401 - an annotation
        label: str,
        path: GraphPath,
        scope: Scope,
        bindings: Bindings | None,
    ) -> Out:
        """Check that a value is of the wanted type, and give what is known of it.

        Args:
            value: The value.
            wanted: The annotation of what it is given to.
            label: How messages call that: `image.latents`.
            path: Where the value stands.
            scope: What it can refer to.
            bindings: Type variables of a generic node, bound by its arguments.
        """
        if isinstance(value, Ref):
            return self._ref(value, wanted, label, path, scope, bindings)
        if value is MISSING:
            return ANYTHING
        if isinstance(value, Text):
            return self._text(value, wanted, label, path, scope)
        if not has_refs(value):
            return self._literal(value, wanted, label, path, bindings)
        if is_mapping(value):
            return self._map(value, wanted, label, path, scope, bindings)
        return self._list(value, wanted, label, path, scope, bindings)

    def type_of(self, value: Value, scope: Scope, label: str, path: GraphPath) -> Out:
        """What is known of a value that may be of any type; its references are checked."""
        if isinstance(value, Ref):
            return self._find(value, Any, label, path, scope) or ANYTHING
        if isinstance(value, Text):
            return self._text(value, str, label, path, scope)
        if value is MISSING:
            return ANYTHING
        if not has_refs(value):
            return Out(self.literal_type(value), True)
        if is_mapping(value):
            outs = [self.type_of(v, scope, label, (*path, k)) for k, v in value.items()]
            return Out(map_of(union([o.type for o in outs])), all(o.known for o in outs))
        outs = [self.type_of(v, scope, label, (*path, i)) for i, v in enumerate(value)]
        return Out(list_of(union([o.type for o in outs])), all(o.known for o in outs))

    def references(
        self, args: Mapping[str, Value], name: str, path: GraphPath, scope: Scope
    ) -> None:
        """Check only that what arguments refer to exists."""
        for argument, value in args.items():
            if has_refs(value):
                self.type_of(value, scope, f"{name}.{argument}", (*path, argument))

    def literal_type(self, value: Value) -> Any:  # noqa: ANN401 - an annotation
        """The type of a value without references."""
        if value is None:
            return NONE
        if is_sequence(value):
            kinds = [self.literal_type(item) for item in value]
            return list_of(union(kinds) if kinds else Any)
        if is_mapping(value):
            kinds = [self.literal_type(item) for item in value.values()]
            return map_of(union(kinds) if kinds else Any)
        return type(cast(object, value))

    def _find(
        self,
        ref: Ref,
        wanted: Any,  # noqa: ANN401 - an annotation
        label: str,
        path: GraphPath,
        scope: Scope,
    ) -> Out | None:
        try:
            return scope.find(ref)
        except UnresolvedError as problem:
            help = problem.help if self.may_help() else None
            if problem.code in ("ambiguous-output", "unknown-output") and wanted is not Any:
                own = scope.fitting(wanted, ref.path[0])
                help = f"{own[0]} would fit" if len(own) == 1 else help
            self.report(problem.code, f"{label}: {problem.message}", path, help)
            return None

    def _ref(
        self,
        ref: Ref,
        wanted: Any,  # noqa: ANN401 - an annotation
        label: str,
        path: GraphPath,
        scope: Scope,
        bindings: Bindings | None,
    ) -> Out:
        out = self._find(ref, wanted, label, path, scope)
        if out is None:
            return ANYTHING
        if not assignable(out.type, wanted, bindings):
            message, help = mismatch(label, ref, out.type, wanted)
            if help is None and self.may_help():
                help = fitting_help(wanted, scope)
            self.report("type-mismatch", message, path, help)
        return out

    def _literal(
        self,
        value: Value,
        wanted: Any,  # noqa: ANN401 - an annotation
        label: str,
        path: GraphPath,
        bindings: Bindings | None,
    ) -> Out:
        if bindings is not None and has_variables(wanted):
            kind = self.literal_type(value)
            if not assignable(kind, wanted, bindings):
                message = f"{label}: wants {type_name(wanted)}, got {type_name(kind)}"
                self.report("wrong-literal", message, path)
            return Out(kind, True)
        try:
            convert(value, wanted)
        except LiteralError as error:
            self.report(error.code, f"{label}: {error.message}", path, error.help)
        return Out(wanted, True)

    def _text(self, text: Text, wanted: Any, label: str, path: GraphPath, scope: Scope) -> Out:  # noqa: ANN401
        known = True
        for ref in (part for part in text.parts if isinstance(part, Ref)):
            out = self._find(ref, Any, label, path, scope)
            if out is None:
                continue
            if not assignable(out.type, _INSERTABLE):
                message = f"{label}: {ref} is {type_name(out.type)}, which cannot be put into text"
                hint = "text takes str, int, float, bool and enums"
                self.report("type-mismatch", message, path, hint)
            elif not out.known:
                message = (
                    f"{label}: {ref} is not known before the run, so no text can be made of it"
                )
                hint = "insert inputs, and what plan nodes make of them"
                self.report("not-known-in-time", message, path, hint)
                known = False
        if not assignable(str, wanted) and not assignable(Path, wanted):
            message = f"{label}: wants {type_name(wanted)}, but this is text"
            alone = text.parts[0] if len(text.parts) == 1 else None
            help = f"write {alone}" if isinstance(alone, Ref) else None
            self.report("type-mismatch", message, path, help)
        return Out(str, known)

    def _list(
        self,
        items: list[Value],
        wanted: Any,  # noqa: ANN401 - an annotation
        label: str,
        path: GraphPath,
        scope: Scope,
        bindings: Bindings | None,
    ) -> Out:
        kinds = _item_kinds(wanted, len(items))
        if kinds is None:
            message = f"{label}: wants {type_name(wanted)}, but this is a list"
            help = f"write {items[0]}" if len(items) == 1 and isinstance(items[0], Ref) else None
            self.report("type-mismatch", message, path, help)
            kinds = [Any] * len(items)
        known = True
        for i, (item, kind) in enumerate(zip(items, kinds, strict=True)):
            out = self.check(item, kind, f"{label}[{i}]", (*path, i), scope, bindings)
            known &= out.known
        return Out(wanted, known)

    def _map(
        self,
        items: Mapping[str, Value],
        wanted: Any,  # noqa: ANN401 - an annotation
        label: str,
        path: GraphPath,
        scope: Scope,
        bindings: Bindings | None,
    ) -> Out:
        kind = _value_kind(wanted)
        if kind is None:
            message = f"{label}: wants {type_name(wanted)}, but this is a map"
            self.report("type-mismatch", message, path)
            kind = Any
        known = True
        for key, item in items.items():
            out = self.check(item, kind, f"{label}.{key}", (*path, key), scope, bindings)
            known &= out.known
        return Out(wanted, known)


def mismatch(label: str, ref: Ref, given: Any, wanted: Any) -> tuple[str, str | None]:  # noqa: ANN401
    """What is wrong with a wire, and the way out where the two types tell it."""
    message = f"{label}: wants {type_name(wanted)}, but {ref} is {type_name(given)}"
    without = [m for m in get_args(resolve(given)) if m is not NONE] if is_union(given) else []
    if without and NONE in get_args(resolve(given)) and assignable(union(without), wanted):
        message = f"{label}: wants {type_name(wanted)}, but {ref} may be null"
        if "carry" in ref.path[:2]:
            message += ", as it is in the first pass"
            return message, "carry another value at the start"
        if ref.path[0] == "inputs":
            return message, f"give {ref.path[-1]} a default other than null, without optional"
        return message, None
    plain = resolve(wanted)
    if get_origin(plain) is typing.Literal and ref.path[0] == "inputs":
        choices = ", ".join(map(str, get_args(plain)))
        return message, f"declare the input with choices: [{choices}]"
    if plain is Path and ref.path[0] == "inputs":
        return message, "declare the input with type: path"
    if assignable(given, float) and plain is int:
        return message, "an int feeds a float, but not the reverse"
    if is_list(plain) and get_args(plain) and assignable(given, get_args(plain)[0]):
        return message, f"write [{ref}]"
    return message, None


def fitting_help(wanted: Any, scope: Scope) -> str | None:  # noqa: ANN401 - an annotation
    """The outputs in sight that would fit; none for plain numbers and text, which are many."""
    plain = resolve(wanted)
    members = get_args(plain) if is_union(plain) else (plain,)
    if all(resolve(member) in _SCALARS for member in members):
        return None
    found = scope.fitting(wanted)
    return f"{' or '.join(found)} would fit" if found else None


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

"""Whether what one annotation describes may be wired into another, and how types are written."""

from __future__ import annotations

import collections.abc
import typing
from enum import Enum
from typing import Any, Final, TypeVar, get_args, get_origin

from graphdiff.graph.annotations import (
    ANYTHING,
    NONE,
    Bindings,
    has_variables,
    is_list,
    is_map,
    is_union,
    item_type,
    resolve,
    union,
)

_NUMBERS: Final[dict[Any, tuple[type, ...]]] = {float: (int,), complex: (int, float)}
_known: dict[tuple[Any, Any], bool] = {}


def assignable(source: Any, target: Any, bindings: Bindings | None = None) -> bool:  # noqa: ANN401
    """Whether a value of type `source` may be given where `target` is declared.

    As type checkers see it: an int is a float and not the reverse, subclasses are their bases,
    lists are covariant since nothing changes them, a bool is no number.

    Args:
        source: The annotation of what is wired in.
        target: The annotation of what it is wired into.
        bindings: Type variables of `target` and what they are bound to; new ones are added.
    """
    if bindings is not None and has_variables(target):
        return _assignable(source, target, bindings)
    try:
        found = _known.get((source, target))
    except TypeError:  # an unhashable annotation
        return _assignable(source, target, {})
    if found is None:
        found = _known[source, target] = _assignable(source, target, {})
    return found


def type_name(annotation: Any) -> str:  # noqa: ANN401 - annotations are any object
    """The annotation as a person would write it: `Image`, `list[int]`, `"png" | "webp" | None`."""
    plain = resolve(annotation)
    if plain is NONE or plain is None:
        return "null"
    if plain in ANYTHING:
        return "anything"
    if isinstance(plain, TypeVar):
        return type_name(plain.__bound__) if plain.__bound__ else "anything"
    origin, args = get_origin(plain), get_args(plain)
    if is_union(plain):
        return " | ".join(dict.fromkeys(type_name(member) for member in args))
    if origin is typing.Literal:
        return " | ".join(show(value) for value in args)
    if origin is None:
        return str(getattr(plain, "__name__", plain)).replace("PosixPath", "Path")
    name = "list" if is_list(plain) else str(getattr(origin, "__name__", origin))
    inner = ", ".join("..." if a is ... else type_name(a) for a in args)
    return f"{name}[{inner}]"


def show(value: object) -> str:
    """A value as it stands in a file, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return show(value.value)
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:56] + "..." + text[-1:]


def _assignable(source: Any, target: Any, bindings: Bindings) -> bool:  # noqa: ANN401
    source, target = resolve(source), resolve(target)
    if target in ANYTHING or source is Any or source == target:
        return True
    if isinstance(target, TypeVar):
        return _bind(source, target, bindings)
    if isinstance(source, TypeVar):
        return source.__bound__ is None or _assignable(source.__bound__, target, bindings)
    if is_union(source):
        return all(_assignable(member, target, bindings) for member in get_args(source))
    if get_origin(source) is typing.Literal:
        if get_origin(target) is typing.Literal:
            return set(map(_tagged, get_args(source))) <= set(map(_tagged, get_args(target)))
        if is_union(target):
            literals = [typing.Literal[value] for value in get_args(source)]
            if len(literals) > 1:
                return all(_assignable(member, target, bindings) for member in literals)
            return any(_assignable(source, member, bindings) for member in get_args(target))
        return all(_assignable(type(value), target, bindings) for value in get_args(source))
    if is_union(target):
        # A plain member first, so that `T | None` does not bind T to None.
        members = sorted(get_args(target), key=has_variables)
        return any(_assignable(source, member, bindings) for member in members)
    if target is None or target is NONE or source is None or source is NONE:
        return source in (None, NONE) and target in (None, NONE)
    if isinstance(source, typing.NewType):
        return _assignable(source.__supertype__, target, bindings)
    return _class_assignable(source, target, bindings)


def _class_assignable(source: Any, target: Any, bindings: Bindings) -> bool:  # noqa: ANN401
    origin, wanted = get_origin(source) or source, get_origin(target) or target
    if not isinstance(origin, type) or not isinstance(wanted, type):
        return False
    if origin in _NUMBERS.get(wanted, ()):
        return True
    if origin is bool and wanted in (int, float, complex):
        return False
    if getattr(wanted, "_is_protocol", False) and wanted.__module__ != "collections.abc":
        return _fits_protocol(origin, wanted)
    if not issubclass(origin, wanted):
        return False
    if issubclass(origin, (str, bytes)) and wanted is not origin and not issubclass(origin, wanted):
        return False
    if wanted in (collections.abc.Sequence, collections.abc.Iterable) and origin in (str, bytes):
        return False
    return _arguments_assignable(source, target, bindings)


def _arguments_assignable(source: Any, target: Any, bindings: Bindings) -> bool:  # noqa: ANN401
    wanted = get_args(target)
    if not wanted:
        return True
    if is_map(target):
        given = get_args(source) or (Any, Any)
        return all(_assignable(g, w, bindings) for g, w in zip(given, wanted, strict=False))
    if get_origin(target) is tuple and not (len(wanted) == 2 and wanted[1] is ...):
        given = get_args(source) or (Any,) * len(wanted)
        if len(given) == 2 and given[1] is ...:
            return False
        return len(given) == len(wanted) and all(
            _assignable(g, w, bindings) for g, w in zip(given, wanted, strict=True)
        )
    if is_list(target) or get_origin(target) in (tuple, set, frozenset):
        item = item_type(source) if get_origin(source) or not _is_bare(source) else Any
        return item is not None and _assignable(item, wanted[0], bindings)
    given = get_args(source)
    if not given or len(given) != len(wanted):
        return True  # what a subclass of a generic class fixes is not looked into
    return all(_assignable(g, w, bindings) for g, w in zip(given, wanted, strict=True))


def _is_bare(source: Any) -> bool:  # noqa: ANN401 - annotations are any object
    return source in (list, tuple, set, frozenset, collections.abc.Sequence)


def _bind(source: Any, variable: TypeVar, bindings: Bindings) -> bool:  # noqa: ANN401
    if variable.__bound__ is not None and not _assignable(source, variable.__bound__, bindings):
        return False
    constraints = variable.__constraints__
    if constraints and not any(_assignable(source, c, bindings) for c in constraints):
        return False
    bindings[variable] = union([bindings[variable], source]) if variable in bindings else source
    return True


def _fits_protocol(source: type, protocol: type) -> bool:
    members: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base not in (typing.Protocol, typing.Generic):
            members |= {n for n in vars(base) if not n.startswith("_abc_")}
            members |= set(vars(base).get("__annotations__", {}))
    housekeeping = {*vars(_Empty), "__parameters__", "__orig_bases__"}
    fields: set[str] = set(getattr(source, "__dataclass_fields__", ()))
    return all(hasattr(source, name) or name in fields for name in members - housekeeping)


class _Empty(typing.Protocol):
    pass


def _tagged(value: object) -> tuple[type, object]:
    return type(value), value

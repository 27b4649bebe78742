"""Whether what one annotation describes may be wired into another, and how types are written."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from graphdiff.graph.node import strip_annotated

Bindings = dict[TypeVar, Any]
"""What the type variables of a generic node stand for in one call."""

NONE: Final = type(None)
_ANYTHING: Final = (Any, object)
_NUMBERS: Final[dict[Any, tuple[type, ...]]] = {float: (int,), complex: (int, float)}
_NO_LISTS: Final[tuple[type, ...]] = (str, bytes, Mapping)
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
    if plain in _ANYTHING:
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


def union(members: Iterable[Any]) -> Any:  # noqa: ANN401 - annotations are any object
    """The union of types, which is the type itself where there is one."""
    flat: list[Any] = []
    for member in members:
        plain = resolve(member)
        flat += get_args(plain) if is_union(plain) else [NONE if plain is None else plain]
    if any(member in _ANYTHING for member in flat):
        return Any
    unique: list[Any] = []
    for member in flat:
        if member not in unique:
            unique.append(member)
    if len(unique) == 1:
        return unique[0]
    return typing.Union[tuple(unique)] if unique else NONE  # noqa: UP007 - of a tuple


def list_of(item: Any) -> Any:  # noqa: ANN401 - annotations are any object
    """`list[item]`, of an annotation that is known at run time only."""
    return types.GenericAlias(list, (item,))


def map_of(value: Any) -> Any:  # noqa: ANN401 - annotations are any object
    """`dict[str, value]`, likewise."""
    return types.GenericAlias(dict, (str, value))


def item_type(annotation: Any) -> Any | None:  # noqa: ANN401 - annotations are any object
    """What a loop over a value of this type finds in `$item`; None where it cannot be looped over.

    An int n is looped over as 0..n-1; text is not.
    """
    plain = resolve(annotation)
    if plain in _ANYTHING:
        return Any
    if isinstance(plain, TypeVar):
        return item_type(plain.__bound__) if plain.__bound__ else Any
    if plain is int:
        return int
    if is_union(plain):
        members = [item_type(member) for member in get_args(plain)]
        return None if any(member is None for member in members) else union(members)
    origin, args = get_origin(plain) or plain, get_args(plain)
    if not isinstance(origin, type):
        return None
    cls: type[object] = origin
    if issubclass(cls, _NO_LISTS):
        return None
    if args and cls is tuple:
        return args[0] if len(args) == 2 and args[1] is ... else union(args)
    if cls.__module__ in ("builtins", "collections.abc", "collections") and args:
        return args[0] if issubclass(cls, collections.abc.Iterable) else None
    return _declared_item(cls)


def has_variables(annotation: Any) -> bool:  # noqa: ANN401 - annotations are any object
    """Whether there is a type variable in the annotation."""
    if isinstance(annotation, TypeVar):
        return True
    return any(has_variables(argument) for argument in get_args(annotation))


def substitute(annotation: Any, bindings: Bindings) -> Any:  # noqa: ANN401 - annotations
    """The annotation with its type variables replaced; an unbound one is anything."""
    if isinstance(annotation, TypeVar):
        return bindings.get(annotation, Any)
    if not has_variables(annotation):
        return annotation
    plain = resolve(annotation)
    args = tuple(substitute(argument, bindings) for argument in get_args(plain))
    if is_union(plain):
        return union(args)
    return get_origin(plain)[args]


def resolve(annotation: Any) -> Any:  # noqa: ANN401 - annotations are any object
    """The annotation without `Annotated`, `Final` and names of types (`type X = ...`)."""
    plain = strip_annotated(annotation)
    while True:
        if hasattr(plain, "__value__") and type(plain).__name__ == "TypeAliasType":
            plain = strip_annotated(plain.__value__)
        elif get_origin(plain) in (typing.Final, typing.ClassVar):
            plain = strip_annotated(get_args(plain)[0])
        else:
            return plain


def is_union(annotation: Any) -> bool:  # noqa: ANN401 - annotations are any object
    """Whether it is `A | B`, in one of its two forms."""
    return get_origin(annotation) in (typing.Union, types.UnionType)


def is_list(annotation: Any) -> bool:  # noqa: ANN401 - annotations are any object
    """Whether a list is a value of it: `list[X]`, `Sequence[X]`, `Iterable[X]`, ..."""
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and origin in (
        list,
        collections.abc.Sequence,
        collections.abc.Iterable,
        collections.abc.Collection,
    )


def is_map(annotation: Any) -> bool:  # noqa: ANN401 - annotations are any object
    """Whether a dict is a value of it: `dict[K, V]`, `Mapping[K, V]`."""
    origin = get_origin(annotation) or annotation
    return origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _assignable(source: Any, target: Any, bindings: Bindings) -> bool:  # noqa: ANN401
    source, target = resolve(source), resolve(target)
    if target in _ANYTHING or source is Any or source == target:
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


def _declared_item(cls: type) -> Any | None:  # noqa: ANN401 - annotations are any object
    """What iterating an object of a class gives, by the annotations of the class."""
    for base in cls.__mro__:
        for generic in vars(base).get("__orig_bases__", ()):
            origin = get_origin(generic)
            if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
                return item_type(generic)
        for name in ("__iter__", "__getitem__"):
            if name in vars(base) and base.__module__ != "builtins":
                result = _result_hint(vars(base)[name])
                args = get_args(result)
                return (args[0] if args else Any) if name == "__iter__" else result
    return Any if issubclass(cls, collections.abc.Iterable) else None


def _result_hint(function: Any) -> Any:  # noqa: ANN401 - any callable of a class
    try:
        return get_type_hints(function).get("return", Any)
    except (NameError, TypeError):  # an annotation that exists for type checkers only
        return Any


def _tagged(value: object) -> tuple[type, object]:
    return type(value), value

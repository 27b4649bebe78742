"""Annotations taken apart and put together: unions, lists, maps, items, type variables."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

Bindings = dict[TypeVar, Any]
"""What the type variables of a generic node stand for in one call."""

NONE: Final = type(None)
ANYTHING: Final = (Any, object)
"""The annotations that every value is of."""

_NO_LISTS: Final[tuple[type, ...]] = (str, bytes, Mapping)


def strip_annotated(annotation: Any) -> Any:  # noqa: ANN401 - annotations are any object
    """The type inside `Annotated[...]`."""
    while get_origin(annotation) is typing.Annotated:
        annotation = get_args(annotation)[0]
    return annotation


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


def accepts_none(annotation: Any) -> bool:  # noqa: ANN401 - annotations are any object
    """Whether None is a value of the annotated type."""
    plain = strip_annotated(annotation)
    if plain is None or plain is NONE or plain is Any:
        return True
    if is_union(plain):
        return any(accepts_none(member) for member in get_args(plain))
    return False


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


def union(members: Iterable[Any]) -> Any:  # noqa: ANN401 - annotations are any object
    """The union of types, which is the type itself where there is one."""
    flat: list[Any] = []
    for member in members:
        plain = resolve(member)
        flat += get_args(plain) if is_union(plain) else [NONE if plain is None else plain]
    if any(member in ANYTHING for member in flat):
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


def item_type(annotation: Any) -> Any | None:  # noqa: ANN401 - annotations are any object
    """What a loop over a value of this type finds in `$item`; None where it cannot be looped over.

    An int n is looped over as 0..n-1; text is not.
    """
    plain = resolve(annotation)
    if plain in ANYTHING:
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

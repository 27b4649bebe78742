"""Which values a rule's fields may have, read from their annotations."""

from __future__ import annotations

import math
import types
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from graphdiff.schedulers.schedule import Rule


def check_fields(rule: Rule[Any]) -> None:
    """Refuse a field whose value its annotation does not allow.

    Raises:
        ValueError: Names the class, the key, its value and what is allowed.
    """
    hints = _hints(type(rule))
    for field in fields(rule):
        value, hint = getattr(rule, field.name), hints[field.name]
        if not _allows(hint, value):
            raise ValueError(
                f"{rule.name}: {field.name} is {value!r}, but it must be {_described(hint)}"
            )


@lru_cache(maxsize=64)
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _allows(hint: Any, value: object) -> bool:  # noqa: ANN401 - an annotation
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_allows(part, value) for part in get_args(hint))
    if origin is tuple:
        item = get_args(hint)[0]
        if not isinstance(value, tuple):
            return False
        return all(_allows(item, each) for each in cast("tuple[object, ...]", value))
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return not math.isnan(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _described(hint: Any) -> str:  # noqa: ANN401 - an annotation
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    if origin in (Union, types.UnionType):
        return " or ".join(_described(part) for part in get_args(hint))
    if origin is tuple:
        return "a list of " + _described(get_args(hint)[0])
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return "null" if hint is type(None) else names[hint]

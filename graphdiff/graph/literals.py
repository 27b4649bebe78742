"""Literals converted to declared types, exactly or not at all."""

from __future__ import annotations

import difflib
import math
import operator
import typing
from collections.abc import Callable
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Final, TypeVar, get_args, get_origin

from graphdiff.graph.annotations import (
    NONE,
    is_list,
    is_map,
    is_union,
    resolve,
)
from graphdiff.graph.constraints import Choices, bounds, constraints, violated
from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.inputs import input_annotation
from graphdiff.graph.spec import MISSING
from graphdiff.graph.types import show, type_name

__all__ = ["Converter", "LiteralError", "convert", "converter", "input_annotation"]

Converter = Callable[[object], object]

_EXACT_INT: Final = 2**53
_converters: dict[Any, Converter] = {}


class LiteralError(ValueError):
    """A value that is not of the declared type and cannot become it without a change.

    Attributes:
        code: `wrong-literal`, `lossy-literal` or `out-of-bounds`.
        message: What is wanted and what was given: `wants int, got "7"`.
        help: The way out, where there is one.
    """

    def __init__(self, code: str, message: str, help: str | None = None) -> None:
        self.code = code
        self.message = message
        self.help = help
        super().__init__(message)


def convert(value: object, annotation: Any) -> object:  # noqa: ANN401 - annotations
    """The value in the declared type's canonical form: 5 for a float is 5.0.

    Args:
        value: JSON data from a file, or any object from Python.
        annotation: The declared type with its constraints.

    Raises:
        LiteralError: it is of another type, would lose something, or is out of bounds.
    """
    return converter(annotation)(value)


def converter(annotation: Any) -> Converter:  # noqa: ANN401 - annotations are any object
    """The function that converts to this type; made once for each annotation."""
    try:
        found = _converters.get(annotation)
    except TypeError:  # an unhashable constraint
        return _make(annotation)
    if found is None:
        found = _converters[annotation] = _make(annotation)
    return found


def _make(annotation: Any) -> Converter:  # noqa: ANN401 - annotations are any object
    marks = constraints(annotation)
    plain = resolve(annotation)
    convert_plain = _plain(plain)
    for mark in marks:
        if isinstance(mark, Choices):
            convert_plain = _one_of(tuple(map(convert_plain, mark.values)))
    limits = bounds(marks)
    return _bounded(convert_plain, limits, plain) if limits else convert_plain


def _plain(plain: Any) -> Converter:  # noqa: ANN401 - annotations; a table of kinds
    if plain in _CONVERTERS:
        return _CONVERTERS[plain]
    origin, args = get_origin(plain), get_args(plain)
    if is_union(plain):
        return _any_of(plain, args)
    if origin is typing.Literal:
        return _one_of(args)
    if is_list(plain):
        return _list(converter(args[0]) if args else _same, plain)
    if origin is tuple:
        if len(args) == 2 and args[1] is ...:
            items = _list(converter(args[0]), plain)
            return lambda value: tuple(typing.cast(list[object], items(value)))
        return _tuple([converter(a) for a in args], plain)
    if is_map(plain):
        return _map(converter(args[1]) if args else _same, plain)
    if isinstance(plain, TypeVar):
        return _plain(resolve(plain.__bound__)) if plain.__bound__ else _same
    if isinstance(plain, type) and issubclass(plain, Enum):
        return _enum(plain)
    return _instance(plain)


def _same(value: object) -> object:
    return value


def _none(value: object) -> object:
    if value is None:
        return None
    raise LiteralError("wrong-literal", f"wants null, got {show(value)}")


def _bool(value: object) -> object:
    if value is True or value is False:
        return value
    raise _wrong("bool", value, "write true or false" if isinstance(value, (str, int)) else None)


def _int(value: object) -> object:
    if type(value) is int:
        return value
    if isinstance(value, float):
        if value.is_integer() and abs(value) <= _EXACT_INT:
            return int(value)
        raise LiteralError(
            "lossy-literal", f"wants int, got {show(value)}, which is no whole number"
        )
    if isinstance(value, (bool, str)) or not hasattr(value, "__index__"):
        raise _wrong("int", value, _unquoted(value, int))
    return operator.index(typing.cast(typing.SupportsIndex, value))


def _float(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise _wrong("float", value, _unquoted(value, float))
    if isinstance(value, int):
        if abs(value) <= _EXACT_INT or float_equals(value):
            return float(value)
        message = f"wants float, got {show(value)}, which a float cannot hold exactly"
        raise LiteralError("lossy-literal", message)
    if not isinstance(value, float):
        if _is_number(value):
            return _float(float(typing.cast(typing.SupportsFloat, value)))
        raise _wrong("float", value)
    if math.isnan(value):
        raise LiteralError("wrong-literal", "wants float, got NaN, which is not a number")
    return float(value)


def float_equals(value: int) -> bool:
    """Whether a float can hold this int exactly."""
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _str(value: object) -> object:
    if type(value) is str:
        return value
    if isinstance(value, str) and not isinstance(value, Enum):
        return str(value)
    quoted = f'write "{show(value)}"' if isinstance(value, (bool, int, float)) else None
    raise _wrong("str", value, quoted)


def _path(value: object) -> object:
    if isinstance(value, PurePath):
        return Path(value)
    if isinstance(value, str):
        if value and "\0" not in value:
            return Path(value)
        raise LiteralError("wrong-literal", f"wants a path, got {show(value)}")
    raise LiteralError("wrong-literal", f"wants a path, got {show(value)}")


_CONVERTERS: Final[dict[Any, Converter]] = {
    Any: _same,
    object: _same,
    None: _none,
    NONE: _none,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: _path,
    PurePath: _path,
}


def _list(item: Converter, plain: Any) -> Converter:  # noqa: ANN401 - annotations
    def to_list(value: object) -> object:
        if is_sequence(value):
            return [item(v) for v in value]
        cls: Any = get_origin(plain) or plain
        text = isinstance(value, (str, bytes))
        if not text and not is_mapping(value) and isinstance(value, cls):
            return value
        raise _wrong(type_name(plain), value, _in_brackets(value, item))

    return to_list


def _tuple(items: list[Converter], plain: Any) -> Converter:  # noqa: ANN401 - annotations
    def to_tuple(value: object) -> object:
        if not is_sequence(value):
            raise _wrong(type_name(plain), value)
        if len(value) != len(items):
            message = f"wants {len(items)} values ({type_name(plain)}), got {len(value)}"
            raise LiteralError("wrong-literal", message)
        return tuple(item(v) for item, v in zip(items, value, strict=True))

    return to_tuple


def _map(item: Converter, plain: Any) -> Converter:  # noqa: ANN401 - annotations
    def to_map(value: object) -> object:
        if not is_mapping(value):
            raise _wrong(type_name(plain), value)
        return {k: item(v) for k, v in value.items()}

    return to_map


def _one_of(choices: tuple[Any, ...]) -> Converter:
    exact: dict[tuple[type, object], object] = {(type(c), c): c for c in choices}
    names = [show(choice) for choice in choices]

    def to_choice(value: object) -> object:
        try:
            found = exact.get((type(value), value), MISSING)
        except TypeError:  # unhashable, so none of them
            found = MISSING
        if found is not MISSING:
            return found
        if isinstance(value, int) and not isinstance(value, bool) and (float, value) in exact:
            return float(value)
        raise _none_of(value, names)

    return to_choice


def _enum(plain: type[Enum]) -> Converter:
    by_text = {show(member): member for member in plain} | {show(m.name): m for m in plain}
    values = [show(member) for member in plain]

    def to_enum(value: object) -> object:
        if isinstance(value, plain):
            return value
        if (found := by_text.get(show(value))) is not None:
            return found
        raise _none_of(value, values)

    return to_enum


def _any_of(plain: Any, args: tuple[Any, ...]) -> Converter:  # noqa: ANN401 - annotations
    members = [converter(member) for member in args]

    def to_member(value: object) -> object:
        errors: list[LiteralError] = []
        fallback: object = MISSING
        for member in members:
            try:
                converted = member(value)
            except LiteralError as error:
                errors.append(error)
            else:
                if type(converted) is type(value):
                    return converted
                fallback = converted if fallback is MISSING else fallback
        if fallback is not MISSING:
            return fallback
        serious = [e for e in errors if e.code != "wrong-literal"]
        if serious:
            raise serious[0]
        several = [a for a in args if a not in (None, NONE)]
        if len(several) == 1:
            raise next(e for e, a in zip(errors, args, strict=True) if a not in (None, NONE))
        raise _wrong(type_name(plain), value, next((e.help for e in errors if e.help), None))

    return to_member


def _instance(plain: Any) -> Converter:  # noqa: ANN401 - annotations are any object
    cls = get_origin(plain) or plain

    def to_instance(value: object) -> object:
        if isinstance(cls, type) and _is_instance(value, cls):
            return value
        plain_data = isinstance(value, (str, int, float, bool)) or is_sequence(value)
        if is_mapping(value) or (plain_data and not _is_record(cls)):
            return _by_pydantic(plain, value)
        raise _wrong(type_name(plain), value, "wire the output of a node")

    return to_instance


def _is_record(cls: object) -> bool:
    """Whether only a map can be its literal form."""
    return hasattr(cls, "__dataclass_fields__") or hasattr(cls, "model_fields")


def _is_instance(value: object, cls: type) -> bool:
    try:
        return isinstance(value, cls)
    except TypeError:  # a protocol that cannot be checked at run time
        return value is not None


def _by_pydantic(plain: Any, value: object) -> object:  # noqa: ANN401 - annotations
    """A record, a date, ... written as JSON data; None of them has a fast path."""
    import json

    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError
    from pydantic_core import ValidationError

    try:
        adapter: TypeAdapter[object] = TypeAdapter(plain)
        return adapter.validate_json(json.dumps(value), strict=True)
    except (PydanticUserError, NameError, TypeError, AttributeError):
        # No plain data: a value that only another node can give.
        message = f"wants {type_name(plain)}, got {show(value)}"
        raise LiteralError("wrong-literal", message, "wire the output of a node") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        detail = ""
        if where:
            given: object = first["input"]
            lacks = f"it has no {where}"
            wrong = f"{where} cannot be {show(given)}"
            detail = f", and {lacks if first['type'].startswith('missing') else wrong}"
        message = f"wants {type_name(plain)}, got {show(value)}{detail}"
        help = "wire the output of a node" if _is_record(plain) else None
        raise LiteralError("wrong-literal", message, help) from None


def _bounded(inner: Converter, limits: dict[str, Any], plain: Any) -> Converter:  # noqa: ANN401
    def to_bounded(value: object) -> object:
        converted = inner(value)
        if converted is not None and (wish := violated(converted, limits)) is not None:
            message = f"wants {type_name(plain)} {wish}, got {show(value)}"
            raise LiteralError("out-of-bounds", message)
        return converted

    return to_bounded


def _wrong(wanted: str, value: object, help: str | None = None) -> LiteralError:
    return LiteralError("wrong-literal", f"wants {wanted}, got {show(value)}", help)


def _none_of(value: object, choices: list[str]) -> LiteralError:
    near = difflib.get_close_matches(show(value), choices, 1)
    message = f"wants {' | '.join(choices)}, got {show(value)}"
    return LiteralError("wrong-literal", message, f"did you mean {near[0]}?" if near else None)


def _unquoted(value: object, kind: type) -> str | None:
    """The number that stands in quotes."""
    if isinstance(value, str):
        try:
            kind(value)
        except ValueError:
            return None
        return f"write {value} without quotes"
    return None


def _in_brackets(value: object, item: Converter) -> str | None:
    try:
        item(value)
    except LiteralError:
        return None
    return f"write [{show(value)}]"


def _is_number(value: object) -> bool:
    from numbers import Real

    return isinstance(value, Real)

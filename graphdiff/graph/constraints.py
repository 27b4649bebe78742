"""What an annotation asks of a value beyond its type: choices, bounds, lengths, patterns."""

from __future__ import annotations

import operator
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_origin


class Choices:
    """A constraint: one of a few values."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choices) and repr(self.values) == repr(other.values)

    def __hash__(self) -> int:
        return hash(repr(self.values))


class Bounds:
    """A constraint: a number between two others, both allowed."""

    __slots__ = ("ge", "le")

    def __init__(self, ge: float | None, le: float | None) -> None:
        self.ge = ge
        self.le = le

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bounds) and (self.ge, self.le) == (other.ge, other.le)

    def __hash__(self) -> int:
        return hash((self.ge, self.le))


def constraints(annotation: Any) -> list[Any]:  # noqa: ANN401 - annotations are any object
    """The marks of `Annotated[...]`, with those inside pydantic's `Field(...)` taken out of it."""
    found: list[Any] = []
    if get_origin(annotation) is typing.Annotated:
        for mark in annotation.__metadata__:
            found += mark.metadata if type(mark).__name__ == "FieldInfo" else [mark]
    return found


_BOUNDS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], str]]] = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "more than"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "less than"),
}


def bounds(marks: Sequence[Any]) -> dict[str, Any]:
    """The constraints by name: ge, gt, le, lt, multiple_of, min_length, max_length, pattern."""
    names = (*_BOUNDS, "multiple_of", "min_length", "max_length", "pattern")
    return {
        name: value
        for mark in marks
        for name in names
        if (value := getattr(mark, name, None)) is not None
    }


def violated(value: Any, limits: dict[str, Any]) -> str | None:  # noqa: ANN401 - any literal
    """What a value should be and is not."""
    within = all(test(value, limits[name]) for name, (test, _) in _BOUNDS.items() if name in limits)
    if not within:
        return " and ".join(f"{_BOUNDS[n][1]} {limits[n]}" for n in _BOUNDS if n in limits)
    step = limits.get("multiple_of")
    if step is not None and value % step:
        return f"that is a multiple of {step}"
    low, high = limits.get("min_length"), limits.get("max_length")
    if low is not None and len(value) < low:
        return f"of length at least {low}"
    if high is not None and len(value) > high:
        return f"of length at most {high}"
    pattern = limits.get("pattern")
    if pattern is not None:
        import re

        if re.search(pattern, value) is None:
            return f"that matches {getattr(pattern, 'pattern', pattern)}"
    return None

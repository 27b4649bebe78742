"""What may be wired into what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import pytest
from annotated_types import Ge

from graphdiff.graph.annotations import (
    Bindings,
    item_type,
    substitute,
    union,
)
from graphdiff.graph.types import assignable, type_name
from tests.graph.toys import Mode, Photo, Picture, Plan, Sound, Tick

T = TypeVar("T")
N = TypeVar("N", bound=float)


class HasPixels(Protocol):
    pixels: tuple[int, ...]


class Ticks(Sequence[Tick]):
    """A sequence that says of what by its base."""


class Odd:
    def __getitem__(self, index: int) -> Sound:
        raise IndexError(index)


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (int, float, True),
        (float, int, False),
        (bool, int, False),
        (bool, float, False),
        (int, bool, False),
        (int, Annotated[float, Ge(0)], True),
        (Annotated[int, Ge(5)], int, True),
        (Photo, Picture, True),
        (Picture, Photo, False),
        (Picture, Sound, False),
        (Picture, Picture | None, True),
        (Picture | None, Picture, False),
        (None, Picture | None, True),
        (None, Picture, False),
        (int | str, float | str, True),
        (int | str, float, False),
        (list[int], list[float], True),
        (list[float], list[int], False),
        (list[Photo], Sequence[Picture], True),
        (tuple[Photo, ...], Sequence[Picture], True),
        (tuple[int, str], Sequence[int | str], True),
        (tuple[int, str], tuple[float, str], True),
        (tuple[int, ...], tuple[int, int], False),
        (list[int], tuple[int, ...], False),
        (str, Sequence[str], False),
        (dict[str, int], Mapping[str, float], True),
        (dict[str, str], Mapping[str, float], False),
        (Literal["a"], str, True),
        (Literal["a"], Literal["a", "b"], True),
        (Literal["a", "c"], Literal["a", "b"], False),
        (str, Literal["a", "b"], False),
        (Literal[1], float, True),
        (Literal[True], Literal[1], False),
        (Literal["a", 1], str | int, True),
        (Mode, Mode, True),
        (str, Mode, False),
        (str, Path, False),
        (Any, Picture, True),
        (Picture, Any, True),
        (Picture, object, True),
        (Picture, HasPixels, True),
        (Sound, HasPixels, False),
        (list[Any], list[int], True),
        (Plan, Sequence[Tick], False),
    ],
)
def test_wires_follow_the_rules_of_type_checkers(source: Any, target: Any, fits: bool) -> None:
    assert assignable(source, target) is fits


def test_type_variables_are_bound_by_what_is_wired_in() -> None:
    bindings: Bindings = {}
    assert assignable(list[Photo], list[T], bindings)  # type: ignore[valid-type]
    assert substitute(Sequence[T], bindings) == Sequence[Photo]  # type: ignore[valid-type]
    assert assignable(Picture, T, bindings)
    assert substitute(T, bindings) == Photo | Picture
    assert not assignable(str, N, {})
    assert substitute(T | None, {}) is Any


@pytest.mark.parametrize(
    ("annotation", "item"),
    [
        (list[int], int),
        (tuple[int, ...], int),
        (Sequence[Picture], Picture),
        (Iterator[Tick], Tick),
        (Plan, Tick),
        (Ticks, Tick),
        (Odd, Sound),
        (int, int),
        (list, Any),
        (list[int] | tuple[str, ...], int | str),
        (str, None),
        (float, None),
        (Picture, None),
        (dict[str, int], None),
    ],
)
def test_a_loop_knows_the_type_of_its_items(annotation: Any, item: Any) -> None:
    assert item_type(annotation) == item


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Annotated[int, Ge(0)], "int"),
        (Picture | None, "Picture | null"),
        (list[Picture], "list[Picture]"),
        (Sequence[int], "list[int]"),
        (Literal["a", 1], '"a" | 1'),
        (Any, "anything"),
        (None, "null"),
        (dict[str, int], "dict[str, int]"),
        (Path, "Path"),
    ],
)
def test_types_are_written_as_people_would(annotation: Any, name: str) -> None:
    assert type_name(annotation) == name


def test_a_union_names_each_type_once() -> None:
    assert union([int, int | None, None]) == int | None
    assert union([int, Any]) is Any

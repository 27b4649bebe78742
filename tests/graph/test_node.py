"""What a declaration refuses, with the place to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from graphdiff.graph.node import DeclarationError, node

_NAMES = Annotated, Literal, Ge  # what annotations in quotes name


def test_an_annotation_that_names_nothing_is_refused_with_its_line() -> None:
    @node
    def Tint(image: Imagee) -> int:  # type: ignore[name-defined]  # noqa: F821
        """Tint."""
        return 0

    with pytest.raises(DeclarationError, match=r"test_node\.py:\d+: node Tint: .*'Imagee'"):
        _ = Tint.params


def test_a_default_of_another_type_is_refused_where_it_is_declared() -> None:
    with pytest.raises(
        DeclarationError,
        match=r"test_node\.py:\d+: node Tint: the default of by wants int, got \"a\"",
    ) as caught:

        @node
        def Tint(
            image: int,
            by: int = "a",  # type: ignore[assignment]  # pyright: ignore
        ) -> int:
            """Tint."""
            return 0

    line = int(str(caught.value).split(":")[1])
    assert Path(__file__).read_text().splitlines()[line - 1].strip().startswith('by: int = "a"')


@pytest.mark.parametrize(
    ("annotation", "default", "message"),
    [
        ("int", None, r"wants int, got null: write `by: ... \| None`"),
        ("float", True, "wants float, got true"),
        (Annotated[int, Ge(3)], 2, "wants int at least 3, got 2"),
        ("Annotated[int, Ge(3)] | None", 2, "wants int at least 3, got 2"),
        ("Literal['a', 'b']", "c", 'wants "a" | "b", got "c"'.replace("|", r"\|")),
        ("list[int]", [1, "x"], 'wants int, got "x"'),
    ],
)
def test_a_default_is_held_to_what_its_annotation_says(
    annotation: object, default: object, message: str
) -> None:
    def Tint(by: int = 0) -> int:
        return by

    Tint.__annotations__["by"] = annotation
    Tint.__defaults__ = (default,)
    with pytest.raises(DeclarationError, match=message):
        node(Tint)


def test_a_default_of_a_type_that_is_defined_later_is_refused_when_all_is_there() -> None:
    def Tint(by: int = 0) -> int:
        return by

    Tint.__annotations__["by"] = "DefinedLater"
    late = node(Tint)
    globals()["DefinedLater"] = str
    try:
        with pytest.raises(DeclarationError, match="the default of by wants str, got 0"):
            late.refuse_undeclared()
    finally:
        del globals()["DefinedLater"]


@pytest.mark.parametrize(
    ("default", "annotation"),
    [(1, "float"), (None, "int | None"), ("a/b", "Path"), ((1, 2), "list[int]"), ("a", "str")],
)
def test_a_default_that_converts_is_right(default: object, annotation: str) -> None:
    def Tint(by: int = 0) -> int:
        return by

    Tint.__annotations__["by"] = annotation
    Tint.__defaults__ = (default,)
    assert not node(Tint).params["by"].required


@pytest.mark.parametrize(
    ("options", "message"),
    [({"cache": "sometimes"}, "cache is one of 'auto'"), ({"at": "once"}, "at is one of 'run'")],
)
def test_options_are_among_those_there_are(options: Any, message: str) -> None:
    def Tint(by: int) -> int:
        return by

    with pytest.raises(DeclarationError, match=rf"test_node\.py:\d+: node Tint: {message}"):
        node(**options)(Tint)


def test_a_node_is_made_of_a_function() -> None:
    with pytest.raises(DeclarationError, match=r"test_node\.py:\d+: node Path: .* a function"):
        node(Path)

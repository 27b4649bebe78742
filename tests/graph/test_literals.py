"""Literals: what becomes the declared type, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le, MinLen, MultipleOf
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from graphdiff.graph.literals import LiteralError, convert
from tests.graph.toys import Mode, Picture


@dataclass(frozen=True)
class Box:
    x: int
    y: float = 0.0


@pytest.mark.parametrize(
    ("value", "annotation", "meaning"),
    [
        (5, float, 5.0),
        (5.0, int, 5),
        (5, int, 5),
        (True, bool, True),
        ("x", str, "x"),
        ("a/b", Path, Path("a/b")),
        (None, int | None, None),
        (3, int | None, 3),
        (3, float | None, 3.0),
        (3, int | float, 3),
        (3.0, int | float, 3.0),
        ([1, 2], list[float], [1.0, 2.0]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, "a"], tuple[int, str], (1, "a")),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ("soft", Mode, Mode.SOFT),
        ("HARD", Mode, Mode.HARD),
        ("a", Literal["a", "b"], "a"),
        (3, Annotated[int, Ge(3), Le(3)], 3),
        (3, Annotated[int, Field(ge=3)], 3),
        ({"x": 1}, Box, Box(1)),
        ("2024-01-02", date, date(2024, 1, 2)),
        (Picture((1,)), Picture, Picture((1,))),
        ([1, {"a": None}], Any, [1, {"a": None}]),
        (2**60, float, float(2**60)),
    ],
)
def test_a_literal_becomes_the_declared_type(
    value: object, annotation: Any, meaning: object
) -> None:
    found = convert(value, annotation)
    assert (type(found), found) == (type(meaning), meaning)


@pytest.mark.parametrize(
    ("value", "annotation", "code"),
    [
        (7.9, int, "lossy-literal"),
        ("7", int, "wrong-literal"),
        (True, int, "wrong-literal"),
        (True, float, "wrong-literal"),
        (1, bool, "wrong-literal"),
        (float("nan"), float, "wrong-literal"),
        (float("inf"), int, "lossy-literal"),
        (2**53 + 1, float, "lossy-literal"),
        (10**400, float, "lossy-literal"),
        (5, str, "wrong-literal"),
        (None, int, "wrong-literal"),
        (None, str, "wrong-literal"),
        ("", Path, "wrong-literal"),
        ("x", list[str], "wrong-literal"),
        ([1, 2.5], list[int], "lossy-literal"),
        ([1], tuple[int, int], "wrong-literal"),
        ([1], dict[str, int], "wrong-literal"),
        ("c", Literal["a", "b"], "wrong-literal"),
        ("Soft", Mode, "wrong-literal"),
        (2, Annotated[int, Ge(3)], "out-of-bounds"),
        (2, Annotated[int, Field(ge=3)] | None, "out-of-bounds"),
        (11, Annotated[float, Le(10)], "out-of-bounds"),
        (7, Annotated[int, MultipleOf(8)], "out-of-bounds"),
        ([], Annotated[list[int], MinLen(1)], "out-of-bounds"),
        ("b", Annotated[str, Field(pattern="^a")], "out-of-bounds"),
        ("x", Picture, "wrong-literal"),
        (3, Box, "wrong-literal"),
        ({"x": 1.5}, Box, "wrong-literal"),
        ("tomorrow", date, "wrong-literal"),
        ("x", int | Picture, "wrong-literal"),
    ],
)
def test_what_would_change_or_is_something_else_is_refused(
    value: object, annotation: Any, code: str
) -> None:
    with pytest.raises(LiteralError) as caught:
        convert(value, annotation)
    assert caught.value.code == code
    assert caught.value.message.startswith("wants ")


@pytest.mark.parametrize(
    ("value", "annotation", "help"),
    [
        ("7", int, "write 7 without quotes"),
        (5, str, 'write "5"'),
        (5, str | list[str] | None, 'write "5"'),
        ("x", list[str], 'write ["x"]'),
        ("rd", Literal["red", "green"], 'did you mean "red"?'),
        ("yes", bool, "write true or false"),
    ],
)
def test_the_way_out_is_said(value: object, annotation: Any, help: str) -> None:
    with pytest.raises(LiteralError) as caught:
        convert(value, annotation)
    assert caught.value.help == help


@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none())
def test_what_converts_keeps_its_value_and_converts_to_itself(value: Any) -> None:
    for annotation in (int, float, str, bool, int | None, float | str):
        try:
            found = convert(value, annotation)
        except LiteralError:
            continue
        assert found == value
        assert convert(found, annotation) == found


def test_plain_literals_import_no_pydantic() -> None:
    code = (
        "import sys\nfrom typing import Literal\n"
        "from graphdiff.graph.literals import convert\n"
        "convert([1], list[float]); convert('a', Literal['a'] | None)\n"
        "sys.exit('pydantic' in sys.modules or 'networkx' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0

"""Declared inputs: the values that a declaration takes, and the type that a default tells."""

from __future__ import annotations

import pytest

from graphdiff.graph.inputs import UnknownTypeError, inferred_type, input_annotation
from graphdiff.graph.literals import LiteralError, convert
from graphdiff.graph.spec import Input
from tests.graph.toys import Picture


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        (Input("int", min=1, max=3), [1, 3], [0, 4, None, "2"]),
        (Input("[str]"), [["a"], []], ["a", [1]]),
        (Input("float", optional=True), [None, 1], ["x"]),
        (Input("str", choices=("a", "b")), ["a"], ["c", 1]),
        (Input("float", choices=(0.5, 1.0)), [1, 0.5], [2]),
        (Input("str", choices=("a",), optional=True), [None, "a"], ["b"]),
        (Input("path"), ["a.png"], [1]),
        (Input("Picture"), [Picture(())], ["x"]),
        (Input("[[int]]"), [[[1]]], [[1]]),
        (Input("int | Picture"), [1], ["x"]),
    ],
)
def test_an_input_takes_what_it_declares(
    declared: Input, good: list[object], bad: list[object]
) -> None:
    annotation = input_annotation(declared, {"Picture": Picture})
    for value in good:
        convert(value, annotation)
    for value in bad:
        with pytest.raises(LiteralError):
            convert(value, annotation)


def test_a_type_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownTypeError, match="integer"):
        input_annotation(Input("integer"))


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        (True, "bool"),
        (1, "int"),
        (1.5, "float"),
        ("a", "str"),
        ([1, 2], "[int]"),
        ([1, 2.5], "[float]"),
        ([["a"]], "[[str]]"),
        ([1, "a"], None),
        ([], None),
        (None, None),
    ],
)
def test_a_default_tells_its_type_or_does_not(default: object, kind: str | None) -> None:
    assert inferred_type(default) == kind

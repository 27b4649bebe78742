"""Plain data, worked out when a run is planned."""

from __future__ import annotations

import pytest
from graphdiff_nodes import data


def test_values_are_put_into_text() -> None:
    text = data.FormatText.fn("{what}-{seed:04d}", {"what": "cat", "seed": 7})
    assert text == "cat-0007"
    with pytest.raises(ValueError, match="wants 'color'; the values are what"):
        data.FormatText.fn("{color}", {"what": "cat"})
    with pytest.raises(ValueError, match="cannot be filled"):
        data.FormatText.fn("{", {})


def test_texts_are_joined_and_split() -> None:
    assert data.JoinText.fn(["a", "", "b"]) == "a, b"
    assert data.SplitText.fn("a\n\n b \n") == ["a", "b"]


def test_lists_are_counted_and_picked_from() -> None:
    assert data.Length.fn([1, 2]) == 2
    assert data.ListItem.fn(["a", "b"], -1) == "b"
    with pytest.raises(ValueError, match="no item 2 in a list of 2"):
        data.ListItem.fn(["a", "b"], 2)
    assert data.Seeds.fn(5, 3) == [5, 6, 7]


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ("linear", [2, 4, 6, 8, 10]),
        ("step", [2, 2, 10, 10, 10]),
        ("cosine", [2, 3.17, 6, 8.83, 10]),
    ],
)
def test_a_ramp_goes_from_one_number_to_another(shape: str, wanted: list[float]) -> None:
    found = data.Ramp.fn(2, 10, 5, shape=shape)  # type: ignore[arg-type]
    assert found == pytest.approx(wanted, abs=0.01)
    assert data.Ramp.fn(3, 9, 1) == [3]


@pytest.mark.parametrize(
    ("operation", "wanted"), [("+", 9), ("-", 3), ("*", 18), ("/", 2), ("min", 3), ("max", 6)]
)
def test_numbers_are_worked_out(operation: str, wanted: float) -> None:
    assert data.Calculate.fn(6, operation, 3) == wanted  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="b is 0"):
        data.Calculate.fn(1, "/", 0)
    assert data.Round.fn(2.6) == 3

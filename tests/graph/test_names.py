"""Names and references in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphdiff.graph.names import (
    DollarError,
    did_you_mean,
    escape,
    is_name,
    near,
    parse_text,
    text_of,
    write_text,
)
from graphdiff.graph.spec import Ref, Text
from tests.graph.toys import Mode


@given(st.text() | st.text(alphabet="${}a."))
def test_escaped_text_means_itself(text: str) -> None:
    assert parse_text(escape(text)) == text


@given(st.lists(st.text(alphabet="${}ab.", min_size=1), max_size=3))
def test_written_text_with_insertions_reads_as_it_was(pieces: list[str]) -> None:
    ref = Ref(("inputs", "a"))
    parts: list[str | Ref] = [ref]
    for piece in pieces:
        parts += [piece, ref]
    text = Text(tuple(parts))
    assert parse_text(write_text(text)) == text


def test_a_dollar_in_the_middle_is_itself() -> None:
    assert parse_text("costs $5, or $x") == "costs $5, or $x"


@pytest.mark.parametrize("text", ["$", "$5", "$a b", "$a.", "$a..b", "${", "${}", "x${a b}", "${a"])
def test_a_dollar_that_starts_no_reference_says_to_write_two(text: str) -> None:
    with pytest.raises(DollarError) as caught:
        parse_text(text)
    assert "$$" in caught.value.help


def test_names_are_letters_digits_and_underscores() -> None:
    assert all(map(is_name, ["a", "_b", "größe", "n1"]))
    assert not any(map(is_name, ["", "1a", "a-b", "a b", "a.b", "$a"]))


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert near("unet", ["VAE", "UNet"]) == "UNet"
    assert near("zzz", ["VAE", "UNet"]) is None
    assert did_you_mean("zzz", ["VAE", "UNet"]) == "there is VAE, UNet"
    assert did_you_mean("zzz", []) is None


def test_values_are_inserted_as_a_file_has_them() -> None:
    assert [text_of(v) for v in (True, 1, 2.5, "x", Mode.SOFT)] == ["true", "1", "2.5", "x", "soft"]

"""What captions say, and what they must never say."""

from __future__ import annotations

import random

import pytest

from training.captions import all_words, article, caption, paints_of
from training.concepts import BACKGROUNDS, HELD_OUT, PAINTED, PAINTS, STYLES, concepts
from training.evaluate import held_out_prompts, painted_prompts, seen_prompts


def test_every_label_and_name_means_one_thing() -> None:
    names = [name for all_names in concepts().values() for name in all_names]
    assert len(names) == len(set(names))
    assert len(concepts()) >= 308


def test_what_is_painted_or_held_out_has_a_name() -> None:
    names = {name for all_names in concepts().values() for name in all_names}
    assert set(PAINTED) <= names
    assert {noun for _, noun in HELD_OUT} <= set(PAINTED)
    assert {colour for colour, _ in HELD_OUT} <= set(PAINTS)


def test_held_out_pairs_are_never_painted() -> None:
    for names in concepts().values():
        for colour in paints_of(names):
            assert not {(colour, name) for name in names} & set(HELD_OUT)


def test_no_emoji_of_the_data_is_a_held_out_pair() -> None:
    assert not {f"{colour} {noun}" for colour, noun in HELD_OUT} & set(concepts())


@pytest.mark.parametrize("background", list(BACKGROUNDS))
def test_a_caption_names_thing_style_colour_and_any_background_but_white(background: str) -> None:
    chance = random.Random(0)
    for style in STYLES:
        said = caption(("cat",), style=style, colour="blue", background=background, chance=chance)
        assert "blue cat" in said
        assert style in said
        assert (f"on {background}" in said or f"on a {background}" in said) == (
            background != "white"
        )


def test_a_painted_red_apple_is_not_called_red() -> None:
    chance = random.Random(0)
    said = {
        caption(
            ("apple", "red apple"), style=None, colour="blue", background="white", chance=chance
        )
        for _ in range(50)
    }
    assert all("red" not in text.split() for text in said)


def test_the_article_goes_with_the_sound() -> None:
    assert article("owl") == "an owl"
    assert article("3d owl") == "a 3d owl"


def test_the_vocabulary_learns_every_word_of_every_name() -> None:
    known = set(" ".join(all_words()).split())
    for names in concepts().values():
        assert set(" ".join(names).split()) <= {word.rstrip(",") for word in known}


def test_the_evaluation_asks_for_a_hundred_different_things() -> None:
    prompts = seen_prompts()
    assert len({prompt.label for prompt in prompts}) == 100
    asked = {prompt.text for prompt in prompts}
    assert {"a cat", "a house", "a pizza", "a rocket", "a ghost", "a sunflower"} <= asked


def test_seen_and_held_out_pairs_do_not_meet() -> None:
    assert {p.text for p in held_out_prompts()}.isdisjoint(p.text for p in painted_prompts())

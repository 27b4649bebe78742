"""What is said about a picture: captions in many wordings, and the prompts of the evaluation."""

from __future__ import annotations

import random

from training.concepts import BACKGROUNDS, HELD_OUT, PAINTED, PAINTS, STYLES, concepts


def article(phrase: str) -> str:
    """The phrase with `a` or `an` before it.

    >>> article("apple")
    'an apple'
    """
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def caption(
    names: tuple[str, ...],
    *,
    style: str | None,
    colour: str | None,
    background: str,
    chance: random.Random,
) -> str:
    """One wording of what a picture shows.

    Args:
        names: What the thing is called; the first is used most.
        style: Style word, None to leave it open.
        colour: The colour that it was painted in, None for its own.
        background: Name of the colour behind it; white is not mentioned.
        chance: Where the choice of words comes from.
    """
    name = names[0] if chance.random() < 0.6 else chance.choice(names)
    # "a green red apple" would say two colours.
    if colour is not None and name == "red apple":
        name = "apple"
    thing = name if colour is None else f"{colour} {name}"
    if style is None:
        words = chance.choice([article(thing), article(thing), thing])
    else:
        words = chance.choice(
            [
                article(f"{style} {thing}"),
                article(f"{style} {thing}"),
                f"{style} {thing}",
                f"{thing}, {style}",
                f"{article(thing)}, {style} style",
                f"{article(thing)} in {style} style",
            ]
        )
    if background != "white":
        words += chance.choice(
            [
                f" on a {background} background",
                f" on a {background} background",
                f" on {background}",
            ]
        )
    return words


def paints_of(names: tuple[str, ...]) -> list[str]:
    """The colours that a thing is painted in for training: all but the held-out ones."""
    if not set(names) & set(PAINTED):
        return []
    return [c for c in PAINTS if not any((c, name) in HELD_OUT for name in names)]


def all_words() -> list[str]:
    """Captions enough to learn a vocabulary from."""
    chance = random.Random(0)
    styles, backgrounds = (*STYLES, None), (*BACKGROUNDS, "white")
    texts: list[str] = []
    for names in concepts().values():
        for name in names:
            for colour in (None, *PAINTS):
                texts.append(
                    caption(
                        (name,),
                        style=chance.choice(styles),
                        colour=colour,
                        background=chance.choice(backgrounds),
                        chance=chance,
                    )
                )
    return texts

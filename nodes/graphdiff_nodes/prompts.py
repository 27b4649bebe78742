"""Prompts as tokens with weights: plain text, and the `(word:1.2)` syntax of any length."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

_EMPHASIS = 1.1  # what a pair of parentheses without a number multiplies
_WORD = 8  # from this many tokens on a passage may be broken by the end of a chunk
_NUMBER = re.compile(r"(?s)(.+):\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*")


class Tokenizer(Protocol):
    """What is asked of a tokenizer."""

    @property
    def bos_token_id(self) -> int:
        """The token that begins a text."""
        ...

    @property
    def eos_token_id(self) -> int:
        """The token that ends a text."""
        ...

    @property
    def pad_token_id(self) -> int:
        """The token that fills a text up."""
        ...

    @property
    def model_max_length(self) -> int:
        """How many tokens a text has, start and end included."""
        ...

    def __call__(
        self, texts: Sequence[str], *, padding: bool = True, truncation: bool = True
    ) -> Sequence[Sequence[int]]:
        """The tokens of each text, start and end included."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """As many tokens as a text encoder reads at once.

    Args:
        ids: The tokens, with start, end and padding.
        weights: How much each counts, 1 for the usual.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def plain(text: str, tokenizer: Tokenizer) -> list[Chunk]:
    """One chunk of a text; what is too long for it is cut off, with a warning."""
    body, room = _tokens(text, tokenizer), tokenizer.model_max_length - 2
    if len(body) > room:
        warnings.warn(
            f"the prompt has {len(body)} tokens, the text encoder reads {room}: the rest is "
            f"cut off; syntax: weighted reads all of it ({text[:60]!r}...)",
            stacklevel=2,
        )
    return [_chunk([(token, 1.0) for token in body[:room]], tokenizer)]


def weighted(text: str, tokenizer: Tokenizer) -> list[Chunk]:
    """A text with weights in as many chunks as it needs, as ComfyUI reads it.

    A passage of less than eight tokens is not broken by the end of a chunk. Line breaks are spaces.
    """
    room = tokenizer.model_max_length - 2
    chunks: list[list[tuple[int, float]]] = [[]]
    for passage, weight in passages(text):
        rest = [(token, weight) for token in _tokens(passage.replace("\n", " "), tokenizer)]
        while rest:
            left = room - len(chunks[-1])
            if len(rest) > left:
                taken = left if len(rest) >= _WORD else 0
                chunks[-1] += rest[:taken]
                rest = rest[taken:]
                chunks.append([])
            else:
                chunks[-1] += rest
                rest = []
    return [_chunk(chunk, tokenizer) for chunk in chunks]


def passages(text: str, weight: float = 1.0) -> Iterator[tuple[str, float]]:
    r"""Take a text apart into passages and their weights.

    `(word)` counts 1.1 times as much, `(word:1.3)` exactly 1.3; parentheses nest, `\(` is one to
    be read. A parenthesis without its other half is text.
    """
    start = i = 0
    while i < len(text):
        if text[i] == "\\":
            i += 1  # whatever follows is no parenthesis
        elif text[i] == "(" and (close := _closing(text, i)) is not None:
            yield from _readable(text[start:i], weight)
            yield from _group(text[i + 1 : close], weight)
            start, i = close + 1, close
        i += 1
    yield from _readable(text[start:], weight)


def _group(inside: str, weight: float) -> Iterator[tuple[str, float]]:
    numbered = _NUMBER.fullmatch(inside)
    if numbered:
        yield from passages(numbered[1], float(numbered[2]))
    else:
        yield from passages(inside, weight * _EMPHASIS)


def _closing(text: str, opening: int) -> int | None:
    depth, i = 0, opening
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == "(":
            depth += 1
        elif text[i] == ")":
            depth -= 1
            if depth == 0:
                return i
        i += 1
    return None


def _readable(text: str, weight: float) -> Iterator[tuple[str, float]]:
    if text:
        yield text.replace("\\(", "(").replace("\\)", ")"), weight


def _tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    (ids,) = tokenizer([text], padding=False, truncation=False)
    return list(ids[1:-1])


def _chunk(body: Sequence[tuple[int, float]], tokenizer: Tokenizer) -> Chunk:
    missing = tokenizer.model_max_length - 2 - len(body)
    padding = [tokenizer.pad_token_id] * missing
    ids = [tokenizer.bos_token_id, *(t for t, _ in body), tokenizer.eos_token_id, *padding]
    weights = [1.0, *(weight for _, weight in body), 1.0, *[1.0] * missing]
    return Chunk(tuple(ids), tuple(weights))

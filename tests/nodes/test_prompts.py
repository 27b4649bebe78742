"""Prompts with weights, long prompts, and what the text encoders make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from graphdiff_nodes.conditioning import TextEncode
from graphdiff_nodes.models import LoadModel
from graphdiff_nodes.prompts import passages, plain, weighted

from graphdiff.graph.node import Settings


class Words:
    """A tokenizer of words of ten tokens: each letter is one."""

    bos_token_id, eos_token_id, pad_token_id, model_max_length = 1, 2, 0, 12

    def __call__(
        self, texts: Sequence[str], *, padding: bool = True, truncation: bool = True
    ) -> list[list[int]]:
        return [[1, *(ord(letter) for letter in text.replace(" ", "")), 2] for text in texts]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (cat)", [("a ", 1.0), ("cat", 1.1)]),
        ("((a)) b", [("a", 1.1 * 1.1), (" b", 1.0)]),
        ("(a:1.5) (b:.5)", [("a", 1.5), (" ", 1.0), ("b", 0.5)]),
        ("(a (b:0.3):2)", [("a ", 2.0), ("b", 0.3)]),
        ("(a: b)", [("a: b", 1.1)]),
        (r"\(a\) (b", [("(a) (b", 1.0)]),
        (r"(a\) b:1.2)", [("a) b", 1.2)]),
        ("a) b", [("a) b", 1.0)]),
        ("()", []),
        ("", []),
    ],
)
def test_parentheses_are_weights(text: str, wanted: list[tuple[str, float]]) -> None:
    found = list(passages(text))
    assert [part for part, _ in found] == [part for part, _ in wanted]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in wanted])


def test_plain_text_is_cut_off_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="12 tokens, the text encoder reads 10"):
        (chunk,) = plain("abcdefghijkl", Words())
    assert chunk.ids == (1, *map(ord, "abcdefghij"), 2)
    assert set(chunk.weights) == {1.0}


def test_short_text_is_filled_up() -> None:
    (chunk,) = plain("ab", Words())
    assert chunk.ids == (1, 97, 98, 2) + (0,) * 8


def test_long_text_goes_on_in_further_chunks_without_breaking_words() -> None:
    one, two = weighted("abcdef (ghij k:2)", Words())
    assert one.ids == (1, *map(ord, "abcdef"), 2, 0, 0, 0, 0)
    assert two.ids == (1, *map(ord, "ghijk"), 2, 0, 0, 0, 0, 0)
    assert two.weights == (1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1)


def test_a_passage_of_eight_tokens_and_more_is_broken() -> None:
    one, two = weighted("abc(defghijklmn:2)", Words())
    assert one.ids == (1, *map(ord, "abcdefghij"), 2)
    assert two.ids == (1, *map(ord, "klmn"), 2) + (0,) * 6


@pytest.fixture
def encoder(checkpoint: Any) -> Any:
    folder = checkpoint("stable_diffusion")[0]
    return LoadModel.fn(str(folder), settings=Settings("cpu", "float32")).text_encoder


def sequence(encoder: Any, text: Any, **options: Any) -> torch.Tensor:
    found: torch.Tensor = TextEncode.fn(encoder, text, **options).parts[0].sequence
    return found


def test_text_without_weights_is_the_same_in_both_syntaxes(encoder: Any) -> None:
    weighted_ = sequence(encoder, "a red apple", syntax="weighted")
    assert torch.allclose(sequence(encoder, "a red apple"), weighted_, atol=1e-6)


def test_a_weight_moves_its_tokens_away_from_the_empty_text(encoder: Any) -> None:
    neutral = sequence(encoder, "")
    usual = sequence(encoder, "a red apple")
    strong = sequence(encoder, "a (red:1.4) apple", syntax="weighted")
    tokens = (strong - usual).abs().amax((0, 2)) > 1e-6
    assert tokens.nonzero().flatten().tolist() == [2]  # start, a, red
    wanted = neutral[:, 2] + 1.4 * (usual[:, 2] - neutral[:, 2])
    assert torch.allclose(strong[:, 2], wanted, atol=1e-5)


def test_long_prompts_become_longer_sequences(encoder: Any) -> None:
    long = sequence(encoder, "a red apple " * 40, syntax="weighted")
    assert long.shape[1] % 77 == 0
    assert long.shape[1] > 77
    mixed = sequence(encoder, ["a cat", "a red apple " * 40], syntax="weighted")
    assert mixed.shape == (2, *long.shape[1:])
    assert torch.allclose(mixed[1:], long, atol=1e-5)


def test_no_text_is_zeros_and_an_empty_one_is_not(encoder: Any) -> None:
    assert not sequence(encoder, None).any()
    assert sequence(encoder, "").any()
    assert sequence(encoder, None).shape == sequence(encoder, "").shape


def test_layers_are_left_out_from_the_end(encoder: Any) -> None:
    assert (sequence(encoder, "a cat") - sequence(encoder, "a cat", clip_skip=1)).abs().max() > 0
    with pytest.raises(ValueError, match="this text encoder has 3"):
        sequence(encoder, "a cat", clip_skip=9)


def test_sizes_come_in_pairs(encoder: Any) -> None:
    with pytest.raises(ValueError, match="both target_width and target_height"):
        TextEncode.fn(encoder, "a cat", target_width=64)

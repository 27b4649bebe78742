"""What no call can ask for is refused, by the names that callers know."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from graphdiff.pipelines.checks import (
    check_generator,
    check_latents,
    check_numbers,
    check_size,
    check_text,
)
from graphdiff.pipelines.request import Request


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_inference_steps": 3.5}, "num_inference_steps is 3.5, but it must be a whole number"),
        ({"num_inference_steps": "4"}, "num_inference_steps is '4', but it must be a whole number"),
        ({"num_inference_steps": None}, "num_inference_steps is None, but it must be at least 1"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0, but it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0, but it must be at least 1"),
        ({"height": float("inf")}, "height is inf, but it must be a whole number"),
        ({"padding_mask_crop": -1}, "padding_mask_crop is -1, but it must be at least 0"),
        ({"guidance_scale": "7"}, "guidance_scale is '7', but it must be a number"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan, but it must be a number"),
        ({"strength": 1.5}, "strength is 1.5, but it must be from 0 to 1"),
        ({"denoising_end": -0.5}, "denoising_end is -0.5, but it must be from 0 to 1"),
        ({"denoising_start": 1.0}, "the start must be below the end, which is 1 where"),
        ({"denoising_start": 0.5, "denoising_end": 0.5}, "the start must be below the end"),
        ({"timesteps": [5], "sigmas": [1.0]}, "give either timesteps or sigmas, not both"),
    ],
)
def test_a_number_that_is_none_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        check_numbers(Request(**arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"num_inference_steps": np.int64(4), "guidance_scale": np.float32(3), "height": 64.0},
        {"num_inference_steps": None, "timesteps": [9, 5]},
        {"strength": 0, "denoising_end": 1.0},
        {"denoising_start": 0.4, "denoising_end": 0.6},
    ],
)
def test_numbers_of_any_library_are_taken(arguments: dict[str, Any]) -> None:
    check_numbers(Request(**arguments))


def test_a_seed_is_no_generator() -> None:
    seeded = torch.Generator().manual_seed(5)
    for given in (None, seeded, [seeded, seeded]):
        check_generator(Request(generator=given))
    wrong: tuple[Any, ...] = (5, [seeded, 5])
    for each in wrong:
        with pytest.raises(TypeError, match=r"int is given: .* torch\.Generator\(\)\.manual_seed"):
            check_generator(Request(generator=each))


def test_sizes_are_multiples_of_what_a_cell_stands_for() -> None:
    check_size(Request(height=64), 8)
    with pytest.raises(ValueError, match=r"width is 60 pixels, .* take 56 or 64"):
        check_size(Request(height=64, width=60), 8)


VECTORS = torch.zeros(2, 7, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_embeds": np.zeros((1, 7, 5))}, "prompt_embeds must be a tensor, (batch, tokens"),
        ({"prompt_embeds": VECTORS[0]}, "prompt_embeds is (7, 5), but it must be (batch, tokens"),
        (
            {"prompt_embeds": VECTORS, "pooled_prompt_embeds": VECTORS},
            "pooled_prompt_embeds is (2, 7, 5), but it must be (batch, width)",
        ),
        ({"prompt_embeds": VECTORS}, "prompt_embeds and pooled_prompt_embeds go together"),
        ({"prompt": "a", "prompt_2": 5}, "prompt_2 must be a text or a list of texts, but int"),
        ({"prompt": ["a", "b"], "negative_prompt": ["c"]}, "2 prompts and 1 negative ones"),
    ],
)
def test_prompts_and_their_vectors_go_together(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        check_text(Request(**arguments), is_pooled=True)


def test_a_model_without_pooled_vectors_wants_prompts_alike_instead() -> None:
    check_text(Request(prompt_embeds=VECTORS), is_pooled=False)
    mixed = Request(prompt=["a", "b"], negative_prompt="c")
    check_text(mixed, is_pooled=True)
    with pytest.raises(TypeError, match="must be of prompt's type"):
        check_text(mixed, is_pooled=False)


def test_latents_have_the_channels_of_the_model() -> None:
    check_latents("latents", torch.zeros(1, 4, 8, 8), 4)
    wrong: tuple[Any, ...] = (np.zeros((1, 4, 8, 8)), torch.zeros(4, 8, 8), torch.zeros(1, 3, 8, 8))
    for each in wrong:
        with pytest.raises((TypeError, ValueError), match=r"\(batch, 4, height, width\)"):
            check_latents("latents", each, 4)

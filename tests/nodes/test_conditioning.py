"""Prompts put together, and kept to a place, a mask or a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphdiff_nodes.conditioning import (
    ConditioningAverage,
    ConditioningCombine,
    ConditioningConcat,
    ConditioningSetArea,
    ConditioningSetMask,
    ConditioningSetTimestepRange,
    TextEncode,
)
from graphdiff_nodes.models import LoadModel
from graphdiff_nodes.sampling import NoiseSample, Timesteps, UNetPredict
from graphdiff_nodes.values import Conditioning, Latents, Mask

from graphdiff.graph.node import Settings


class Bench:
    """A model, a noisy sample, two prompts, and what the UNet says of them."""

    def __init__(self, folder: str) -> None:
        self.model = LoadModel.fn(folder, settings=Settings("cpu", "float32"))
        self.steps = Timesteps.fn(self.model.scheduler, 10)
        self.sample = NoiseSample.fn(self.model.unet, self.steps, 0).latents
        self.cat, self.dog = (
            TextEncode.fn(self.model.text_encoder, text) for text in ("a cat", "a dog")
        )

    def say(
        self, conditioning: Conditioning, step: int = 0, sample: Latents | None = None
    ) -> torch.Tensor:
        predicted = UNetPredict.fn(
            self.model.unet, sample or self.sample, self.steps[step], conditioning
        )
        return predicted.samples


@pytest.fixture
def bench(checkpoint: Any) -> Bench:
    return Bench(str(checkpoint("stable_diffusion")[0]))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-5)


def test_combined_prompts_are_averaged(bench: Bench) -> None:
    both = bench.say(ConditioningCombine.fn(bench.cat, bench.dog))
    assert close(both, (bench.say(bench.cat) + bench.say(bench.dog)) / 2)


def test_concatenated_prompts_are_one_longer_prompt(bench: Bench) -> None:
    joined = ConditioningConcat.fn(bench.cat, bench.dog)
    assert joined.parts[0].sequence.shape[1] == 154
    assert not close(bench.say(joined), bench.say(bench.cat))
    with pytest.raises(ValueError, match="this is 2 combined"):
        ConditioningConcat.fn(bench.cat, ConditioningCombine.fn(bench.cat, bench.dog))


def test_averaged_prompts_mix_their_vectors(bench: Bench) -> None:
    assert close(bench.say(ConditioningAverage.fn(bench.cat, bench.dog, 1.0)), bench.say(bench.cat))
    mixed = ConditioningAverage.fn(bench.cat, bench.dog, 0.25).parts[0].sequence
    wanted = 0.25 * bench.cat.parts[0].sequence + 0.75 * bench.dog.parts[0].sequence
    assert torch.allclose(mixed, wanted)


def test_a_prompt_with_an_area_paints_only_there(bench: Bench) -> None:
    left = ConditioningSetArea.fn(bench.dog, 0, 16, 32, 48)
    found = bench.say(ConditioningCombine.fn(bench.cat, left))
    everywhere = bench.say(bench.cat)
    rows, columns = slice(4, 16), slice(0, 8)  # cells of four pixels
    crop = Latents(bench.sample.samples[:, :, rows, columns])
    inside = (everywhere[:, :, rows, columns] + bench.say(bench.dog, sample=crop)) / 2
    assert close(found[:, :, rows, columns], inside)
    assert close(found[:, :, :4], everywhere[:, :, :4])
    assert close(found[:, :, :, 8:], everywhere[:, :, :, 8:])


def test_a_prompt_with_a_mask_counts_as_much_as_it_says(bench: Bench) -> None:
    values = torch.zeros(1, 1, 64, 64)
    values[..., 32:] = 1
    masked = ConditioningSetMask.fn(bench.dog, Mask(values), weight=3.0)
    found = bench.say(ConditioningCombine.fn(bench.cat, masked))
    cat, dog = bench.say(bench.cat), bench.say(bench.dog)
    assert close(found[..., :7], cat[..., :7])
    assert close(found[..., 9:], (cat + 3 * dog)[..., 9:] / 4)


def test_a_prompt_with_a_range_applies_in_its_part_of_the_run(bench: Bench) -> None:
    early = ConditioningSetTimestepRange.fn(bench.dog, 0.0, 0.5)
    late = ConditioningSetTimestepRange.fn(bench.cat, 0.5, 1.0)
    both = ConditioningCombine.fn(early, late)
    assert close(bench.say(both, 1), bench.say(bench.dog, 1))
    assert close(bench.say(both, -1), bench.say(bench.cat, -1))
    with pytest.raises(ValueError, match="no part of the conditioning applies at timestep"):
        bench.say(early, -1)
    with pytest.raises(ValueError, match="start must not be above end"):
        ConditioningSetTimestepRange.fn(bench.dog, 0.6, 0.5)


def test_a_batch_shares_prompts_evenly(bench: Bench) -> None:
    four = NoiseSample.fn(bench.model.unet, bench.steps, 1, batch=4).latents
    two = TextEncode.fn(bench.model.text_encoder, ["a cat", "a dog"])
    found = bench.say(two, sample=four)
    for row, prompt in enumerate([bench.cat, bench.cat, bench.dog, bench.dog]):
        alone = Latents(four.samples[row : row + 1])
        assert close(found[row : row + 1], bench.say(prompt, sample=alone))
    three = NoiseSample.fn(bench.model.unet, bench.steps, 1, batch=3).latents
    with pytest.raises(ValueError, match="a batch of 3 pictures cannot share 2"):
        bench.say(two, sample=three)

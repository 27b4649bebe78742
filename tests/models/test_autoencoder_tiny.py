from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from graphdiff.models import AutoencoderTiny
from tests.models.reference import assert_equal, noise, randomise

TINY: dict[str, Any] = {
    "encoder_block_out_channels": (16,) * 4,
    "decoder_block_out_channels": (16,) * 4,
    "num_encoder_blocks": (1, 2, 1, 1),
    "num_decoder_blocks": (2, 1, 1, 1),
}
KEYS: dict[str, dict[str, Any]] = {
    "none": {},
    "others": {"act_fn": "gelu", "upsample_fn": "bilinear", "latent_channels": 16},
    "latents": {"latent_magnitude": 2, "latent_shift": 0.25},
}


def pair(config: dict[str, Any], folder: Path) -> tuple[AutoencoderTiny, Any]:
    theirs = randomise(diffusers.AutoencoderTiny(**config))
    theirs.save_pretrained(folder)
    return AutoencoderTiny.from_pretrained(folder), theirs


@torch.no_grad()
@pytest.mark.parametrize("key", KEYS)
def test_each_key_of_the_config_is_honoured(key: str, tmp_path: Path) -> None:
    ours, theirs = pair(TINY | KEYS[key], tmp_path)
    picture = noise(2, 3, 48, 40).clamp(-1, 1)
    latents = ours.encode(picture).latents
    assert_equal(latents, theirs.encode(picture).latents)
    assert_equal(ours.decode(latents).sample, theirs.decode(latents).sample)
    assert_equal(ours.scale_latents(latents), theirs.scale_latents(latents))
    assert_equal(ours.unscale_latents(latents), theirs.unscale_latents(latents))
    assert_equal(ours(picture).sample, theirs(picture).sample)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 128), (168, 96)])
def test_tiles_are_cut_and_blended_as_in_diffusers(height: int, width: int, tmp_path: Path) -> None:
    ours, theirs = pair(TINY, tmp_path)
    for model in (ours, theirs):
        model.enable_tiling()
        model.tile_sample_min_size, model.tile_latent_min_size = 64, 8
        model.tile_overlap_factor = 0.375
    picture = noise(1, 3, height, width).clamp(-1, 1)
    latents = ours.encode(picture).latents
    assert_equal(latents, theirs.encode(picture).latents)
    tiled = ours.decode(latents).sample
    assert_equal(tiled, theirs.decode(latents).sample)
    ours.disable_tiling()
    assert not torch.equal(tiled, ours.decode(latents).sample)


@torch.no_grad()
def test_tiling_takes_sizes_that_are_no_multiple_of_eight(tmp_path: Path) -> None:
    ours, _ = pair(TINY, tmp_path)
    picture = noise(1, 3, 100, 61).clamp(-1, 1)
    whole = ours.encode(picture).latents
    ours.enable_tiling()
    ours.tile_sample_min_size = 64
    assert ours.encode(picture).latents.shape == whole.shape


@torch.no_grad()
def test_slicing_changes_nothing(tmp_path: Path) -> None:
    ours, _ = pair(TINY, tmp_path)
    picture = noise(3, 3, 16, 16)
    whole = ours(picture).sample
    ours.enable_slicing()
    assert_equal(ours(picture).sample, whole)
    ours.disable_slicing()
    assert_equal(ours(picture).sample, whole)

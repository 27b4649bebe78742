from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from graphdiff.models import AutoencoderKL
from tests.models.reference import assert_equal, noise, randomise

TINY: dict[str, Any] = {
    "block_out_channels": (16, 32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "norm_num_groups": 8,
    "sample_size": 32,
}
KEYS: dict[str, dict[str, Any]] = {
    "none": {},
    "without projections": {"use_quant_conv": False, "use_post_quant_conv": False},
    "without attention": {"mid_block_add_attention": False},
    "sixteen channels": {"latent_channels": 16, "layers_per_block": 2, "shift_factor": 0.1},
    "others": {"in_channels": 1, "out_channels": 4, "act_fn": "gelu", "sample_size": (24, 40)},
}


def pair(config: dict[str, Any], folder: Path) -> tuple[AutoencoderKL, Any]:
    theirs = randomise(diffusers.AutoencoderKL(**config))
    theirs.save_pretrained(folder)
    return AutoencoderKL.from_pretrained(folder), theirs


@torch.no_grad()
@pytest.mark.parametrize("key", KEYS)
def test_each_key_of_the_config_is_honoured(key: str, tmp_path: Path) -> None:
    config = TINY | KEYS[key]
    ours, theirs = pair(config, tmp_path)
    picture = noise(2, config.get("in_channels", 3), 28, 20)
    found, expected = ours.encode(picture).latent_dist, theirs.encode(picture).latent_dist
    assert_equal(found.mean, expected.mean)
    assert_equal(found.std, expected.std)
    assert_equal(found.mode(), expected.mode())
    assert_equal(found.kl(), expected.kl())
    latents = noise(2, config.get("latent_channels", 4), 5, 7)
    assert_equal(ours.decode(latents).sample, theirs.decode(latents).sample)


@torch.no_grad()
def test_a_seed_draws_what_it_draws_in_diffusers(tmp_path: Path) -> None:
    ours, theirs = pair(TINY, tmp_path)
    picture = noise(2, 3, 16, 16)
    found = ours.encode(picture).latent_dist.sample(torch.Generator().manual_seed(3))
    expected = theirs.encode(picture).latent_dist.sample(torch.Generator().manual_seed(3))
    assert_equal(found, expected)
    whole = ours(picture, sample_posterior=True, generator=torch.Generator().manual_seed(3)).sample
    assert_equal(whole, theirs.decode(expected).sample)
    assert_equal(ours(picture).sample, theirs(picture).sample)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(80, 52), (32, 64), (33, 100), (20, 20)])
def test_tiles_are_cut_and_blended_as_in_diffusers(height: int, width: int, tmp_path: Path) -> None:
    ours, theirs = pair(TINY, tmp_path)
    ours.enable_tiling()
    theirs.enable_tiling()
    picture, latents = noise(1, 3, height, width), noise(1, 4, height // 4, width // 4)
    found = ours.encode(picture).latent_dist.mean
    assert_equal(found, theirs.encode(picture).latent_dist.mean)
    decoded = ours.decode(latents).sample
    assert_equal(decoded, theirs.decode(latents).sample)
    ours.disable_tiling()
    is_tiled = max(height, width) > 32
    assert torch.equal(decoded, ours.decode(latents).sample) != is_tiled


@torch.no_grad()
def test_slicing_changes_nothing(tmp_path: Path) -> None:
    ours, theirs = pair(TINY, tmp_path)
    picture, latents = noise(3, 3, 16, 12), noise(3, 4, 5, 6)
    for model in (ours, theirs):
        model.enable_slicing()
    found = ours.encode(picture).latent_dist.mean
    assert_equal(found, theirs.encode(picture).latent_dist.mean)
    assert_equal(ours.decode(latents).sample, theirs.decode(latents).sample)
    ours.disable_slicing()
    assert_equal(ours.encode(picture).latent_dist.mean, found)


@torch.no_grad()
def test_attention_under_its_first_names_is_read(tmp_path: Path) -> None:
    """The VAEs of SD 1.x call it query, key, value and proj_attn."""
    from safetensors.torch import load_file, save_file

    ours, _ = pair(TINY, tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(path)
    for new, old in names.items():
        tensors = {k.replace(f".{new}.", f".{old}."): v for k, v in tensors.items()}
    assert any(".proj_attn." in name for name in tensors)
    save_file(tensors, path)
    again = AutoencoderKL.from_pretrained(tmp_path)
    latents = noise(1, 4, 5, 6)
    assert torch.equal(again.decode(latents).sample, ours.decode(latents).sample)

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from graphdiff.models import UNet2DModel
from tests.models.reference import assert_equal, noise, randomise

TINY: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 32,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
KEYS: dict[str, dict[str, Any]] = {
    "none": {},
    # As google/ddpm-* are.
    "ddpm": {
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
    },
    # As the ImageNet models that consistency models were distilled from are.
    "imagenet": {
        "resnet_time_scale_shift": "scale_shift",
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "num_class_embeds": 4,
        "attn_norm_num_groups": 16,
        "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    },
    "resampled in attention blocks": {
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D"),
    },
    "middle": {"mid_block_scale_factor": 1.5, "attn_norm_num_groups": 4},
    "no middle": {"mid_block_type": None},
    "no attention in the middle": {"add_attention": False},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "fourier": {"time_embedding_type": "fourier"},
    "learned": {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    "classes as times": {"class_embed_type": "timestep"},
    "classes as they are": {"class_embed_type": "identity"},
    "others": {
        "center_input_sample": True,
        "act_fn": "mish",
        "layers_per_block": 2,
        "in_channels": 2,
        "out_channels": 5,
        "time_embedding_dim": 48,
    },
}
CLASS_LABELS = {
    "imagenet": torch.tensor([1, 3]),
    "classes as times": torch.tensor([10, 400]),
    "classes as they are": noise(2, 128, seed=7),
}


def pair(config: dict[str, Any], folder: Path) -> tuple[UNet2DModel, Any]:
    theirs = randomise(diffusers.UNet2DModel(**config))
    theirs.save_pretrained(folder)
    return UNet2DModel.from_pretrained(folder), theirs


@torch.no_grad()
@pytest.mark.parametrize("key", KEYS)
def test_each_key_of_the_config_is_honoured(key: str, tmp_path: Path) -> None:
    config = TINY | KEYS[key]
    ours, theirs = pair(config, tmp_path)
    sample = noise(2, config.get("in_channels", 3), 16, 12)
    labels = CLASS_LABELS.get(key)
    for timestep in (torch.tensor(7), torch.tensor([3, 500])):
        expected = theirs(sample, timestep, labels).sample
        assert_equal(ours(sample=sample, timestep=timestep, class_labels=labels).sample, expected)


@torch.no_grad()
def test_sides_may_be_odd(tmp_path: Path) -> None:
    """diffusers refuses these sizes; where the sides are even its prediction is ours."""
    ours, _ = pair(TINY, tmp_path)
    assert ours(noise(1, 3, 15, 13), 5).sample.shape == (1, 3, 15, 13)


@torch.no_grad()
def test_a_fractional_time_is_not_cut(tmp_path: Path) -> None:
    """diffusers cuts a Python float to an integer here, though not in its other UNet."""
    ours, theirs = pair(TINY, tmp_path)
    sample = noise(1, 3, 16, 16)
    expected = theirs(sample, torch.tensor(749.25)).sample
    assert_equal(ours(sample, 749.25).sample, expected)
    assert float((ours(sample, 749).sample - expected).abs().max()) > 1e-4


def test_classes_are_asked_for_and_refused() -> None:
    with pytest.raises(ValueError, match="give class_labels"):
        UNet2DModel.from_config(TINY | {"num_class_embeds": 4})(noise(1, 3, 16, 16), 5)
    with pytest.raises(ValueError, match="has no classes"):
        UNet2DModel.from_config(TINY)(noise(1, 3, 16, 16), 5, torch.tensor([1]))
    with pytest.raises(ValueError, match="128 wide, but there are 32 channels"):
        UNet2DModel.from_config(
            TINY
            | {
                "attention_head_dim": 128,
                "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
            }
        )

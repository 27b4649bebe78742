"""One forward of each family at its real size, with random weights."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from graphdiff.models import AutoencoderKL, CLIPTextModelWithProjection, UNet2DConditionModel
from tests.models.reference import assert_equal, noise

pytestmark = pytest.mark.slow

SD21: dict[str, Any] = {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
    "upcast_attention": True,
}
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd 1.5": {"sample_size": 64, "cross_attention_dim": 768},
    "sd 2.1": SD21,
    "sdxl": SDXL,
}
# As published; how many weights each has is known.
SIZES = {"sd 1.5": 859_520_964, "sd 2.1": 865_910_724, "sdxl": 2_567_463_684}


def one_after_the_other(
    make: Callable[[], Any], ours: type[Any], folder: Path, run: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """Run both, never holding both, since they take 10 GB each."""
    torch.manual_seed(0)
    theirs = make().eval()
    theirs.save_pretrained(folder)
    expected = run(theirs)
    del theirs
    gc.collect()
    return run(ours.from_pretrained(folder)), expected


@torch.no_grad()
@pytest.mark.parametrize("family", UNETS)
def test_a_unet_predicts_what_diffusers_predicts(family: str, tmp_path: Path) -> None:
    config = UNETS[family]
    inputs: dict[str, Any] = {
        "sample": noise(1, 4, 40, 33),
        "timestep": 421,
        "encoder_hidden_states": noise(1, 77, config["cross_attention_dim"], seed=2),
    }
    if family == "sdxl":
        inputs["added_cond_kwargs"] = {
            "text_embeds": noise(1, 1280, seed=3),
            "time_ids": torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]]),
        }
    sizes: list[int] = []

    def run(model: Any) -> torch.Tensor:
        sizes.append(sum(p.numel() for p in model.parameters()))
        sample: torch.Tensor = model(**inputs).sample
        return sample

    found, expected = one_after_the_other(
        lambda: diffusers.UNet2DConditionModel(**config), UNet2DConditionModel, tmp_path, run
    )
    assert sizes == [SIZES[family]] * 2
    assert_equal(found, expected)


@torch.no_grad()
def test_an_autoencoder_decodes_what_diffusers_decodes(tmp_path: Path) -> None:
    config = {
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": 512,
    }
    found, expected = one_after_the_other(
        lambda: diffusers.AutoencoderKL(**config),
        AutoencoderKL,
        tmp_path,
        lambda model: model.decode(noise(1, 4, 20, 17)).sample,
    )
    assert_equal(found, expected)


@torch.no_grad()
def test_a_text_encoder_encodes_what_transformers_encodes(tmp_path: Path) -> None:
    import transformers

    config = transformers.CLIPTextConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        projection_dim=1280,
        hidden_act="gelu",
    )
    ids = torch.cat([torch.arange(76), torch.tensor([49407])])[None]
    found, expected = one_after_the_other(
        lambda: transformers.CLIPTextModelWithProjection(config),
        CLIPTextModelWithProjection,
        tmp_path,
        lambda model: model(ids, output_hidden_states=True),
    )
    assert_equal(found.text_embeds, expected.text_embeds)
    assert_equal(found.hidden_states[-2], expected.hidden_states[-2])

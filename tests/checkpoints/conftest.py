"""Small random checkpoints, made and saved by diffusers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints.small import STEM, weights

SEED = 20240607


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fingerprints and tokenizers go to a folder of this run."""
    before = os.environ.get("GRAPHDIFF_CACHE")
    folder = tmp_path_factory.mktemp("cache")
    os.environ["GRAPHDIFF_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["GRAPHDIFF_CACHE"]
    else:
        os.environ["GRAPHDIFF_CACHE"] = before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of a small module, as a file."""
    path = tmp_path / f"{STEM}.safetensors"
    save_file(weights(), path, metadata={"format": "pt"})
    return path


@pytest.fixture(scope="session")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 1 in small, as a folder."""
    return save_pipeline(tmp_path_factory.mktemp("sd1"), "sd1")


@pytest.fixture(scope="session")
def sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 2 in small: linear projections, v-prediction, another text encoder."""
    return save_pipeline(tmp_path_factory.mktemp("sd2"), "sd2")


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SDXL in small: two text encoders, sizes as conditioning."""
    return save_pipeline(tmp_path_factory.mktemp("sdxl"), "sdxl")


def save_pipeline(folder: Path, family: str, **unet_options: Any) -> Path:
    """Make a pipeline of a family with random weights, and save it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = _pipeline(family, **unet_options)
        pipeline.save_pretrained(folder)
    return folder


def randomise(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Give every parameter random values, those that start at zero or one too."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(noise * scale + (0.0 if parameter.ndim > 1 else 0.5))


def _pipeline(family: str, **unet_options: Any) -> Any:
    import diffusers
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
    )

    from graphdiff.checkpoints.clip_vocabulary import tokenizer_folder

    generator = torch.Generator().manual_seed(SEED)
    is_xl, is_sd2 = family == "sdxl", family == "sd2"
    widths = [32, 40] if is_xl else [32]
    options: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "layers_per_block": 1 if is_xl else 2,
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (1, 2) if is_xl or is_sd2 else 2,
        "cross_attention_dim": sum(widths),
        "use_linear_projection": is_xl or is_sd2,
    }
    if is_xl:
        options |= {
            "transformer_layers_per_block": (1, 2),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 24,
        }
    unet = diffusers.UNet2DConditionModel(**(options | unet_options))
    vae = diffusers.AutoencoderKL(
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=0.13025 if is_xl else 0.18215,
    )

    def text(width: int, model: Any, act: str) -> Any:
        return model(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=width,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=2,
                hidden_act=act,
                projection_dim=24,
                bos_token_id=0,
                eos_token_id=2,
            )
        )

    first = text(widths[0], CLIPTextModel, "gelu" if is_sd2 else "quick_gelu")
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": vae,
        "text_encoder": first,
        "tokenizer": CLIPTokenizer.from_pretrained(tokenizer_folder("!" if is_sd2 else END)),
    }
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if is_xl:
        parts["text_encoder_2"] = text(widths[1], CLIPTextModelWithProjection, "gelu")
        parts["tokenizer_2"] = CLIPTokenizer.from_pretrained(tokenizer_folder("!"))
        parts["scheduler"] = diffusers.EulerDiscreteScheduler(**betas, steps_offset=1)
    else:
        prediction = "v_prediction" if is_sd2 else "epsilon"
        parts["scheduler"] = diffusers.DDIMScheduler(
            **betas, prediction_type=prediction, clip_sample=False, steps_offset=1
        )
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            randomise(part, generator)
    if is_xl:
        return diffusers.StableDiffusionXLPipeline(**parts)
    return diffusers.StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


END = "<|endoftext|>"

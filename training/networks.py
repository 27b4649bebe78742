"""The shapes of the bundled models, and how their checkpoints are laid out on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphdiff.checkpoints.weight_files import write_tensors
from graphdiff.models import AutoencoderKL, CLIPTextModel, UNet2DConditionModel, UNet2DModel
from graphdiff.schedulers.ddim import DDIM
from graphdiff.schedulers.dpm_multistep import DPMSolverMultistep
from training.tokenizer import CONTEXT

NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}
"""Stable Diffusion's noise, under the keys of a scheduler's config."""

SAMPLER = DPMSolverMultistep(**NOISE, algorithm_type="dpmsolver++", solver_order=2)
"""What the bundled checkpoint samples with unless told otherwise."""

PIXEL_NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
    "clip_sample": True,
}
"""The noise of the unconditional model."""

PIXEL_SAMPLER = DDIM(**PIXEL_NOISE, timestep_spacing="trailing")
"""What its sample grids are drawn with."""


def autoencoder() -> AutoencoderKL:
    """A new autoencoder: a quarter of the height and width, 4 channels."""
    return AutoencoderKL.from_config(
        {
            "block_out_channels": [16, 32, 64],
            "down_block_types": ["DownEncoderBlock2D"] * 3,
            "up_block_types": ["UpDecoderBlock2D"] * 3,
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 8,
            "sample_size": 64,
        }
    )


def unet(in_channels: int = 4) -> UNet2DConditionModel:
    """A new U-Net on 16x16 latents; every attention head is 32 wide."""
    return UNet2DConditionModel.from_config(
        {
            "sample_size": 16,
            "in_channels": in_channels,
            "out_channels": 4,
            "block_out_channels": [64, 128, 192],
            "attention_head_dim": [2, 4, 6],
            "layers_per_block": 1,
            "cross_attention_dim": 128,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        }
    )


def text_encoder(tokenizer: Path) -> CLIPTextModel:
    """A new text encoder for the vocabulary in a tokenizer's folder."""
    vocabulary = json.loads((tokenizer / "vocab.json").read_text(encoding="utf-8"))
    return CLIPTextModel.from_config(
        {
            "model_type": "clip_text_model",
            "vocab_size": len(vocabulary),
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT,
            "hidden_act": "quick_gelu",
            "bos_token_id": vocabulary["<|startoftext|>"],
            "eos_token_id": vocabulary["<|endoftext|>"],
            "pad_token_id": vocabulary["<|endoftext|>"],
        }
    )


def pixel_unet() -> UNet2DModel:
    """A new unconditional U-Net on 32x32 pixels."""
    return UNet2DModel.from_config(
        {
            "sample_size": 32,
            "block_out_channels": [32, 64, 96],
            "layers_per_block": 1,
            "attention_head_dim": 32,
            "norm_num_groups": 16,
            "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
        }
    )


def side(vae: AutoencoderKL) -> int:
    """Height and width of the pictures that an autoencoder was trained on, in pixels."""
    size = vae.config.sample_size
    return size if isinstance(size, int) else size[0]


def scaled(vae: AutoencoderKL, factor: float) -> AutoencoderKL:
    """The autoencoder with another scale of latents in its config."""
    renamed = AutoencoderKL.from_config(replace(vae.config, scaling_factor=factor))
    renamed.load_state_dict(vae.state_dict())
    return renamed


def write_model(
    model: AutoencoderKL | CLIPTextModel | UNet2DConditionModel | UNet2DModel,
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write config and weights, by default in half precision, which is what is shipped."""
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict() if weights is None else weights
    tensors = {name: t.detach().to("cpu", dtype) for name, t in state.items()}
    write_tensors(tensors, folder / f"{model.weights_name}.safetensors", {"format": "pt"})
    config = json.dumps(model.config.to_dict(), indent=2, sort_keys=True)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a config file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """A trained autoencoder, ready to learn on."""
    return AutoencoderKL.from_pretrained(folder).train()

"""What is measured: models of published shapes, and small ones of the same kinds for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.models import CONFIGS

Name = Literal["sd15", "sdxl", "tiny", "tiny-xl"]
Config = Mapping[str, Any]

# Euler asks the UNet once a step in both; the solver that SD 1.5 was published with, once more.
_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
_SMALL_VAE = {
    "block_out_channels": [16, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
_SMALL_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 32,
}
_SMALL_UNET = {"block_out_channels": [32, 64], "layers_per_block": 1, "norm_num_groups": 8}


@dataclass(frozen=True)
class Family:
    """A kind of checkpoint, by the configs of its parts as diffusers writes them.

    Args:
        name: Its name.
        parts: The configs of models and scheduler by the names of their folders.
        pads: What fills up the texts of each tokenizer, by the names of their folders.
    """

    name: Name
    parts: Mapping[str, Config]
    pads: Mapping[str, str]

    @property
    def is_xl(self) -> bool:
        """Whether it has two text encoders, as SDXL does."""
        return "text_encoder_2" in self.parts

    @property
    def side(self) -> int:
        """The side of its latents."""
        side: int = self.parts["unet"]["sample_size"]
        return side

    @property
    def pixels(self) -> int:
        """The side of its pictures."""
        halvings = len(self.parts["vae"]["block_out_channels"]) - 1
        return self.side << halvings

    @property
    def pipeline(self) -> str:
        """The class of diffusers that draws with it."""
        return "StableDiffusionXLPipeline" if self.is_xl else "StableDiffusionPipeline"


def family(name: Name) -> Family:
    """A family by its name."""
    small = name.startswith("tiny")
    source = "sdxl" if name in ("sdxl", "tiny-xl") else "sd1"
    read: dict[str, dict[str, Any]] = json.loads((CONFIGS / f"{source}.json").read_bytes())
    pads = {n: part["pad_token"] for n, part in read.items() if n.startswith("tokenizer")}
    parts = {n: part for n, part in read.items() if n not in (*pads, "model_index")}
    parts |= {"scheduler": _SCHEDULER}
    if small:
        parts = {n: part | _small(n, xl=source == "sdxl") for n, part in parts.items()}
    return Family(name, parts, pads)


def _small(part: str, *, xl: bool) -> dict[str, Any]:
    """What of a part's config is smaller in the small family."""
    if part.startswith("text_encoder"):
        return _SMALL_TEXT
    if part == "vae":
        return _SMALL_VAE
    if part == "scheduler":
        return {}
    if not xl:
        kinds = {
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        }
        return _SMALL_UNET | kinds | {"attention_head_dim": 2} | _sizes(32, 16)
    return (
        _SMALL_UNET
        | {
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "attention_head_dim": [1, 2],
            "transformer_layers_per_block": [1, 2],
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 32 + 6 * 8,
        }
        | _sizes(64, 16)
    )


def _sizes(text_width: int, side: int) -> dict[str, Any]:
    return {"cross_attention_dim": text_width, "sample_size": side}

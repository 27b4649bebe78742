"""Tiny random models of diffusers and transformers, saved for ours to be compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

TEXT_WIDTH = 48
COMMON: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": (1, 2),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
SDXL: dict[str, Any] = {
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (1, 2, 2),
    "transformer_layers_per_block": (1, 2, 3),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 40 + 8 * 6,
}
# The families, by what sets each apart; heads are 32 wide.
UNETS: dict[str, dict[str, Any]] = {
    "sd1": {},
    "sd2": {"use_linear_projection": True, "upcast_attention": True},
    "sdxl": SDXL,
    "refiner": SDXL
    | {
        "transformer_layers_per_block": 2,
        "projection_class_embeddings_input_dim": 40 + 8 * 5,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    },
    "inpainting": {"in_channels": 9},
    "depth": {"in_channels": 5, "use_linear_projection": True},
    "edit": {"in_channels": 8},
    "lcm": {"time_cond_proj_dim": 24},
    "upscale": {
        "in_channels": 7,
        "num_class_embeds": 10,
        "only_cross_attention": (True, False),
        "use_linear_projection": True,
    },
}


def randomise(module: Any, seed: int = 0) -> Any:
    """Give every weight a random value, those that start at zero or one too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            fan_in = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 16
            noise = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
            offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(noise + offset)
    return module.eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unet_inputs(
    config: dict[str, Any], batch: int = 2, height: int = 16, width: int = 12
) -> dict[str, Any]:
    """What a conditional UNet of this config takes."""
    inputs: dict[str, Any] = {
        "sample": noise(batch, config.get("in_channels", 4), height, width),
        "timestep": torch.linspace(3, 901, batch),
        "encoder_hidden_states": noise(batch, 7, TEXT_WIDTH, seed=2),
    }
    if config.get("addition_embed_type"):
        ids = (config["projection_class_embeddings_input_dim"] - 40) // 8
        inputs["added_cond_kwargs"] = {
            "text_embeds": noise(batch, 40, seed=3),
            "time_ids": torch.arange(batch * ids).reshape(batch, ids) * 100.0,
        }
    if config.get("time_cond_proj_dim"):
        inputs["timestep_cond"] = noise(batch, config["time_cond_proj_dim"], seed=4)
    if config.get("num_class_embeds"):
        inputs["class_labels"] = torch.arange(batch)
    return inputs


def assert_equal(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    """Compare within `tolerance` of the largest value."""
    assert ours.shape == theirs.shape
    assert torch.isfinite(theirs).all()
    assert theirs.std() > 1e-3, "a test on zeros proves nothing"
    scale = max(1.0, float(theirs.abs().max()))
    difference = float((ours - theirs).abs().max())
    assert difference <= tolerance * scale, f"they differ by {difference} at a scale of {scale}"

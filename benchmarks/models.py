"""Pairs of models with equal weights: ours, as the weights pool makes them, and diffusers'."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rounds import ROOT

BUNDLED = ROOT / "graphdiff" / "checkpoints" / "bundled" / "emoji"
CONFIGS = ROOT / "graphdiff" / "checkpoints" / "configs"


@dataclass(frozen=True)
class Pair:
    """Two models with equal weights, and what to call them with.

    Args:
        plain: Our module, as it is read from its file.
        theirs: That of diffusers.
        inputs: Their arguments.
    """

    plain: nn.Module
    theirs: nn.Module
    inputs: tuple[Tensor, ...]

    @cached_property
    def ours(self) -> nn.Module:
        """Ours in the form that runs use on a CPU; it holds some weights again."""
        from graphdiff.models.packed import packed

        return packed(self.plain)


def bundled_unet(dtype: torch.dtype, batch: int) -> Pair:
    """The UNet of the bundled model."""
    from graphdiff.models import UNet2DConditionModel

    plain = UNet2DConditionModel.from_pretrained(BUNDLED, subfolder="unet", dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = diffusers().UNet2DConditionModel.from_pretrained(
            BUNDLED, subfolder="unet", torch_dtype=dtype, low_cpu_mem_usage=False
        )
    return _pair(plain, theirs, _unet_inputs(batch, 16, 128, dtype))


def stable_diffusion_unet(dtype: torch.dtype, batch: int, side: int, *, width: float) -> Pair:
    """A UNet of Stable Diffusion 1.5's shape with random weights.

    Args:
        dtype: What it computes in.
        batch: Samples in a batch.
        side: Side of the latents.
        width: How wide each layer is, as a share of the real one.
    """
    from graphdiff.models import UNet2DConditionModel

    config = _stable_diffusion_config(width)
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    plain = UNet2DConditionModel.from_config(config).to(dtype)
    with torch.device("meta"):
        theirs = diffusers().UNet2DConditionModel.from_config(config)
    theirs.load_state_dict(plain.state_dict(), assign=True)
    return _pair(plain, theirs, _unet_inputs(batch, side, config["cross_attention_dim"], dtype))


def save_unet(folder: Path, *, width: float) -> int:
    """Write a UNet of Stable Diffusion 1.5's shape with random weights in float16.

    Args:
        folder: Where to.
        width: How wide each layer is, as a share of the real one.

    Returns:
        How many bytes its weights take in float32.
    """
    from graphdiff.models import UNet2DConditionModel

    config = _stable_diffusion_config(width)
    model = UNet2DConditionModel.from_config(config).half()
    model.save_pretrained(folder)
    return sum(4 * parameter.numel() for parameter in model.parameters())


def _stable_diffusion_config(width: float) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((CONFIGS / "sd1.json").read_bytes())["unet"]
    config["block_out_channels"] = [int(c * width) for c in config["block_out_channels"]]
    return config


def bundled_vae(dtype: torch.dtype) -> Pair:
    """The decoder of the bundled model."""
    from graphdiff.models import AutoencoderKL

    plain = AutoencoderKL.from_pretrained(BUNDLED, subfolder="vae", dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = diffusers().AutoencoderKL.from_pretrained(
            BUNDLED, subfolder="vae", torch_dtype=dtype, low_cpu_mem_usage=False
        )
    return _pair(plain, theirs, (torch.randn(1, 4, 16, 16, dtype=dtype),))


def diffusers() -> Any:  # noqa: ANN401 - its own types are partial
    """The module diffusers, imported only where it is measured."""
    return import_module("diffusers")


def _pair(plain: nn.Module, theirs: nn.Module, inputs: tuple[Tensor, ...]) -> Pair:
    for model in (plain, theirs):
        model.eval().requires_grad_(False)
    return Pair(plain, theirs, inputs)


def _unet_inputs(batch: int, side: int, width: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    sample = torch.randn(batch, 4, side, side, dtype=dtype)
    return sample, torch.tensor(500.0), torch.randn(batch, 77, width, dtype=dtype)

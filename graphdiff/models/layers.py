"""The convolutional parts of the UNets and autoencoders, and how they are told the time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}


def activation(name: str) -> nn.Module:
    """The activation that a config calls `name`."""
    return ACTIVATIONS[name]()


def expand_timestep(timestep: Tensor | float, sample: Tensor) -> Tensor:
    """One float32 timestep for each sample of a batch, on its device, without waiting for it.

    Args:
        timestep: A number or a 0-d tensor for the whole batch, or a 1-d tensor of one for each.
        sample: The batch.
    """
    if not isinstance(timestep, Tensor):
        return torch.full((sample.shape[0],), timestep, dtype=torch.float32, device=sample.device)
    timestep = timestep.to(sample.device, torch.float32, non_blocking=True)
    return timestep.expand(sample.shape[0])  # (N,)


def sinusoidal_embedding(
    timestep: Tensor, width: int, *, flip_sin_to_cos: bool, freq_shift: float
) -> Tensor:
    """Sines and cosines of a time at frequencies from 1 down to 1/10000, in float32.

    Args:
        timestep: Times, in steps of training; may be fractional. Shape (N,).
        width: How many values for each.
        flip_sin_to_cos: Cosines first.
        freq_shift: 1 makes the lowest frequency exactly 1/10000 (DDPM); 0 is what most use.

    Returns:
        Shape (N, width).

    Source: Ho et al. 2020, arXiv:2006.11239, after Vaswani et al. 2017, arXiv:1706.03762.
    """
    half = width // 2
    exponent = torch.arange(half, dtype=torch.float32, device=timestep.device)
    frequency = torch.exp(-math.log(10000) * exponent / (half - freq_shift))  # (half,)
    angle = timestep.float()[:, None] * frequency[None, :]  # (N, half)
    pair = (angle.cos(), angle.sin()) if flip_sin_to_cos else (angle.sin(), angle.cos())
    return F.pad(torch.cat(pair, dim=-1), (0, width % 2))


class FourierEmbedding(nn.Module):
    """Sines and cosines of the logarithm of a time at fixed random frequencies.

    Source: Song et al. 2021, arXiv:2011.13456; the frequencies are part of the checkpoint.
    """

    def __init__(self, width: int, scale: float = 16.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width) * scale, requires_grad=False)

    def forward(self, timestep: Tensor) -> Tensor:
        """Embed times of shape (N,) into (N, 2 * width)."""
        angle = timestep.log()[:, None] * self.weight[None, :] * 2 * math.pi
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class TimestepEmbedding(nn.Module):
    """Two linear layers on an embedding of the time, or on any other vector of a condition."""

    def __init__(
        self,
        width_in: int,
        width: int,
        *,
        act: str = "silu",
        post_act: str | None = None,
        condition_width: int | None = None,
    ) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width_in, width)
        self.cond_proj = (
            None if condition_width is None else nn.Linear(condition_width, width_in, bias=False)
        )
        self.act = activation(act)
        self.linear_2 = nn.Linear(width, width)
        self.post_act = nn.Identity() if post_act is None else activation(post_act)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Embed `x` of shape (N, width_in), with what guides a distilled model added to it."""
        if condition is not None:
            if self.cond_proj is None:
                raise ValueError(
                    "timestep_cond was given, but this model has no time_cond_proj_dim: only "
                    "models distilled with a guidance embedding (LCM) take one"
                )
            x = x + self.cond_proj(condition)
        y: Tensor = self.post_act(self.linear_2(self.act(self.linear_1(x))))
        return y


class Downsample2D(nn.Module):
    """Halve height and width with a convolution."""

    def __init__(self, channels: int, *, padding: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)
        self.pads_after = padding == 0  # then zeros go to the right and below only

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """(N, C, H, W) to (N, C, H/2, W/2), rounded up; `emb` is for a ResnetBlock2D here."""
        y: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.pads_after else x)
        return y


class Upsample2D(nn.Module):
    """Double height and width by repeating pixels, or reach a given size, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: Sequence[int] | None = None
    ) -> Tensor:
        """(N, C, H, W) to (N, C, *size); `emb` is for a ResnetBlock2D here."""
        y: Tensor = self.conv(upsample(x, size))
        return y


def upsample(x: Tensor, size: Sequence[int] | None = None) -> Tensor:
    """Repeat pixels until `x` has `size`, or is twice as high and wide."""
    if size is None:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.interpolate(x, size=list(size), mode="nearest")


class ResnetBlock2D(nn.Module):
    """Two convolutions around a skip, told the time in between.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        time_width: Width of the time embedding; None for a block without (autoencoders).
        groups: Groups of the normalisations.
        eps: Added to the variances.
        dropout: Share of values dropped before the second convolution, in training.
        act: The activation.
        scale_shift: Whether the time scales and shifts after the second normalisation, rather
            than being added before it.
        output_scale: What the result is divided by.
        resample: "up" or "down" where the block changes the size on its way.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        time_width: int | None,
        groups: int,
        eps: float,
        dropout: float = 0.0,
        act: str = "silu",
        scale_shift: bool = False,
        output_scale: float = 1.0,
        resample: str | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps=eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time_emb_proj = (
            None
            if time_width is None
            else nn.Linear(time_width, 2 * channels_out if scale_shift else channels_out)
        )
        self.norm2 = nn.GroupNorm(groups, channels_out, eps=eps)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.act = activation(act)
        self.conv_shortcut = (
            nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else None
        )
        self.scale_shift = scale_shift
        self.output_scale = output_scale
        self.resample = resample

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: Sequence[int] | None = None
    ) -> Tensor:
        """Apply the block to features `x` (N, C_in, H, W) at time `emb` (N, time_width)."""
        h: Tensor = self.act(self.norm1(x))  # (N, C_in, H, W)
        if self.resample == "up":
            x, h = upsample(x, size), upsample(h, size)
        elif self.resample == "down":
            x, h = F.avg_pool2d(x, 2), F.avg_pool2d(h, 2)
        h = self.conv1(h)  # (N, C_out, H, W)
        if self.time_emb_proj is None:
            h = self.norm2(h)
        else:
            t: Tensor = self.time_emb_proj(self.act(emb))[:, :, None, None]
            if self.scale_shift:
                scale, shift = t.chunk(2, dim=1)
                h = self.norm2(h) * (1 + scale) + shift
            else:
                h = self.norm2(h + t)
        h = self.conv2(self.dropout(self.act(h)))
        if self.conv_shortcut is not None:
            x = self.conv_shortcut(x)
        return x + h if self.output_scale == 1.0 else (x + h) / self.output_scale

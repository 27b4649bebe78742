"""TAESD: a small autoencoder that is fast and nearly as good, for previews and small machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from graphdiff.models.base import Model
from graphdiff.models.configs import AutoencoderTinyConfig
from graphdiff.models.layers import activation
from graphdiff.models.outputs import SampleOutput


class LatentsOutput(NamedTuple):
    """What encoding gives.

    Args:
        latents: The latents, shape (N, latent_channels, H/f, W/f).
    """

    latents: Tensor


class TinyBlock(nn.Module):
    """Three convolutions around a skip."""

    def __init__(self, channels: int, act: str) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            activation(act),
            nn.Conv2d(channels, channels, 3, padding=1),
            activation(act),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.fuse = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        y: Tensor = self.fuse(self.conv(x) + x)
        return y


class TinyEncoder(nn.Module):
    """From a picture to latents, halving the size before each stage but the first."""

    def __init__(self, config: AutoencoderTinyConfig) -> None:
        super().__init__()
        channels = config.encoder_block_out_channels
        layers: list[nn.Module] = []
        for i, (width, blocks) in enumerate(zip(channels, config.num_encoder_blocks, strict=True)):
            if i == 0:
                layers.append(nn.Conv2d(config.in_channels, width, 3, padding=1))
            else:
                layers.append(nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False))
            layers += [TinyBlock(width, config.act_fn) for _ in range(blocks)]
        layers.append(nn.Conv2d(channels[-1], config.latent_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures in [-1, 1] to latents; TAESD itself works in [0, 1]."""
        latents: Tensor = self.layers(x.add(1).div(2))
        return latents


class TinyDecoder(nn.Module):
    """From latents to a picture, doubling the size after each stage but the last."""

    def __init__(self, config: AutoencoderTinyConfig) -> None:
        super().__init__()
        channels = config.decoder_block_out_channels
        layers: list[nn.Module] = [
            nn.Conv2d(config.latent_channels, channels[0], 3, padding=1),
            activation(config.act_fn),
        ]
        factor = config.upsampling_scaling_factor
        for i, (width, blocks) in enumerate(zip(channels, config.num_decoder_blocks, strict=True)):
            layers += [TinyBlock(width, config.act_fn) for _ in range(blocks)]
            if i < len(channels) - 1:
                layers.append(nn.Upsample(scale_factor=factor, mode=config.upsample_fn))
                layers.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
            else:
                layers.append(nn.Conv2d(width, config.out_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Latents, softly kept within [-3, 3], to pictures in [-1, 1]."""
        picture: Tensor = self.layers(torch.tanh(x / 3) * 3)
        return picture.mul(2).sub(1)


class AutoencoderTiny(Model[AutoencoderTinyConfig]):
    """A small distilled autoencoder. Bohan 2023, madebyollin/taesd.

    Attributes:
        use_slicing: Work on one picture of a batch at a time, to save memory.
        use_tiling: Work on overlapping tiles and blend them, to save memory.
        tile_sample_min_size: Side of a tile, in pixels.
        tile_latent_min_size: Side of a tile, in latents.
        tile_overlap_factor: Which part of a tile the next one covers too.

    Args:
        config: Its configuration.
    """

    config_class: ClassVar[type[AutoencoderTinyConfig]] = AutoencoderTinyConfig

    def __init__(self, config: AutoencoderTinyConfig) -> None:
        super().__init__(config)
        self.encoder = TinyEncoder(config)
        self.decoder = TinyDecoder(config)
        self.use_slicing = False
        self.use_tiling = False
        self.spatial_factor = 2 ** (len(config.encoder_block_out_channels) - 1)
        self.tile_overlap_factor = 0.125
        self.tile_sample_min_size = 512
        self.tile_latent_min_size = self.tile_sample_min_size // self.spatial_factor

    def enable_slicing(self) -> None:
        """Work on one picture of a batch at a time."""
        self.use_slicing = True

    def disable_slicing(self) -> None:
        """Work on a batch at once."""
        self.use_slicing = False

    def enable_tiling(self, use_tiling: bool = True) -> None:
        """Work on tiles of large pictures."""
        self.use_tiling = use_tiling

    def disable_tiling(self) -> None:
        """Work on whole pictures."""
        self.use_tiling = False

    def scale_latents(self, x: Tensor) -> Tensor:
        """Latents to [0, 1], to store them as a picture."""
        magnitude = 2 * self.config.latent_magnitude
        return x.div(magnitude).add(self.config.latent_shift).clamp(0, 1)

    def unscale_latents(self, x: Tensor) -> Tensor:
        """What `scale_latents` gave back to latents."""
        return x.sub(self.config.latent_shift).mul(2 * self.config.latent_magnitude)

    def encode(self, x: Tensor, *, return_dict: bool = True) -> LatentsOutput:
        """Encode pictures in [-1, 1], shape (N, in_channels, H, W).

        Returns:
            `.latents` of shape (N, latent_channels, H/f, W/f); nothing is drawn.
        """
        factor = self.spatial_factor
        tile = self.tile_sample_min_size

        def apply(x: Tensor) -> Tensor:
            if self.use_tiling and max(x.shape[-2:]) > tile:
                return self._tilewise(self.encoder, x, size=tile, size_out=tile // factor)
            latents: Tensor = self.encoder(x)
            return latents

        return LatentsOutput(self._slicewise(apply, x))

    def decode(
        self, x: Tensor, generator: torch.Generator | None = None, *, return_dict: bool = True
    ) -> SampleOutput:
        """Decode latents of shape (N, latent_channels, H/f, W/f).

        Returns:
            `.sample`, pictures in about [-1, 1], shape (N, out_channels, H, W).
        """
        factor = self.spatial_factor
        tile = self.tile_latent_min_size

        def apply(z: Tensor) -> Tensor:
            if self.use_tiling and max(z.shape[-2:]) > tile:
                return self._tilewise(self.decoder, z, size=tile, size_out=tile * factor)
            picture: Tensor = self.decoder(z)
            return picture

        return SampleOutput(self._slicewise(apply, x))

    def forward(self, sample: Tensor, *, return_dict: bool = True) -> SampleOutput:
        """Encode pictures, round their latents to 8 bits, and decode them."""
        latents = self.scale_latents(self.encode(sample).latents)
        return self.decode(self.unscale_latents(latents.mul(255).round().div(255)))

    def _slicewise(self, apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if self.use_slicing and x.shape[0] > 1:
            return torch.cat([apply(one) for one in torch.split(x, 1)])
        return apply(x)

    def _tilewise(
        self, apply: Callable[[Tensor], Tensor], x: Tensor, *, size: int, size_out: int
    ) -> Tensor:
        """Apply to overlapping tiles, and fade each in over what its neighbours gave.

        Args:
            apply: From a tile to its result.
            x: What to cut into tiles, shape (N, C, H, W).
            size: Side of a tile of `x`.
            size_out: Side of its result.
        """
        stride = size - int(size * self.tile_overlap_factor)
        overlap = int(size * self.tile_overlap_factor) * size_out / size
        fade = (torch.arange(size_out, device=x.device) / max(overlap - 1, 1)).clamp(0, 1)
        height, width = (-(-side * size_out // size) for side in x.shape[-2:])  # rounded up
        out: Tensor | None = None
        for i in range(0, x.shape[-2], stride):
            for j in range(0, x.shape[-1], stride):
                tile = apply(x[..., i : i + size, j : j + size])
                h, w = tile.shape[-2:]
                if out is None:
                    out = tile.new_zeros((*tile.shape[:2], height, width))
                weight = torch.ones(h, w, device=x.device)
                if i > 0:
                    weight = weight * fade[:h, None]
                if j > 0:
                    weight = weight * fade[None, :w]
                weight = weight.to(tile.dtype)
                top, left = i * size_out // size, j * size_out // size
                place = out[..., top : top + h, left : left + w]
                place.copy_(weight * tile + (1 - weight) * place)
        return x if out is None else out

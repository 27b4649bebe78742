"""The autoencoder between pictures and latents that Stable Diffusion works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from graphdiff.models.attention import SpatialAttention
from graphdiff.models.base import Model
from graphdiff.models.blocks import MidBlock
from graphdiff.models.configs import AutoencoderKLConfig
from graphdiff.models.layers import Downsample2D, ResnetBlock2D, Upsample2D
from graphdiff.models.outputs import SampleOutput

EPS = 1e-6  # of every normalisation here, whatever a UNet's is


class DiagonalGaussian:
    """A distribution of latents whose values are independent.

    Args:
        moments: Means, then logarithms of variances, along the channels: shape (N, 2C, H, W).
    """

    def __init__(self, moments: Tensor) -> None:
        self.mean, logvar = moments.chunk(2, dim=1)  # (N, C, H, W) each
        self.logvar = logvar.clamp(-30.0, 20.0)

    @property
    def std(self) -> Tensor:
        """The standard deviations, shape (N, C, H, W)."""
        return torch.exp(0.5 * self.logvar)

    @property
    def var(self) -> Tensor:
        """The variances, shape (N, C, H, W)."""
        return torch.exp(self.logvar)

    def mode(self) -> Tensor:
        """The likeliest latents, shape (N, C, H, W)."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents, shape (N, C, H, W).

        Args:
            generator: Draws float32 on its own device, so that a CPU's seed means the same on every
                device and in every precision; None takes the global state of the latents' device.
        """
        mean = self.mean
        where = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, device=where, dtype=torch.float32)
        return mean + self.std * noise.to(mean.device, mean.dtype)

    def kl(self) -> Tensor:
        """How far it is from a standard normal distribution, in nats for each picture (N,)."""
        return 0.5 * (self.mean.square() + self.var - 1.0 - self.logvar).sum(dim=(1, 2, 3))


class EncoderOutput(NamedTuple):
    """What encoding gives.

    Args:
        latent_dist: The distribution of the latents, before they are scaled.
    """

    latent_dist: DiagonalGaussian


class EncoderBlock(nn.Module):
    """Residual blocks, then maybe half the size."""

    def __init__(self, resnets: list[ResnetBlock2D], downsampler: Downsample2D | None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.downsamplers = nn.ModuleList([] if downsampler is None else [downsampler])

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x` (N, C, H, W)."""
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
        return x


class DecoderBlock(nn.Module):
    """Residual blocks, then maybe twice the size."""

    def __init__(self, resnets: list[ResnetBlock2D], upsampler: Upsample2D | None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.upsamplers = nn.ModuleList([] if upsampler is None else [upsampler])

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x` (N, C, H, W)."""
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x)
        return x


def _resnet(config: AutoencoderKLConfig, channels_in: int, channels_out: int) -> ResnetBlock2D:
    return ResnetBlock2D(
        channels_in,
        channels_out,
        time_width=None,
        groups=config.norm_num_groups,
        eps=EPS,
        act=config.act_fn,
    )


def _mid_block(config: AutoencoderKLConfig) -> MidBlock:
    width = config.block_out_channels[-1]
    attentions = [
        SpatialAttention(width, head_width=width, groups=config.norm_num_groups, eps=EPS)
        for _ in range(int(config.mid_block_add_attention))
    ]
    return MidBlock([_resnet(config, width, width) for _ in range(2)], attentions)


class Encoder(nn.Module):
    """From a picture to the moments of its latents."""

    def __init__(self, config: AutoencoderKLConfig) -> None:
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(channels):
            widths_in = [channels[max(i - 1, 0)]] + [width] * (config.layers_per_block - 1)
            resnets = [_resnet(config, width_in, width) for width_in in widths_in]
            is_last = i == len(channels) - 1
            self.down_blocks.append(
                EncoderBlock(resnets, None if is_last else Downsample2D(width, padding=0))
            )
        self.mid_block = _mid_block(config)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[-1], eps=EPS)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, 2 * latent_channels, H/f, W/f)."""
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        x = self.mid_block(x)
        moments: Tensor = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return moments


class Decoder(nn.Module):
    """From latents to a picture."""

    def __init__(self, config: AutoencoderKLConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = _mid_block(config)
        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(channels):
            widths_in = [channels[max(i - 1, 0)]] + [width] * config.layers_per_block
            resnets = [_resnet(config, width_in, width) for width_in in widths_in]
            is_last = i == len(channels) - 1
            self.up_blocks.append(DecoderBlock(resnets, None if is_last else Upsample2D(width)))
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[-1], eps=EPS)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, latent_channels, H/f, W/f) to (N, out_channels, H, W)."""
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        picture: Tensor = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return picture


class AutoencoderKL(Model[AutoencoderKLConfig]):
    """A variational autoencoder. Rombach et al. 2022, arXiv:2112.10752.

    Latents come and go unscaled: a UNet's are `(latents - shift_factor) * scaling_factor`.

    Attributes:
        use_slicing: Work on one picture of a batch at a time, to save memory.
        use_tiling: Work on overlapping tiles of large pictures and blend them, to save memory; the
            result differs a little from the whole.
        tile_sample_min_size: Side of a tile, in pixels.
        tile_latent_min_size: Side of a tile, in latents.
        tile_overlap_factor: Which part of a tile the next one covers too.

    Args:
        config: Its configuration.
    """

    config_class: ClassVar[type[AutoencoderKLConfig]] = AutoencoderKLConfig

    def __init__(self, config: AutoencoderKLConfig) -> None:
        super().__init__(config)
        latents = config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1) if config.use_quant_conv else None
        self.post_quant_conv = (
            nn.Conv2d(latents, latents, 1) if config.use_post_quant_conv else None
        )
        size = config.sample_size
        self.use_slicing = False
        self.use_tiling = False
        self.tile_sample_min_size = size[0] if isinstance(size, tuple) else size
        factor = 2 ** (len(config.block_out_channels) - 1)
        self.tile_latent_min_size = int(self.tile_sample_min_size / factor)
        self.tile_overlap_factor = 0.25

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

    def encode(self, x: Tensor, *, return_dict: bool = True) -> EncoderOutput:
        """Encode pictures.

        Args:
            x: Pictures in [-1, 1], shape (N, in_channels, H, W).
            return_dict: What comes back is a tuple with names, whichever is asked for.

        Returns:
            `.latent_dist` of latents of shape (N, latent_channels, H/f, W/f).
        """
        return EncoderOutput(DiagonalGaussian(self._slicewise(self._encode, x)))

    def decode(
        self, z: Tensor, *, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> SampleOutput:
        """Decode latents.

        Args:
            z: Latents, unscaled, shape (N, latent_channels, H/f, W/f).
            return_dict: What comes back is a tuple with names, whichever is asked for.
            generator: Decoding draws nothing; autoencoders that do can stand in for this one.

        Returns:
            `.sample`, pictures in about [-1, 1], shape (N, out_channels, H, W).
        """
        return SampleOutput(self._slicewise(self._decode, z))

    def forward(
        self,
        sample: Tensor,
        *,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> SampleOutput:
        """Encode and decode pictures of shape (N, in_channels, H, W)."""
        latents = self.encode(sample).latent_dist
        return self.decode(latents.sample(generator) if sample_posterior else latents.mode())

    def _slicewise(self, apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if self.use_slicing and x.shape[0] > 1:
            return torch.cat([apply(one) for one in torch.split(x, 1)])
        return apply(x)

    def _encode(self, x: Tensor) -> Tensor:
        pixels, latents = self.tile_sample_min_size, self.tile_latent_min_size
        if self.use_tiling and max(x.shape[-2:]) > pixels:
            return self._tilewise(self._encode_whole, x, size=pixels, size_out=latents)
        return self._encode_whole(x)

    def _decode(self, z: Tensor) -> Tensor:
        pixels, latents = self.tile_sample_min_size, self.tile_latent_min_size
        if self.use_tiling and max(z.shape[-2:]) > latents:
            return self._tilewise(self._decode_whole, z, size=latents, size_out=pixels)
        return self._decode_whole(z)

    def _encode_whole(self, x: Tensor) -> Tensor:
        moments: Tensor = self.encoder(x)
        return moments if self.quant_conv is None else self.quant_conv(moments)

    def _decode_whole(self, z: Tensor) -> Tensor:
        picture: Tensor = self.decoder(
            z if self.post_quant_conv is None else self.post_quant_conv(z)
        )
        return picture

    def _tilewise(
        self, apply: Callable[[Tensor], Tensor], x: Tensor, *, size: int, size_out: int
    ) -> Tensor:
        """Apply to overlapping tiles, blend each into its upper and left neighbours, and join them.

        Args:
            apply: From a tile to its result.
            x: What to cut into tiles, shape (N, C, H, W).
            size: Side of a tile of `x`.
            size_out: Side of its result.
        """
        stride = int(size * (1 - self.tile_overlap_factor))
        overlap = int(size_out * self.tile_overlap_factor)
        kept = size_out - overlap
        rows = [
            [apply(x[:, :, i : i + size, j : j + size]) for j in range(0, x.shape[3], stride)]
            for i in range(0, x.shape[2], stride)
        ]
        joined: list[Tensor] = []
        for i, row in enumerate(rows):
            for j, tile in enumerate(row):
                if i > 0:
                    tile = _blend(rows[i - 1][j], tile, overlap, dim=2)
                if j > 0:
                    tile = _blend(row[j - 1], tile, overlap, dim=3)
                row[j] = tile  # neighbours blend with what is blended already
            joined.append(torch.cat([tile[:, :, :kept, :kept] for tile in row], dim=3))
        return torch.cat(joined, dim=2)


def _blend(before: Tensor, tile: Tensor, overlap: int, *, dim: int) -> Tensor:
    """`tile`, faded in over its first `overlap` lines from the last ones of the tile before it."""
    overlap = min(before.shape[dim], tile.shape[dim], overlap)
    weight = torch.arange(overlap, device=tile.device, dtype=tile.dtype) / max(overlap, 1)
    weight = weight.view(-1, 1) if dim == 2 else weight
    start = before.narrow(dim, before.shape[dim] - overlap, overlap)
    faded = start * (1 - weight) + tile.narrow(dim, 0, overlap) * weight
    return torch.cat([faded, tile.narrow(dim, overlap, tile.shape[dim] - overlap)], dim=dim)

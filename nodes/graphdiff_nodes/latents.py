"""Latents: pictures encoded and decoded; latents resized, repeated and put beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

from annotated_types import Ge, Gt

from graphdiff.checkpoints.handles import VAE, UNet
from graphdiff.graph.node import node
from graphdiff.models.configs import AutoencoderTinyConfig
from graphdiff.rng import Rng
from graphdiff_nodes.batches import rows_that_pay
from graphdiff_nodes.facts import KnownLatents, LatentFacts, check_vae_latents, present_vae
from graphdiff_nodes.room import BYTES, refuse, refuse_vae
from graphdiff_nodes.values import DepthMap, Image, Latents, Mask

if TYPE_CHECKING:
    from torch import Tensor

_MOST = 4  # pictures decoded as one: more gain nothing
_ALIVE = 9  # maps at once, as wide as the last block's at the picture's size

Pixels = Annotated[int, Gt(0)]


class Encoded(NamedTuple):
    """A picture in latent space.

    Attributes:
        latents: The latents.
        rng: What to draw from next; None where none was given.
    """

    latents: Latents
    rng: Rng


@node
def VAEEncode(vae: VAE | None, image: Image, rng: int | Rng | None = None) -> Encoded:
    """Turn a picture into latents.

    Args:
        vae: The VAE.
        image: The picture; sides that are no multiple of the VAE's factor (8) are cut a little.
        rng: A seed or a stream, to sample the latents from what the VAE gives, a distribution; its
            most likely value is taken where null. One picture and several streams give as many
            samples of it.
    """
    import torch

    from graphdiff.checkpoints.pool import pool

    vae = present_vae(vae).for_encoding
    factor = vae.spatial_factor
    height, width = (side // factor * factor for side in image.pixels.shape[2:])
    refuse_vae(vae, image.pixels.shape[0], height, width, "encoding")
    model: Any = pool().module(vae)
    pixels = image.pixels[:, :, :height, :width] * 2 - 1
    encoded = model.encode(pixels.to(model.device, model.dtype))
    if vae.kind == "AutoencoderTiny":
        return Encoded(Latents(_scaled(encoded.latents, vae)), _passed_on(rng))
    spread = encoded.latent_dist
    if rng is None:
        return Encoded(Latents(_scaled(spread.mode(), vae)), _passed_on(rng))
    batch = spread.mean.shape[0]
    stream = rng if isinstance(rng, Rng) else Rng.from_seed([rng + i for i in range(batch)])
    rows = len(stream.streams) if batch == 1 else batch
    shape = (rows, *spread.mean.shape[1:])
    noise, after = stream.normal(shape, dtype=torch.float32, device=spread.mean.device)
    return Encoded(Latents(_scaled(spread.mean + spread.std * noise.to(spread.mean), vae)), after)


@VAEEncode.infer
def _encoded_facts(vae: VAE | None) -> dict[str, object]:
    return {"latents": LatentFacts(present_vae(vae).latent_channels)}


@node
def VAEDecode(vae: VAE | None, latents: Latents) -> Image:
    """Turn latents into a picture.

    Args:
        vae: The VAE.
        latents: The latents, fully denoised.
    """
    return Image(_decode(present_vae(vae), latents.samples))


def _calls_that_pay(vae: VAE | None, latents: Latents) -> int:
    """How many pictures should be decoded as one."""
    vae = present_vae(vae)
    rows, _, height, width = latents.samples.shape
    config = vae.config
    if isinstance(config, AutoencoderTinyConfig):
        channels = config.decoder_block_out_channels
    else:
        channels = config.block_out_channels
    numbers = channels[0] * height * width * vae.spatial_factor**2
    paying = rows_that_pay(numbers, _ALIVE, dtype=vae.dtype, device=vae.device)
    return max(1, min(paying // rows, _MOST))


@VAEDecode.batched(over=("latents",), limit=_calls_that_pay)
def _decode_together(vae: VAE | None, latents: Sequence[Latents]) -> list[Image]:
    import torch

    sizes = [each.samples.shape[0] for each in latents]
    pixels = _decode(present_vae(vae), torch.cat([each.samples for each in latents]))
    return [Image(each) for each in torch.split(pixels, sizes)]


@VAEDecode.infer
def _decoded_facts(vae: VAE | None, latents: KnownLatents) -> None:
    check_vae_latents(vae, latents)


@node
def LatentsToImage(latents: Latents) -> Image:
    """Show the sample of a UNet that works on pixels as a picture.

    Args:
        latents: Pixels in [-1, 1].
    """
    return Image(_picture(latents.samples))


@node
def ImageToLatents(image: Image, unet: UNet) -> Latents:
    """Make a sample for a UNet that works on pixels of a picture.

    Args:
        image: The picture.
        unet: The UNet that will take it.
    """
    import torch

    samples = (image.pixels * 2 - 1).to(unet.device, getattr(torch, unet.dtype))
    return Latents(samples)


@node
def EmptyLatents(
    unet: UNet,
    width: Pixels | None = None,
    height: Pixels | None = None,
    *,
    batch: Annotated[int, Ge(1)] = 1,
) -> Latents:
    """Make latents of zeros, to add noise to or to put something into.

    Args:
        unet: The UNet that will take them.
        width: Width of the picture in pixels; the checkpoint's own where null.
        height: Height of the picture in pixels; the checkpoint's own where null.
        batch: How many pictures.
    """
    import torch

    default_height, default_width = unet.default_size
    rows = (height or default_height) // unet.spatial_factor
    columns = (width or default_width) // unet.spatial_factor
    shape = (batch, unet.latent_channels, rows, columns)
    refuse(math.prod(shape) * BYTES[unet.dtype], "latents of this size", unet.device)
    return Latents(torch.zeros(shape, dtype=getattr(torch, unet.dtype), device=unet.device))


@EmptyLatents.infer
def _empty_facts(unet: UNet) -> LatentFacts:
    return LatentFacts(unet.latent_channels)


@node
def ResizeLatents(
    latents: Latents,
    scale: Annotated[float, Gt(0)] = 2.0,
    *,
    method: Literal["nearest", "bilinear", "bicubic", "area"] = "bicubic",
) -> Latents:
    """Stretch latents, as between a small and a large pass.

    Args:
        latents: The latents.
        scale: How many times as wide and as high they become.
        method: How cells in between are made.
    """
    from torch.nn.functional import interpolate

    height, width = (max(1, round(side * scale)) for side in latents.samples.shape[2:])
    small = latents.samples
    needed = math.prod(small.shape[:2]) * height * width * small.element_size()
    refuse(needed, "latents of this size", small.device.type)
    return Latents(interpolate(latents.samples, (height, width), mode=method))


@ResizeLatents.infer
def _resized_facts(latents: KnownLatents) -> KnownLatents:
    return latents


@node
def RepeatLatents(
    latents: Latents, count: Annotated[int, Ge(1)], *, whole: bool = False
) -> Latents:
    """Repeat the pictures of a batch.

    Args:
        latents: The latents.
        count: How often each comes.
        whole: Whether the batch is repeated as a whole, instead of each picture for itself.
    """
    if whole:
        return Latents(latents.samples.repeat(count, 1, 1, 1))
    return Latents(latents.samples.repeat_interleave(count, dim=0))


@RepeatLatents.infer
def _repeated_facts(latents: KnownLatents) -> KnownLatents:
    return latents


@node
def InpaintChannels(mask: Mask, masked: Latents) -> Latents:
    """Make the five channels that an inpainting UNet takes beside its sample.

    Args:
        mask: 1 where the picture is painted anew.
        masked: The latents of the picture with that place blanked; see MaskImage.
    """
    import torch

    where = latent_mask(mask, masked.samples)
    where = where.expand(masked.samples.shape[0], -1, -1, -1)
    return Latents(torch.cat([where, masked.samples], dim=1))


@InpaintChannels.infer
def _inpaint_facts(masked: KnownLatents) -> LatentFacts | None:
    return None if masked is None else LatentFacts(1 + masked.channels)


@node
def DepthChannels(depth: DepthMap, latents: Latents) -> Latents:
    """Make the channel that a depth UNet takes beside its sample.

    Args:
        depth: How near each place is; stretched to [-1, 1] for each picture.
        latents: What the UNet denoises, for its size.
    """
    from torch.nn.functional import interpolate

    size = latents.samples.shape[2:]
    small = interpolate(depth.values, size, mode="bicubic", align_corners=False)
    low, high = small.amin((1, 2, 3), keepdim=True), small.amax((1, 2, 3), keepdim=True)
    return Latents((2 * (small - low) / (high - low) - 1).to(latents.samples))


@DepthChannels.infer
def _depth_facts() -> LatentFacts:
    return LatentFacts(1)


def _passed_on(rng: int | Rng | None) -> Rng:
    # What was not given cannot be passed on: who draws from it then says that it is missing.
    return cast(Rng, rng) if rng is None or isinstance(rng, Rng) else Rng.from_seed(rng)


def latent_mask(mask: Mask, like: Tensor) -> Tensor:
    """Shrink a mask to the size of latents, taking the nearest pixel, in their dtype and device."""
    from torch.nn.functional import interpolate

    small = interpolate(mask.values, like.shape[2:])
    return small.to(like.device, like.dtype, non_blocking=True)


def _decode(vae: VAE, samples: Tensor) -> Tensor:
    from graphdiff.checkpoints.pool import pool

    height, width = (side * vae.spatial_factor for side in samples.shape[2:])
    refuse_vae(vae, samples.shape[0], height, width, "decoding")
    model: Any = pool().module(vae)
    moved = samples.to(model.device, model.dtype)
    return _picture(model.decode(_unscaled(moved, vae)).sample)


def _picture(samples: Tensor) -> Tensor:
    return (samples / 2 + 0.5).clamp(0, 1).float().cpu()


def _scaled(latents: Tensor, vae: VAE) -> Tensor:
    if vae.latents_mean is not None and vae.latents_std is not None:
        mean, std = _by_channel(vae, latents)
        return (latents - mean) * vae.scaling_factor / std
    return (latents - vae.shift_factor) * vae.scaling_factor


def _unscaled(latents: Tensor, vae: VAE) -> Tensor:
    if vae.latents_mean is not None and vae.latents_std is not None:
        mean, std = _by_channel(vae, latents)
        return latents * std / vae.scaling_factor + mean
    return latents / vae.scaling_factor + vae.shift_factor


def _by_channel(vae: VAE, like: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    rows = (vae.latents_mean or (), vae.latents_std or ())
    mean, std = (torch.tensor(row).reshape(1, -1, 1, 1).to(like) for row in rows)
    return mean, std

"""Large pictures encoded and decoded piece by piece, which takes little memory."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from graphdiff.checkpoints.handles import VAE
from graphdiff.graph.node import node
from graphdiff.rng import Rng
from graphdiff_nodes.facts import KnownLatents, LatentFacts, check_vae_latents, present_vae
from graphdiff_nodes.latents import Encoded, LatentsToImage
from graphdiff_nodes.values import Image, Latents

if TYPE_CHECKING:
    from torch import Tensor


@node
def VAEDecodeTiled(vae: VAE | None, latents: Latents, *, tiles: bool = True) -> Image:
    """Turn latents into a picture, one picture of a batch at a time, a large one tile by tile.

    Tiles are as large as the pictures that the VAE was trained on; where they meet they are
    blended, so that a large picture is not quite the one of VAEDecode.

    Args:
        vae: The VAE.
        latents: The latents, fully denoised.
        tiles: Whether large pictures are cut, too; otherwise batches alone.
    """
    vae = present_vae(vae)
    model = _thrifty(vae, tiles=tiles)
    samples = latents.samples.to(model.device, model.dtype)
    factor, offset = _into_model(vae, samples)
    return LatentsToImage.fn(Latents(model.decode(samples * factor + offset).sample))


@VAEDecodeTiled.infer
def _decoded_facts(vae: VAE | None, latents: KnownLatents) -> None:
    check_vae_latents(vae, latents)


@node
def VAEEncodeTiled(
    vae: VAE | None, image: Image, rng: int | Rng | None = None, *, tiles: bool = True
) -> Encoded:
    """Turn a picture into latents, one picture of a batch at a time, a large one tile by tile.

    Args:
        vae: The VAE.
        image: The picture; sides that are no multiple of the VAE's factor (8) are cut a little.
        rng: A seed or a stream, as for VAEEncode.
        tiles: Whether large pictures are cut, too; otherwise batches alone.
    """
    import torch

    vae = present_vae(vae).for_encoding
    model = _thrifty(vae, tiles=tiles)
    unit = vae.spatial_factor
    height, width = (side // unit * unit for side in image.pixels.shape[2:])
    pixels = image.pixels[:, :, :height, :width] * 2 - 1
    encoded = model.encode(pixels.to(model.device, model.dtype))
    batch = pixels.shape[0]
    stream = Rng.from_seed([rng + i for i in range(batch)]) if isinstance(rng, int) else rng
    if vae.kind == "AutoencoderTiny":
        found: Tensor = encoded.latents
    elif stream is None:
        found = encoded.latent_dist.mode()
    else:
        spread = encoded.latent_dist
        rows = len(stream.streams) if batch == 1 else batch
        shape = (rows, *spread.mean.shape[1:])
        noise, stream = stream.normal(shape, dtype=torch.float32, device=spread.mean.device)
        found = spread.mean + spread.std * noise.to(spread.mean)
    factor, offset = _into_model(vae, found)
    # What was not given cannot be passed on: who draws from it then says that it is missing.
    return Encoded(Latents((found - offset) / factor), cast(Rng, stream))


@VAEEncodeTiled.infer
def _encoded_facts(vae: VAE | None) -> dict[str, object]:
    return {"latents": LatentFacts(present_vae(vae).latent_channels)}


def _thrifty(vae: VAE, *, tiles: bool) -> Any:  # noqa: ANN401 - either autoencoder
    """The VAE's model, set to work in pieces; weights are shared, and others' switches stay."""
    from graphdiff.checkpoints.pool import pool

    model: Any = copy.copy(pool().module(vae))
    model.use_slicing = True
    model.use_tiling = tiles
    return model


def _into_model(vae: VAE, like: Tensor) -> tuple[Any, Any]:
    """What latents are multiplied by, and what is added, for the VAE's own scale."""
    import torch

    if vae.latents_mean is None or vae.latents_std is None:
        return 1 / vae.scaling_factor, vae.shift_factor
    mean, std = (
        torch.tensor(row).reshape(1, -1, 1, 1).to(like)
        for row in (vae.latents_mean, vae.latents_std)
    )
    return std / vae.scaling_factor, mean

"""Large pictures are encoded and decoded piece by piece."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphdiff_nodes.latents import VAEDecode, VAEEncode
from graphdiff_nodes.models import LoadModel
from graphdiff_nodes.tiles import VAEDecodeTiled, VAEEncodeTiled
from graphdiff_nodes.values import Image, Latents

from graphdiff.checkpoints.pool import pool
from graphdiff.graph.node import Settings
from graphdiff.rng import Rng


@pytest.fixture
def vae(checkpoint: Any) -> Any:
    folder, _ = checkpoint("stable_diffusion")
    return LoadModel.fn(str(folder), settings=Settings("cpu", "float32")).vae


def values(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def test_a_batch_in_pieces_is_the_batch_at_once(vae: Any) -> None:
    latents = Latents(values(3, 4, 16, 16))
    whole = VAEDecode.fn(vae, latents).pixels
    assert (VAEDecodeTiled.fn(vae, latents, tiles=False).pixels - whole).abs().max() < 1e-5
    image = Image(values(2, 3, 33, 50))
    one, other = (node.fn(vae, image, 5) for node in (VAEEncode, VAEEncodeTiled))
    assert (one.latents.samples - other.latents.samples).abs().max() < 1e-5
    assert one.rng == other.rng


@pytest.mark.parametrize("rng", [None, Rng.from_seed([1, 2])])
def test_pictures_that_are_one_tile_are_not_cut(vae: Any, rng: Any) -> None:
    latents = Latents(values(1, 4, 16, 16))
    assert torch.allclose(
        VAEDecodeTiled.fn(vae, latents).pixels, VAEDecode.fn(vae, latents).pixels, atol=1e-5
    )
    image = Image(values(1, 3, 32, 32))
    one, other = (node.fn(vae, image, rng) for node in (VAEEncode, VAEEncodeTiled))
    assert torch.allclose(one.latents.samples, other.latents.samples, atol=1e-5)


def test_large_ones_are_cut_without_touching_the_model(vae: Any) -> None:
    latents = Latents(values(1, 4, 40, 24))
    whole, tiled = VAEDecode.fn(vae, latents).pixels, VAEDecodeTiled.fn(vae, latents).pixels
    assert whole.shape == tiled.shape
    assert (whole - tiled).abs().max() > 1e-4
    model: Any = pool().module(vae)
    assert not model.use_tiling
    assert not model.use_slicing
    assert torch.equal(VAEDecode.fn(vae, latents).pixels, whole)

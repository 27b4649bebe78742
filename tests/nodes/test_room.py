"""Pictures that cannot fit into memory are refused before work on them begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from graphdiff_nodes import room
from graphdiff_nodes.images import PadImage, ResizeImage
from graphdiff_nodes.latents import EmptyLatents, ResizeLatents, VAEDecode, VAEEncode
from graphdiff_nodes.models import LoadModel
from graphdiff_nodes.sampling import NoiseSample, Timesteps, UNetPredict
from graphdiff_nodes.values import Image, Latents

from graphdiff.checkpoints.handles import UNet, Weights
from graphdiff.graph.node import Settings
from graphdiff.models.configs import UNet2DConditionConfig

GB = 10**9


@pytest.fixture
def model() -> Any:
    return LoadModel.fn("emoji", settings=Settings("cpu", "float32"))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one gigabyte left."""
    monkeypatch.setattr(room, "_free", lambda: GB)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that must not be asked for anything."""
    from graphdiff.checkpoints import pool

    monkeypatch.setattr(pool, "pool", lambda: pytest.fail("weights were asked for"))


def large(channels: int, side: int) -> torch.Tensor:
    """A tensor of any size that takes no memory."""
    return torch.zeros(1).expand(1, channels, side, side)


@pytest.mark.usefixtures("free")
def test_noise_for_a_huge_picture_is_refused_before_it_is_drawn(model: Any) -> None:
    schedule = Timesteps.fn(model.scheduler, 2)
    with pytest.raises(ValueError, match="40000000 x 40000000 pixels would take at least"):
        NoiseSample.fn(model.unet, schedule, 0, width=40_000_000, height=40_000_000)
    with pytest.raises(ValueError, match=r"1\.0 GB are free: lower their size or number"):
        NoiseSample.fn(model.unet, schedule, 0, batch=1_000_000)
    with pytest.raises(ValueError, match="latents of this size"):
        EmptyLatents.fn(model.unet, 40_000_000, 40_000_000)


@pytest.mark.usefixtures("free", "no_weights")
def test_models_are_not_loaded_for_what_cannot_fit(model: Any) -> None:
    step = Timesteps.fn(model.scheduler, 2)[0]
    sample = Latents(large(model.unet.latent_channels, 2000))
    with pytest.raises(ValueError, match="denoising a picture of 8000 x 8000 pixels would take"):
        UNetPredict.fn(replace(model.unet, family="unconditional"), sample, step)
    with pytest.raises(ValueError, match=r"decoding .* or take VAEDecodeTiled"):
        VAEDecode.fn(model.vae, Latents(large(model.vae.latent_channels, 2000)))
    with pytest.raises(ValueError, match=r"encoding .* or take VAEEncodeTiled"):
        VAEEncode.fn(model.vae, Image(large(3, 8000)))


@pytest.mark.usefixtures("free")
def test_pictures_and_latents_are_not_stretched_beyond_memory(model: Any) -> None:
    with pytest.raises(ValueError, match="pictures of 100000 x 100000 pixels would take"):
        ResizeImage.fn(Image(torch.zeros(1, 3, 8, 8)), 100_000, 100_000)
    with pytest.raises(ValueError, match="pictures of 100008 x 100008 pixels would take"):
        PadImage.fn(Image(torch.zeros(1, 3, 8, 8)), 100_000, 0, 100_000, 0)
    with pytest.raises(ValueError, match="latents of this size"):
        ResizeLatents.fn(Latents(torch.zeros(1, 4, 8, 8)), 100_000.0)


@pytest.mark.usefixtures("free")
def test_what_may_fit_is_not_refused(model: Any) -> None:
    room.refuse(GB, "exactly what there is")
    room.refuse_unet(model.unet, 1, 512, 512)
    room.refuse_vae(model.vae, 1, 512, 512, "decoding")


@pytest.mark.usefixtures("free")
def test_accelerators_say_themselves_that_they_are_full(model: Any) -> None:
    room.refuse(1 << 60, "all of it", "cuda")
    room.refuse_unet(replace(model.unet, device="cuda"), 1, 100_000, 100_000)


def test_the_free_memory_is_not_looked_up_for_small_things(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "_free", lambda: pytest.fail("it was looked up"))
    room.refuse(1 << 20, "a small thing")


def test_where_nothing_says_what_is_free_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "_free", lambda: None)
    room.refuse(1 << 60, "all of it")


def test_the_bound_of_a_unet_counts_its_widest_feed_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []
    monkeypatch.setattr(room, "refuse", lambda needed, *_: told.append(needed))
    config = UNet2DConditionConfig.from_dict({"cross_attention_dim": 768})
    unet = UNet(config, weights=Weights(()), dtype="bfloat16")
    room.refuse_unet(unet, 2, 64, 64)
    assert told == [2 * 64 * 64 * (1 + 14) * 320 * 2]


def test_the_limit_of_the_process_group_counts_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (tmp_path / "max", tmp_path / "current", tmp_path / "stat")
    for name, text in zip(names, ("5000", "3000", "anon 7\ninactive_file 500\n"), strict=True):
        name.write_text(text)
    group = (*names, "inactive_file")
    monkeypatch.setattr(room, "_groups", lambda: [group])
    monkeypatch.setattr(room, "free_memory", lambda _: GB)
    assert room._free() == 2500  # pyright: ignore[reportPrivateUsage]
    names[0].write_text("max\n")
    free = room._free()  # pyright: ignore[reportPrivateUsage]
    assert free is not None
    assert free >= GB

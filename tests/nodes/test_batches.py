"""How many calls of a model run as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from graphdiff_nodes import batches
from graphdiff_nodes.batches import free_memory, rows_that_pay
from graphdiff_nodes.latents import VAEDecode
from graphdiff_nodes.models import LoadModel
from graphdiff_nodes.sampling import UNetPredict
from graphdiff_nodes.values import Latents

from graphdiff.checkpoints.handles import DeviceKind
from graphdiff.graph.node import Settings

PLENTY = 1 << 40
SMALL, LARGE = 64 * 16 * 16, 320 * 64 * 64  # the bundled model's maps, and Stable Diffusion's


def free(monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    def told(device: DeviceKind) -> int | None:
        return size

    monkeypatch.setattr(batches, "free_memory", told)


def test_on_a_processor_large_maps_run_apart_and_small_ones_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free(monkeypatch, PLENTY)
    assert rows_that_pay(LARGE, 1, dtype="float32", device="cpu") == 1
    assert rows_that_pay(LARGE, 1, dtype="float32", device="cpu", least=2) == 2
    assert rows_that_pay(SMALL, 1, dtype="float32", device="cpu") > 16


def test_half_precision_lets_twice_as_many_run_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, PLENTY)
    whole = rows_that_pay(SMALL, 1, dtype="float32", device="cpu")
    assert rows_that_pay(SMALL, 1, dtype="bfloat16", device="cpu") == 2 * whole


@pytest.fixture
def model() -> Any:
    return LoadModel.fn("emoji", settings=Settings("cpu", "float32"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_free_memory_bounds_a_batch_down_to_one(
    device: DeviceKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = 4 * LARGE * 10
    for rows in (3, 1):
        free(monkeypatch, 2 * rows * row)
        got = rows_that_pay(LARGE, 10, dtype="float32", device=device, least=8)
        assert got == rows
    free(monkeypatch, 0)
    assert rows_that_pay(LARGE, 10, dtype="float32", device=device, least=8) == 1


def test_an_accelerator_is_bounded_by_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, PLENTY)
    assert rows_that_pay(LARGE, 10, dtype="float32", device="cuda") > 1000


def test_what_torch_keeps_and_does_not_use_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {
        "reserved_bytes": {"all": {"current": 70}, "small_pool": {"current": 1}},
        "allocated_bytes": {"all": {"current": 20}, "small_pool": {"current": 1}},
    }
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", lambda: held)
    assert free_memory("cuda") == 1050


def test_free_memory_is_read_where_the_system_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "meminfo"
    info.write_text("MemTotal:       24000000 kB\nMemAvailable:    2048 kB\n")
    monkeypatch.setattr(batches, "_MEMORY_INFO", info)
    assert free_memory("cpu") == 2 << 20
    info.write_text("MemTotal:       24000000 kB\n")
    assert free_memory("cpu") is None
    monkeypatch.setattr(batches, "_MEMORY_INFO", tmp_path / "none")
    assert free_memory("cpu") is None
    assert free_memory("mps") is None


def limit_of(node: Any, **arguments: Any) -> int:
    got: int = node.batch.limit(**arguments)
    return got


def test_a_larger_picture_makes_smaller_batches(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, PLENTY)
    small, large = (Latents(torch.zeros(1, 4, side, side)) for side in (16, 128))
    assert limit_of(UNetPredict, unet=model.unet, sample=small) == 16
    assert limit_of(UNetPredict, unet=model.unet, sample=large) == 2
    assert limit_of(VAEDecode, vae=model.vae, latents=small) == 4
    assert limit_of(VAEDecode, vae=model.vae, latents=large) == 1


def test_a_batch_of_pictures_counts_as_many(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, PLENTY)
    unet = model.unet
    one, four = (
        limit_of(UNetPredict, unet=unet, sample=Latents(torch.zeros(n, 4, 64, 64))) for n in (1, 4)
    )
    assert one == 6
    assert four == 2  # the two of guidance in any case

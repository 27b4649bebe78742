"""The families have the arithmetic of the published models, and checkpoints that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.gpu.checkpoint import without_memory, written
from benchmarks.gpu.device import Device
from benchmarks.gpu.families import Name, family
from benchmarks.gpu.floor import Work, matrix_rate, work
from graphdiff.checkpoints.open import open_checkpoint


@pytest.mark.parametrize(
    ("name", "pixels", "step", "decode"),
    [("sd15", 512, 803.3e9, 2.515e12), ("sdxl", 1024, 6761e9, 10.47e12)],
)
def test_the_arithmetic_of_published_shapes_is_known(
    name: Name, pixels: int, step: float, decode: float
) -> None:
    known = family(name)
    assert known.pixels == pixels
    found = work(known)
    assert found.step == pytest.approx(step, rel=1e-3)
    assert found.decode == pytest.approx(decode, rel=1e-3)


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
@pytest.mark.parametrize("part", ["unet", "vae"])
def test_diffusers_makes_the_same_model_of_a_config(name: Name, part: str) -> None:
    config = dict(family(name).parts[part])
    with torch.device("meta"):
        theirs: Any = getattr(diffusers, config["_class_name"]).from_config(config)
    shapes = {key: tensor.shape for key, tensor in without_memory(config).state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in theirs.state_dict().items()}


def test_a_guided_picture_takes_two_rows_a_step_and_a_decode() -> None:
    assert Work(step=3.0, decode=5.0).picture(20) == 125.0


def test_the_rate_of_matrices_is_that_of_their_products() -> None:
    assert 1e6 < matrix_rate(Device("cpu"), torch.float32, side=64) < 1e15


@pytest.mark.parametrize(("name", "encoders"), [("tiny", 1), ("tiny-xl", 2)])
def test_a_checkpoint_is_written_once_and_read_as_its_family(
    name: Name, encoders: int, tmp_path: Path
) -> None:
    folder = written(family(name), tmp_path, dtype=torch.bfloat16, device="cpu")
    opened = open_checkpoint(folder, dtype="bfloat16", device="cpu")
    assert opened.text_encoder is not None
    assert opened.vae is not None
    assert len(opened.text_encoder.encoders) == encoders
    assert opened.vae.dtype == "bfloat16"
    before = (folder / "model_index.json").stat().st_mtime_ns
    assert written(family(name), tmp_path, dtype=torch.bfloat16, device="cpu") == folder
    assert (folder / "model_index.json").stat().st_mtime_ns == before


def test_no_weight_is_zero_since_zeros_run_faster(tmp_path: Path) -> None:
    folder = written(family("tiny"), tmp_path, dtype=torch.float32, device="cpu")
    tensors = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(tensor.count_nonzero() == tensor.numel() for tensor in tensors.values())
    scales = [tensor for name, tensor in tensors.items() if name.endswith("norm1.weight")]
    assert all(float(scale.mean()) > 0.5 for scale in scales)

"""Weights arrive on a device as they are in the file, though each copy ends as late as it may."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from graphdiff.checkpoints import build
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.checkpoints.upload import CudaLane, Uploads, uploads_of
from tests.checkpoints import originals


class Mark:
    def __init__(self, lane: SlowLane, count: int) -> None:
        self.lane, self.count = lane, count

    def wait(self) -> None:
        self.lane.arrive(self.count)

    def follow(self) -> None: ...


class SlowLane:
    """Copies nothing before somebody waits for it."""

    def __init__(self) -> None:
        self.sent: list[tuple[Tensor, Tensor]] = []
        self.hosts = self.arrived = 0

    def host(self, size: int) -> Tensor:
        self.hosts += size
        return torch.empty(size, dtype=torch.uint8)

    def target(self, size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8)

    def send(self, piece: Tensor, target: Tensor) -> None:
        self.sent.append((piece, target))

    def mark(self) -> Mark:
        return Mark(self, len(self.sent))

    def arrive(self, count: int) -> None:
        for piece, target in self.sent[self.arrived : count]:
            target.copy_(piece)
        self.arrived = max(self.arrived, count)


class Lane(SlowLane):
    """Copies at once."""

    def send(self, piece: Tensor, target: Tensor) -> None:
        target.copy_(piece)


@pytest.mark.parametrize("stage", [7, 64, 1000, 10**6])
def test_tensors_are_those_of_the_file_whatever_the_size_of_the_stage(
    stage: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    tensors = {
        "a": torch.randn(17, 3),
        "b": torch.randn(5, dtype=torch.float16),
        "c": torch.randn(2, 3, 5).bfloat16(),
        "d": torch.arange(4),
        "e": torch.zeros(0, 3),
        "f": torch.randn((), dtype=torch.float64),
    }
    save_file(tensors, tmp_path / "file.safetensors")
    uploads = Uploads([tmp_path / "file.safetensors"])
    uploads.lane = lane = SlowLane()
    uploads.stage = stage
    found = {name: uploads.read(name) for name in tensors}
    assert lane.hosts == 2 * stage
    lane.arrive(len(lane.sent))
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_a_file_that_is_cut_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.randn(100)}, path)
    uploads = Uploads([path])
    uploads.lane = Lane()
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="cut while it was read"):
        uploads.read("a")


@pytest.mark.parametrize("layout", ["diffusers", "single file"])
def test_a_model_on_a_gpu_gets_its_weights_through_the_lane(
    layout: str, sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if layout == "diffusers":
        handle = open_checkpoint(sd1, device="cpu").unet
    else:
        single = originals.write_single_file(sd1, "sd1", tmp_path / "single.safetensors")
        handle = open_checkpoint(single, config=sd1, device="cpu").unet
    wanted = build.built("UNet2DConditionModel", handle.config, handle.weights, "bfloat16", "cpu")
    lane = Lane()
    monkeypatch.setattr(Uploads, "lane", lane)
    monkeypatch.setattr(Uploads, "stage", 1 << 16)
    monkeypatch.setattr("graphdiff.checkpoints.build.tensors_of", uploads_of)
    found = build.built("UNet2DConditionModel", handle.config, handle.weights, "bfloat16", "cpu")
    assert lane.hosts == 2 << 16
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_weights_arrive_whole(sd1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uploads, "stage", 1000)
    handle = open_checkpoint(sd1, device="cuda").unet
    kind = "UNet2DConditionModel"
    found = build.built(kind, handle.config, handle.weights, "float32", "cuda")
    wanted = build.built(kind, handle.config, handle.weights, "float32", "cpu")
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name].cpu(), tensor)
    assert isinstance(Uploads.lane, CudaLane)

"""The pool's forms for a GPU: fused, captured and compiled by regions, on weights that are shared.

A CPU stands for the GPU, plain modules for fused ones, and a recorder that calls again for CUDA.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graphdiff.checkpoints import build
from graphdiff.checkpoints.forms import arrangement
from graphdiff.checkpoints.handles import Checkpoint
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.checkpoints.pool import WeightsPool
from graphdiff.models.rearranged import rearranged
from tests.checkpoints.test_pool import lora_of
from tests.models.test_graphed import Recorder

SAMPLE, STATES = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 32)
TIME = torch.tensor(10.0)


@pytest.fixture
def checkpoint(sd1: Path) -> Checkpoint:
    return open_checkpoint(sd1, device="cpu")


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The models that were made from those which were to be fused."""
    made: list[nn.Module] = []

    def stand_in(model: Any) -> Any:
        made.append(rearranged(model, lambda *_: None))
        return made[-1]

    monkeypatch.setattr("graphdiff.models.fused.fused", stand_in)
    return made


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, fused: list[nn.Module]) -> Recorder:
    made = Recorder()
    monkeypatch.setattr("graphdiff.checkpoints.pool.arrangement", lambda _: "fused")
    monkeypatch.setattr("graphdiff.models.graphed.Cuda", lambda: made)
    return made


def predicted(unet: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = unet(SAMPLE, TIME, STATES).sample
    return result


def test_each_device_has_a_form_of_its_own() -> None:
    assert [arrangement(device) for device in ("cpu", "cuda", "mps")] == [
        "packed",
        "fused",
        "plain",
    ]


def test_a_unet_is_fused_and_captured_over_weights_that_are_there_once(
    checkpoint: Checkpoint, recorder: Recorder, fused: list[nn.Module]
) -> None:
    weights = WeightsPool(packs=True)
    unet = weights.module(checkpoint.unet)
    assert weights.module(checkpoint.unet) is unet
    wanted = predicted(WeightsPool().module(checkpoint.unet))
    for _ in range(3):
        torch.testing.assert_close(predicted(unet), wanted, atol=1e-5, rtol=1e-4)
    assert recorder.alive == 1
    assert len(fused) == 1
    size = build.size_of(checkpoint.unet.weights, checkpoint.unet.config, "float32")
    assert weights.bytes_on("cpu") == size
    assert list(weights.resident().values()) == [size]


def test_its_convolutions_have_weights_that_are_channels_last(
    checkpoint: Checkpoint, recorder: Recorder, tmp_path: Path
) -> None:
    weights = WeightsPool(packs=True)
    lora = lora_of(checkpoint, tmp_path / "lora.safetensors")
    for handle in (checkpoint.unet, checkpoint.unet.patched(lora)):
        convolutions = [m for m in weights.module(handle).modules() if isinstance(m, nn.Conv2d)]
        assert convolutions
        for convolution in convolutions:
            assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_vae_is_fused_and_not_captured_and_a_text_encoder_is_neither(
    checkpoint: Checkpoint, recorder: Recorder, fused: list[nn.Module]
) -> None:
    weights = WeightsPool(packs=True)
    assert checkpoint.vae is not None
    assert checkpoint.text_encoder is not None
    assert weights.module(checkpoint.vae) is fused[0]
    weights.module(checkpoint.text_encoder)
    assert len(fused) == 1
    assert "forward" not in fused[0].__dict__


def test_a_lora_has_a_fused_form_that_shares_what_it_leaves_alone(
    checkpoint: Checkpoint, recorder: Recorder, tmp_path: Path
) -> None:
    patched = checkpoint.unet.patched(lora_of(checkpoint, tmp_path / "lora.safetensors"))
    weights = WeightsPool(packs=True)
    plain, changed = weights.module(checkpoint.unet), weights.module(patched)
    wanted = predicted(WeightsPool().module(patched))
    for _ in range(3):
        torch.testing.assert_close(predicted(changed), wanted, atol=1e-5, rtol=1e-4)
    size = build.size_of(patched.weights, patched.config, "float32")
    (module,) = (
        name
        for name, tensor in changed.state_dict().items()
        if tensor.data_ptr() != plain.state_dict()[name].data_ptr()
    )
    assert weights.bytes_on("cpu") == size + changed.state_dict()[module].nbytes


def test_where_there_is_no_room_for_both_a_lora_is_there_alone(
    checkpoint: Checkpoint, recorder: Recorder, tmp_path: Path
) -> None:
    patched = checkpoint.unet.patched(lora_of(checkpoint, tmp_path / "lora.safetensors"))
    size = build.size_of(patched.weights, patched.config, "float32")
    weights = WeightsPool(budget=size + 100, packs=True)
    weights.module(checkpoint.unet)
    wanted = predicted(WeightsPool().module(patched))
    torch.testing.assert_close(predicted(weights.module(patched)), wanted, atol=1e-5, rtol=1e-4)
    assert weights.bytes_on("cpu") <= size + 100
    assert len(weights.resident()) == 1


def test_what_leaves_takes_its_fused_form_and_its_graphs_along(
    checkpoint: Checkpoint, recorder: Recorder
) -> None:
    assert checkpoint.vae is not None
    size = build.size_of(checkpoint.unet.weights, checkpoint.unet.config, "float32")
    weights = WeightsPool(budget=size + 1000, packs=True)
    unet = weights.module(checkpoint.unet)
    for _ in range(3):
        predicted(unet)
    assert recorder.alive == 1
    weights.module(checkpoint.vae)
    assert [name.split()[0] for name in weights.resident()] == ["AutoencoderKL"]
    assert recorder.alive == 0  # even though this test holds on to the model
    assert weights.module(checkpoint.unet) is not unet


def test_a_model_in_use_does_not_leave_for_one_that_is_used_less(
    checkpoint: Checkpoint, recorder: Recorder
) -> None:
    assert checkpoint.vae is not None
    assert checkpoint.text_encoder is not None
    measured = WeightsPool(packs=True)
    for handle in (checkpoint.vae, checkpoint.unet, checkpoint.text_encoder):
        measured.module(handle)
    weights = WeightsPool(budget=measured.bytes_on("cpu") - 1, packs=True)
    unet, vae = weights.module(checkpoint.unet), weights.module(checkpoint.vae)
    assert weights.module(checkpoint.unet) is unet  # its plain form was used before the VAE's
    weights.module(checkpoint.text_encoder)
    assert weights.module(checkpoint.unet) is unet
    assert weights.module(checkpoint.vae) is not vae


def test_what_is_streamed_is_neither_fused_nor_captured(
    checkpoint: Checkpoint, recorder: Recorder, fused: list[nn.Module]
) -> None:
    weights = WeightsPool(budget=1_000_000, packs=True)
    unet = weights.module(checkpoint.unet)
    wanted = predicted(WeightsPool().module(checkpoint.unet))
    for _ in range(3):
        torch.testing.assert_close(predicted(unet), wanted)
    assert not fused
    assert not recorder.made


def test_when_memory_runs_out_for_a_model_graphs_go_before_other_models_do(
    checkpoint: Checkpoint, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpoint.vae is not None
    weights = WeightsPool(packs=True)
    unet = weights.module(checkpoint.unet)
    for _ in range(3):
        predicted(unet)
    failures, made = [torch.OutOfMemoryError("out of memory")], build.built

    def short_of_memory(*args: Any, **options: Any) -> nn.Module:
        if failures:
            raise failures.pop()
        return made(*args, **options)

    monkeypatch.setattr("graphdiff.checkpoints.forms.built", short_of_memory)
    weights.module(checkpoint.vae)
    assert recorder.alive == 0
    assert weights.module(checkpoint.unet) is unet


def test_release_lets_go_of_all_forms(checkpoint: Checkpoint, recorder: Recorder) -> None:
    weights = WeightsPool(packs=True)
    for _ in range(3):
        predicted(weights.module(checkpoint.unet))
    weights.release(checkpoint.unet)
    assert weights.resident() == {}
    assert weights.bytes_on("cpu") == 0
    assert recorder.alive == 0


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_what_is_compiled_is_compiled_by_regions_and_captured_beside_the_plain_weights(
    checkpoint: Checkpoint,
    recorder: Recorder,
    fused: list[nn.Module],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("graphdiff.models.compiled._BACKEND", "eager")
    weights = WeightsPool(packs=True)
    unet = weights.module(replace(checkpoint.unet, compiled=True))
    wanted = predicted(WeightsPool().module(checkpoint.unet))
    for _ in range(3):
        torch.testing.assert_close(predicted(unet), wanted, atol=1e-5, rtol=1e-4)
    assert recorder.alive == 1
    assert not fused
    size = build.size_of(checkpoint.unet.weights, checkpoint.unet.config, "float32")
    assert weights.bytes_on("cpu") == size
    plain = weights.module(checkpoint.unet)  # made of the same
    assert weights.bytes_on("cpu") == size
    assert plain is not unet
    torch.compiler.reset()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Please use the new API settings")  # some torches
def test_on_a_gpu_a_unet_predicts_the_same_and_gives_all_its_memory_back(
    sd1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # 1x1 convolutions are products
    handle = open_checkpoint(sd1, device="cuda", dtype="float32").unet
    wanted = predicted_there(WeightsPool().module(handle))
    for _ in range(2):
        before = torch.cuda.memory_allocated()
        weights = WeightsPool(packs=True)
        for _ in range(4):
            found = predicted_there(weights.module(handle))
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
        weights.release()
        del weights
        left = torch.cuda.memory_allocated() - before
    assert left <= 1 << 20


def predicted_there(unet: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = unet(SAMPLE.cuda(), TIME.cuda(), STATES.cuda()).sample
    return result.cpu()


@pytest.mark.parametrize("fuses", [False, True])
def test_of_many_scales_of_a_lora_those_used_last_stay(
    checkpoint: Checkpoint, request: pytest.FixtureRequest, tmp_path: Path, fuses: bool
) -> None:
    if fuses:
        request.getfixturevalue("recorder")
    lora = lora_of(checkpoint, tmp_path / "lora.safetensors")
    handles = [checkpoint.unet.patched(replace(lora, scale=n / 10)) for n in range(12)]
    weights = WeightsPool(packs=True)
    plain, often = weights.module(checkpoint.unet), weights.module(handles[0])
    sizes: list[int] = []
    for handle in handles[1:]:
        weights.module(handle)
        assert weights.module(handles[0]) is often
        sizes.append(weights.bytes_on("cpu"))
    assert sizes[3] < sizes[6] == sizes[-1]
    assert weights.module(checkpoint.unet) is plain
    last = weights.module(handles[-1])
    assert weights.module(handles[-1]) is last

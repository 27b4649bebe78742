"""The weights pool: modules made once, shared, counted, and let go."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from graphdiff.checkpoints import build
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.checkpoints.pool import WeightsPool, pool


@pytest.fixture
def checkpoint(sd1: Path) -> Checkpoint:
    return open_checkpoint(sd1, device="cpu")


def test_modules_predict_what_those_of_diffusers_do(sd1: Path, checkpoint: Checkpoint) -> None:
    import diffusers

    theirs = diffusers.StableDiffusionPipeline.from_pretrained(sd1)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 4, 16, 16, generator=generator)
    states = torch.randn(1, 5, 32, generator=generator)
    weights = WeightsPool()
    with torch.no_grad():
        ours = weights.module(checkpoint.unet)(sample, 10, states).sample
        torch.testing.assert_close(ours, theirs.unet(sample, 10, states).sample)
        assert checkpoint.vae is not None
        decoded = weights.module(checkpoint.vae).decode(sample).sample
        torch.testing.assert_close(decoded, theirs.vae.decode(sample).sample)
        assert checkpoint.text_encoder is not None
        (encoder,) = weights.module(checkpoint.text_encoder)
        ids = encoder.tokenizer("a red apple, 3 pears!")
        asked = theirs.tokenizer("a red apple, 3 pears!", padding="max_length").input_ids
        assert ids == [asked]
        states = encoder.model(torch.tensor(ids)).last_hidden_state
        torch.testing.assert_close(states, theirs.text_encoder(torch.tensor([asked]))[0])


def test_a_module_is_made_once_and_ready_for_inference(checkpoint: Checkpoint) -> None:
    weights = WeightsPool()
    unet = weights.module(checkpoint.unet)
    assert weights.module(replace(checkpoint.unet)) is unet
    assert not unet.training
    assert not any(parameter.requires_grad for parameter in unet.parameters())
    assert weights.module(replace(checkpoint.unet, family="sd2")) is unet


def test_every_dtype_is_a_module_of_its_own(checkpoint: Checkpoint) -> None:
    weights = WeightsPool()
    half = weights.module(replace(checkpoint.unet, dtype="bfloat16"))
    assert half is not weights.module(checkpoint.unet)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_weights_that_need_no_cast_stay_mapped_files(checkpoint: Checkpoint) -> None:
    """No second copy in memory: a write to the file shows in the module that maps it."""
    (file,) = checkpoint.unet.weights.files
    copy = file.path.with_name("copy.safetensors")
    shutil.copy(file.path, copy)
    try:
        mapped = replace(checkpoint.unet.weights, files=(replace(file, path=copy),))
        module = WeightsPool().module(replace(checkpoint.unet, weights=mapped))
        before = module.conv_out.weight.clone()
        with copy.open("r+b") as stream:
            stream.seek(-copy.stat().st_size // 2, 2)
            stream.write(bytes(copy.stat().st_size // 2))
        after = {name: bool((tensor == 0).all()) for name, tensor in module.state_dict().items()}
        assert before.abs().sum() > 0
        assert any(after.values())
    finally:
        copy.unlink()


def test_resident_counts_each_tensor_once(checkpoint: Checkpoint) -> None:
    weights = WeightsPool()
    unet = weights.module(checkpoint.unet)
    elements = sum(parameter.numel() for parameter in unet.parameters())
    (size,) = weights.resident().values()
    assert size == pytest.approx(4 * elements, rel=0.05)
    assert weights.bytes_on("cpu") == size
    assert build.size_of(checkpoint.unet.weights, checkpoint.unet.config, "float32") == 4 * elements


def test_the_model_used_longest_ago_leaves_when_the_budget_is_spent(
    checkpoint: Checkpoint,
) -> None:
    assert checkpoint.vae is not None
    measured = WeightsPool()
    measured.module(checkpoint.unet)
    measured.module(checkpoint.vae)
    both = measured.bytes_on("cpu")
    weights = WeightsPool(budget=both + 1000)
    unet, vae = weights.module(checkpoint.unet), weights.module(checkpoint.vae)
    assert weights.module(checkpoint.unet) is unet  # now the VAE was used longest ago
    assert checkpoint.text_encoder is not None
    weights.module(checkpoint.text_encoder)
    kinds = [name.split()[0] for name in weights.resident()]
    assert "AutoencoderKL" not in kinds
    assert weights.module(checkpoint.vae) is not vae


def test_a_model_larger_than_the_budget_still_runs_alone(checkpoint: Checkpoint) -> None:
    assert checkpoint.vae is not None
    weights = WeightsPool(budget=1)
    weights.module(checkpoint.unet)
    weights.module(checkpoint.vae)
    assert [name.split()[0] for name in weights.resident()] == ["AutoencoderKL"]


def test_when_memory_runs_out_models_leave_and_it_is_tried_again(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpoint.vae is not None
    weights = WeightsPool()
    weights.module(checkpoint.unet)
    failures = [torch.OutOfMemoryError("out of memory")]
    made = build.built

    def short_of_memory(*args: object) -> torch.nn.Module:
        if failures:
            raise failures.pop()
        return made(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("graphdiff.checkpoints.pool.built", short_of_memory)
    weights.module(checkpoint.vae)
    assert [name.split()[0] for name in weights.resident()] == ["AutoencoderKL"]
    failures += [torch.OutOfMemoryError("out of memory")] * 3
    with pytest.raises(torch.OutOfMemoryError):
        weights.module(checkpoint.unet)


def test_release_lets_go_of_one_model_or_of_all(checkpoint: Checkpoint) -> None:
    assert checkpoint.vae is not None
    weights = WeightsPool()
    weights.module(checkpoint.unet)
    weights.module(checkpoint.vae)
    weights.release(checkpoint.unet)
    assert [name.split()[0] for name in weights.resident()] == ["AutoencoderKL"]
    weights.release()
    assert weights.resident() == {}


def test_a_file_that_fails_leaves_nothing_half_loaded(sd1: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sd1, tmp_path / "copy"))
    checkpoint = open_checkpoint(folder, device="cpu")
    (file,) = checkpoint.unet.weights.files
    file.path.write_bytes(file.path.read_bytes()[:-8])
    weights = WeightsPool()
    with pytest.raises(CheckpointError, match="truncated"):
        weights.module(checkpoint.unet)
    assert weights.resident() == {}


def test_a_device_that_torch_does_not_see_is_refused(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CheckpointError, match="sees no cuda device"):
        WeightsPool().module(replace(checkpoint.unet, device="cuda"))


def test_threads_that_ask_at_once_get_one_module(checkpoint: Checkpoint) -> None:
    weights = WeightsPool()
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(weights.module(checkpoint.unet)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_there_is_one_pool_in_a_process() -> None:
    assert pool() is pool()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_weights_lie_there_and_leave_it_when_the_budget_is_spent(sd1: Path) -> None:
    checkpoint = open_checkpoint(sd1, device="cuda", dtype="bfloat16")
    assert checkpoint.vae is not None
    before = torch.cuda.memory_allocated()
    weights = WeightsPool(budget=1)
    unet = weights.module(checkpoint.unet)
    assert {(p.device.type, p.dtype) for p in unet.parameters()} == {("cuda", torch.bfloat16)}
    assert torch.cuda.memory_allocated() - before >= weights.bytes_on("cuda")
    del unet
    vae = weights.module(checkpoint.vae)
    assert next(vae.parameters()).dtype == torch.float32
    assert torch.cuda.memory_allocated() - before < 2 * weights.bytes_on("cuda")

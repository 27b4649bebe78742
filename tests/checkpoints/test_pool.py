"""The weights pool: modules made once, shared, counted, and let go."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import graphdiff
from graphdiff.checkpoints import build
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint, LoRA
from graphdiff.checkpoints.open import open_checkpoint, open_lora
from graphdiff.checkpoints.pool import WeightsPool, pool
from graphdiff.shipped import find_workflow


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


@pytest.mark.parametrize("budget", [None, 10**9])
def test_a_module_that_is_there_is_given_without_a_look_at_its_files(
    budget: int | None, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = WeightsPool(budget=budget)
    lora = lora_of(checkpoint, tmp_path / "lora.safetensors")
    handles = (checkpoint.unet, checkpoint.unet.patched(lora))
    made = [weights.module(handle) for handle in handles]

    def look(*_: object) -> None:
        pytest.fail("a header was read again")

    monkeypatch.setattr("graphdiff.checkpoints.weights.read_header", look)
    assert [weights.module(handle) for handle in handles] == made


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


def test_a_model_larger_than_the_budget_is_streamed_and_predicts_the_same(
    checkpoint: Checkpoint,
) -> None:
    assert checkpoint.vae is not None
    plain = WeightsPool()
    weights = WeightsPool(budget=1_000_000)
    sample, states = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 32)
    with torch.no_grad():
        unet = weights.module(checkpoint.unet)
        assert unet.device == torch.device("cpu")
        assert unet.dtype == torch.float32
        for _ in range(2):
            predicted = unet(sample, 10, states).sample
            assert 0 < weights.bytes_on("cpu") <= 1_000_000
            assert torch.equal(predicted, plain.module(checkpoint.unet)(sample, 10, states).sample)
        weights.module(checkpoint.vae)
    assert [name.split()[0] for name in weights.resident()] == ["AutoencoderKL"]


def test_encoders_that_do_not_fit_together_share_the_budget(sdxl: Path) -> None:
    encoder = open_checkpoint(sdxl, device="cpu").text_encoder
    assert encoder is not None
    tables = [49408 * each.width * 4 for each in encoder.encoders]
    weights = WeightsPool(budget=2 * max(tables) + 100_000)
    ids = torch.tensor(weights.module(encoder)[0].tokenizer("a red apple"))
    with torch.no_grad():
        for ours, theirs in zip(
            weights.module(encoder), WeightsPool().module(encoder), strict=True
        ):
            found = ours.model(ids)
            assert torch.equal(found.last_hidden_state, theirs.model(ids).last_hidden_state)
    assert len(weights.resident()) == 2
    assert weights.bytes_on("cpu") <= 2 * max(tables) + 100_000


@pytest.mark.parametrize("share", [0.7, 0.15])
def test_a_picture_is_the_same_within_any_budget_which_holds_at_every_moment(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled model's UNet takes more than all that is allowed."""
    unet = open_checkpoint("emoji", device="cpu", dtype="float32").unet
    whole = build.size_of(unet.weights, unet.config, "float32")
    pictures: list[torch.Tensor] = []
    held: list[int] = []
    mine = pool()

    def look(*_: object) -> None:
        held.append(mine.bytes_on("cpu"))

    for budget in (None, int(whole * share)):
        mine.release()
        monkeypatch.setattr(mine, "budget", budget)
        hook = torch.nn.modules.module.register_module_forward_pre_hook(look) if budget else None
        results = graphdiff.run(
            find_workflow("text_to_image"),
            {"steps": 2},
            targets=["image"],
            cache=False,
            device="cpu",
            dtype="float32",
        )
        pictures.append(results.outputs["image"].pixels)
        if hook is not None:
            hook.remove()
    mine.release()
    assert 0 < max(held) <= int(whole * share)
    torch.testing.assert_close(pictures[0], pictures[1], atol=1e-4, rtol=0)


def test_a_compiled_unet_needs_room_for_its_frozen_copy(checkpoint: Checkpoint) -> None:
    unet = replace(checkpoint.unet, compiled=True)
    size = build.size_of(unet.weights, unet.config, "float32")
    with pytest.raises(CheckpointError, match=f"takes {2 * size:,} bytes.*without compile"):
        WeightsPool(budget=2 * size - 1).module(unet)


@pytest.mark.parametrize("packs", [False, True])
def test_a_patched_model_takes_no_more_than_the_plain_one_where_there_is_no_room_for_both(
    packs: bool, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    patched = checkpoint.unet.patched(lora_of(checkpoint, tmp_path / "lora.safetensors"))
    size = build.size_of(patched.weights, patched.config, "float32")
    weights = WeightsPool(budget=size + 100, packs=packs)
    sample, states = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 32)
    weights.module(checkpoint.unet)
    with torch.no_grad():
        wanted = WeightsPool().module(patched)(sample, 10, states).sample
        found = weights.module(patched)(sample, 10, states).sample
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert len(weights.resident()) == 1
    assert weights.bytes_on("cpu") <= size + 100


def lora_of(checkpoint: Checkpoint, file: Path) -> LoRA:
    """A LoRA that changes one layer of a UNet."""
    module = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    shape = WeightsPool().module(checkpoint.unet).state_dict()[f"{module}.weight"].shape
    factors = {"A": torch.randn(2, shape[1]), "B": torch.randn(shape[0], 2)}
    save_file({f"unet.{module}.lora_{k}.weight": v for k, v in factors.items()}, file)
    return open_lora(file)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_compiled_unets_with_and_without_a_lora_predict_what_plain_ones_do(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    lora = lora_of(checkpoint, tmp_path / "lora.safetensors")
    weights, plain = WeightsPool(packs=True), WeightsPool()
    sample, states = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 32)
    for unet in (checkpoint.unet, checkpoint.unet.patched(lora)):
        fast = weights.module(replace(unet, compiled=True))
        assert fast is weights.module(replace(unet, compiled=True))
        assert fast is not weights.module(unet)
        with torch.no_grad():
            wanted = plain.module(unet)(sample, torch.tensor(10.0), states).sample
            found = fast(sample, torch.tensor(10.0), states).sample
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        size = build.size_of(unet.weights, unet.config, "float32")
        assert weights.bytes_on("cpu") >= 2 * size


def test_what_is_compiled_has_keys_of_its_own_and_what_is_not_shares_them() -> None:
    workflow = find_workflow("text_to_image")
    keys: list[dict[str, str]] = []
    for chosen in (False, True):
        planned = graphdiff.plan(workflow, {"steps": 2}, cache=False, compile=chosen)
        keys.append({call.name: call.key for call in planned.calls})
    differing = {name for name in keys[0] if keys[0][name] != keys[1][name]}
    assert any(name.endswith(".cond") for name in differing)
    assert "image" in differing
    assert not {"model", "positive", "negative", "schedule"} & differing


def test_where_not_even_a_layer_fits_it_is_said_how_much_is_needed(checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"1,000 are allowed, .* 295,168 bytes; allow more"):
        WeightsPool(budget=1000).module(checkpoint.unet)


def test_when_memory_runs_out_models_leave_and_it_is_tried_again(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpoint.vae is not None
    weights = WeightsPool()
    weights.module(checkpoint.unet)
    failures = [torch.OutOfMemoryError("out of memory")]
    made = build.built

    def short_of_memory(*args: Any, **options: Any) -> torch.nn.Module:
        if failures:
            raise failures.pop()
        return made(*args, **options)

    monkeypatch.setattr("graphdiff.checkpoints.forms.built", short_of_memory)
    weights.module(checkpoint.vae)
    assert [name.split()[0] for name in weights.resident()] == ["AutoencoderKL"]
    failures += [torch.OutOfMemoryError("out of memory")] * 3
    with pytest.raises(torch.OutOfMemoryError):
        weights.module(checkpoint.unet)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*_: Any, **__: Any) -> torch.nn.Module:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(f"graphdiff.checkpoints.pool.{name}", fail)


def test_where_memory_runs_out_for_both_a_patched_model_is_made_alone(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = checkpoint.unet.patched(lora_of(checkpoint, tmp_path / "lora.safetensors"))
    weights = WeightsPool()
    short_of_memory(monkeypatch, "sharing")
    found = weights.module(patched)
    assert weights.module(patched) is found
    assert len(weights.resident()) == 1
    weights.release()
    short_of_memory(monkeypatch, "alone")
    with pytest.raises(torch.OutOfMemoryError):
        weights.module(patched)


def test_a_compiled_unet_on_a_gpu_has_no_frozen_copy(checkpoint: Checkpoint) -> None:
    unet = replace(checkpoint.unet, compiled=True, device="cuda")
    size = build.size_of(unet.weights, unet.config, "float32")
    with pytest.raises(CheckpointError, match=f"takes {size:,} bytes.*without compile"):
        WeightsPool(budget=size - 1).module(unet)


def test_what_is_needed_bounds_what_is_kept_and_streams_nothing(checkpoint: Checkpoint) -> None:
    assert checkpoint.vae is not None
    weights = WeightsPool()
    weights.needed = 1000
    weights.module(checkpoint.vae)
    weights.module(checkpoint.unet)
    (name,) = weights.resident()
    assert name.startswith("UNet2DConditionModel")
    assert "streamed" not in name


def test_encoders_with_loras_stay_within_the_budget_together(sdxl: Path, tmp_path: Path) -> None:
    encoder = open_checkpoint(sdxl, device="cpu").text_encoder
    assert encoder is not None
    key = "text_model.encoder.layers.0.self_attn.q_proj"
    factors: dict[str, torch.Tensor] = {}
    for part, own in zip(("text_encoder", "text_encoder_2"), encoder.encoders, strict=True):
        factors[f"{part}.{key}.lora_A.weight"] = torch.randn(2, own.width)
        factors[f"{part}.{key}.lora_B.weight"] = torch.randn(own.width, 2)
    save_file(factors, tmp_path / "lora.safetensors")
    patched = encoder.patched(open_lora(tmp_path / "lora.safetensors"))
    total = sum(build.size_of(e.weights, e.config, "float32") for e in encoder.encoders)
    made = WeightsPool(budget=total).module(patched)
    held: dict[tuple[str, int], int] = {}
    for each in made:
        held |= build.storages(each.model)
    assert sum(held.values()) <= total
    pool_ = WeightsPool(budget=total)
    first, second = pool_.module(patched)
    assert pool_.bytes_on("cpu") == total
    assert pool_.module(patched)[0].model is first.model
    assert pool_.module(patched)[1].model is second.model


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


@pytest.mark.parametrize("budget", [None, 1_000_000])
def test_a_device_that_torch_does_not_see_is_refused(
    budget: int | None, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CheckpointError, match="sees no cuda device"):
        WeightsPool(budget).module(replace(checkpoint.unet, device="cuda"))


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

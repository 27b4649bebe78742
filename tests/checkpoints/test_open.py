"""Names to handles: without weights, without torch, without the network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from graphdiff.checkpoints import unchanged
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.open import (
    open_checkpoint,
    open_controlnet,
    open_lora,
    open_unet,
    open_vae,
)
from graphdiff.checkpoints.repairs import repaired_scheduler, repaired_unet

HEAVY = ("torch", "numpy", "transformers", "huggingface_hub", "safetensors", "tokenizers")


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, dirs_exist_ok=True))


def changed(path: Path, **entries: Any) -> None:
    """Rewrite keys of a JSON file; None takes them out."""
    data = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def test_opening_the_bundled_model_imports_nothing_heavy() -> None:
    code = (
        "import sys; from graphdiff.checkpoints.open import open_checkpoint; "
        "import graphdiff.checkpoints.pool, graphdiff.checkpoints.info; "
        "print(open_checkpoint('emoji', dtype='auto').family); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["sd1", "[]"]


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_folder_says_what_is_needed_to_check_wires(
    family: str, request: pytest.FixtureRequest
) -> None:
    found = open_checkpoint(request.getfixturevalue(family), device="cpu")
    assert found.family == family
    assert found.vae is not None
    assert found.text_encoder is not None
    assert found.default_size == (64, 64)
    assert found.unet.cross_attention_width == found.text_encoder.width
    assert found.unet.latent_channels == found.vae.latent_channels == 4
    assert found.unet.pooled_width == found.text_encoder.pooled_width
    assert found.unet.pooled_width == (24 if family == "sdxl" else 0)
    assert found.unet.prediction_type == ("v_prediction" if family == "sd2" else "epsilon")
    assert found.force_zeros_for_empty_prompt == (family == "sdxl")
    assert found.vae.scaling_factor == (0.13025 if family == "sdxl" else 0.18215)


def test_a_refiner_is_told_by_its_five_numbers(sdxl: Path, tmp_path: Path) -> None:
    folder = copied(sdxl, tmp_path / "refiner")
    changed(folder / "model_index.json", text_encoder=[None, None], tokenizer=[None, None])
    changed(folder / "unet" / "config.json", projection_class_embeddings_input_dim=5 * 8 + 24)
    found = open_checkpoint(folder, device="cpu")
    assert found.family == "sdxl-refiner"
    assert found.unet.pooled_width == 24
    assert found.unet.time_ids == 5
    assert found.text_encoder is not None
    assert len(found.text_encoder.encoders) == 1


def test_weights_that_change_behind_their_size_and_mtime_are_seen(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "_SETTLED_NS", -(10**12))
    folder = copied(sd1, tmp_path / "model")
    first = open_checkpoint(folder, device="cpu")
    assert open_checkpoint(folder, device="cpu") is first
    file = first.unet.weights.files[0].path
    before = file.stat()
    time.sleep(0.02)  # past one tick of the file system's clock
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        last = opened.read(1)[0]
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([last ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = open_checkpoint(folder, device="cpu")
    assert second.unet.weights.files[0].sha256 != first.unet.weights.files[0].sha256
    assert second.vae == first.vae


def test_the_form_that_a_checkpoint_is_asked_for_in_is_part_of_the_question(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "_SETTLED_NS", -(10**12))
    folder = copied(sd1, tmp_path / "model")
    found = [open_checkpoint(folder, device="cpu", dtype=d) for d in ("float32", "bfloat16")]
    assert [each.unet.dtype for each in found] == ["float32", "bfloat16"]
    whole, own = open_vae(folder, device="cpu"), open_vae(folder / "vae", device="cpu")
    assert whole == own == found[0].vae
    unets = [
        open_unet(folder / "unet", device="cpu", prediction_type=p)
        for p in ("epsilon", "v_prediction")
    ]
    assert [each.prediction_type for each in unets] == ["epsilon", "v_prediction"]


def test_what_a_unet_predicts_can_be_said_of_a_whole_checkpoint_too(sd2: Path) -> None:
    assert open_unet(sd2, device="cpu").prediction_type == "v_prediction"
    assert open_unet(sd2, device="cpu", prediction_type="epsilon").prediction_type == "epsilon"
    assert open_unet(sd2 / "unet", device="cpu").prediction_type == "epsilon"


def test_equal_files_are_equal_handles_wherever_they_lie(sd1: Path, tmp_path: Path) -> None:
    here = open_checkpoint(sd1, device="cpu")
    there = open_checkpoint(copied(sd1, tmp_path / "copy"), device="cpu")
    assert (here.unet, here.vae, here.text_encoder) == (there.unet, there.vae, there.text_encoder)
    assert hash(here.unet) == hash(there.unet)
    assert hash(here.text_encoder) == hash(there.text_encoder)
    bfloat = open_checkpoint(sd1, device="cpu", dtype="bfloat16")
    assert here.unet != bfloat.unet


def test_a_new_vae_leaves_the_other_handles_as_they_are(sd1: Path, tmp_path: Path) -> None:
    before = open_checkpoint(sd1, device="cpu")
    folder = copied(sd1, tmp_path / "copy")
    (file,) = (folder / "vae").glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    after = open_checkpoint(folder, device="cpu")
    assert before.vae != after.vae
    assert (before.unet, before.text_encoder) == (after.unet, after.text_encoder)


def test_a_vae_whose_config_asks_for_float32_gets_it(sd1: Path, tmp_path: Path) -> None:
    folder = copied(sd1, tmp_path / "copy")
    found = open_checkpoint(folder, device="cuda", dtype="float16")
    assert found.vae is not None
    assert (found.unet.dtype, found.vae.dtype) == ("float16", "float32")
    ranged = open_vae(folder, device="cuda", dtype="bfloat16")
    assert (ranged.dtype, ranged.for_encoding.dtype) == ("bfloat16", "float32")
    changed(folder / "vae" / "config.json", force_upcast=False)
    plain = open_vae(folder, device="cuda", dtype="float16")
    assert (plain.dtype, plain.for_encoding.dtype) == ("float16", "float16")


def test_variants_and_shards_are_found(sd1: Path, tmp_path: Path) -> None:
    from graphdiff.models import UNet2DConditionModel

    folder = copied(sd1, tmp_path / "copy")
    model = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    shutil.rmtree(folder / "unet")
    model.save_pretrained(folder / "unet", max_shard_size="300KB")
    shards = open_checkpoint(folder, device="cpu").unet.weights.files
    assert len(shards) > 1
    model.to(torch.bfloat16).save_pretrained(folder / "unet", variant="bf16")
    found = open_unet(folder / "unet", device="cpu", variant="bf16")
    assert [file.path.name for file in found.weights.files] == [
        "diffusion_pytorch_model.bf16.safetensors"
    ]


def test_a_part_without_the_variant_comes_plain_where_another_has_it(
    sd1: Path, tmp_path: Path
) -> None:
    folder = copied(sd1, tmp_path / "copy")
    (file,) = (folder / "unet").glob("*.safetensors")
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    found = open_checkpoint(folder, device="cpu", variant="fp16")
    assert found.unet.weights.files[0].path.name == "diffusion_pytorch_model.fp16.safetensors"
    assert found.vae is not None
    assert found.vae.weights.files[0].path.name == "diffusion_pytorch_model.safetensors"
    with pytest.raises(CheckpointError, match="variant='bf16'"):
        open_checkpoint(folder, device="cpu", variant="bf16")


def test_what_a_repair_adds_to_a_scheduler_is_not_carried_over_to_another(
    sd1: Path, tmp_path: Path
) -> None:
    folder = copied(sd1, tmp_path / "copy")
    changed(folder / "scheduler" / "scheduler_config.json", steps_offset=None, clip_sample=None)
    scheduler = open_checkpoint(folder, device="cpu").scheduler
    assert scheduler.steps_offset == 1
    assert scheduler.clip_sample is False
    assert scheduler.defaulted == {"steps_offset", "clip_sample"}


def test_a_name_that_is_nothing_tells_what_is_near_and_how_to_fetch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="did you mean 'emoji'"):
        open_checkpoint("emojis")
    with pytest.raises(CheckpointError, match="graphdiff models pull some/model --revision v2"):
        open_checkpoint("some/model", revision="v2")
    with pytest.raises(CheckpointError, match="no bundled model, file or folder"):
        open_checkpoint("./does/not/exist.safetensors")


def test_hub_ids_are_read_from_the_local_cache_by_branch_tag_and_commit(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--me--tiny"
    copied(sd1, repository / "snapshots" / commit)
    (repository / "refs" / "refs" / "pr").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "refs" / "refs" / "pr" / "1").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    here = open_checkpoint(sd1, device="cpu")
    for revision in (None, "main", "refs/pr/1", commit):
        assert open_checkpoint("me/tiny", device="cpu", revision=revision).unet == here.unet
    assert open_vae("me/tiny/vae", device="cpu") == here.vae
    with pytest.raises(CheckpointError, match="at revision 'other'"):
        open_checkpoint("me/tiny", revision="other")
    with pytest.raises(CheckpointError, match=r"has no 'lora\.safetensors'"):
        open_lora("me/tiny/lora.safetensors")


def test_a_pipeline_of_another_architecture_is_refused_by_its_parts(
    sd1: Path, tmp_path: Path
) -> None:
    folder = copied(sd1, tmp_path / "copy")
    changed(
        folder / "model_index.json",
        _class_name="FluxPipeline",
        unet=None,
        transformer=["diffusers", "FluxTransformer2DModel"],
    )
    with pytest.raises(CheckpointError, match="FluxPipeline with transformer is not supported"):
        open_checkpoint(folder, device="cpu")


def test_an_unknown_key_in_a_config_is_an_error_at_its_file(sd1: Path, tmp_path: Path) -> None:
    folder = copied(sd1, tmp_path / "copy")
    changed(folder / "unet" / "config.json", only_cross_atention=True)
    with pytest.raises(CheckpointError, match=r"config\.json: .*only_cross_atention"):
        open_checkpoint(folder, device="cpu")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "truncated"),
        (lambda file: file.write_bytes(b"no safetensors at all, but text"), "not a safetensors"),
        (lambda file: file.rename(file.with_suffix(".bin")), "graphdiff models convert"),
        (lambda file: file.unlink(), "there is no"),
    ],
)
def test_a_broken_file_is_found_when_the_checkpoint_is_opened(
    break_it: Any, words: str, sd1: Path, tmp_path: Path
) -> None:
    folder = copied(sd1, tmp_path / "copy")
    (file,) = (folder / "unet").glob("*.safetensors")
    break_it(file)
    with pytest.raises(CheckpointError, match=words) as caught:
        open_checkpoint(folder, device="cpu")
    assert caught.value.file is not None
    assert caught.value.file.is_relative_to(folder / "unet")


def test_a_controlnet_brings_its_family_and_widths(tmp_path: Path) -> None:
    import diffusers

    net = diffusers.ControlNetModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(8, 16),
    )
    net.save_pretrained(tmp_path)
    found = open_controlnet(tmp_path, device="cpu")
    assert (found.family, found.cross_attention_width, found.conditioning_channels) == (
        "sd1",
        32,
        3,
    )


def test_an_unconditional_pipeline_has_neither_vae_nor_text(tmp_path: Path) -> None:
    import diffusers

    unet = diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(32, 32),
        norm_num_groups=8,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(tmp_path)
    found = open_checkpoint(tmp_path, device="cpu")
    assert (found.family, found.vae, found.text_encoder) == ("unconditional", None, None)
    assert found.default_size == (16, 16)
    assert found.unet.cross_attention_width == 0


@pytest.mark.parametrize(
    ("pipeline", "scheduler"),
    [
        (pipeline, scheduler)
        for pipeline in (
            "StableDiffusionPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionInpaintPipeline",
        )
        for scheduler in (
            "PNDMScheduler",
            "DDIMScheduler",
            "EulerDiscreteScheduler",
            "DPMSolverMultistepScheduler",
            "DPMSolverSinglestepScheduler",
            "LCMScheduler",
        )
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_old_scheduler_configs_are_repaired_as_the_pipelines_of_diffusers_do(
    pipeline: str, scheduler: str, sd1: Path
) -> None:
    import diffusers

    parts = {
        part: None
        for part in ("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor")
    }
    config = {"beta_schedule": "scaled_linear"}
    made = getattr(diffusers, scheduler).from_config(config)
    unet = diffusers.UNet2DConditionModel.load_config(sd1 / "unet")
    theirs = getattr(diffusers, pipeline)(
        **parts, unet=_Nothing(unet), scheduler=made, requires_safety_checker=False
    ).scheduler.config
    ours = repaired_scheduler(pipeline, config | {"_class_name": scheduler})
    for key in ("steps_offset", "clip_sample", "skip_prk_steps"):
        assert ours.get(key, theirs.get(key)) == theirs.get(key), key
    untouched = repaired_scheduler("StableDiffusionXLPipeline", config)
    assert untouched == config


class _Nothing(torch.nn.Module):
    """A UNet that is only its config, which is all that a pipeline's constructor reads."""

    def __init__(self, config: Any) -> None:
        from diffusers.configuration_utils import FrozenDict

        super().__init__()
        self.config = FrozenDict(config)


@pytest.mark.parametrize(
    ("version", "size", "repaired"),
    [("0.8.0", 32, 64), ("0.9.0", 32, 32), ("0.6.0", 96, 96), (None, 32, 32)],
)
def test_sample_sizes_from_before_diffusers_0_9_are_repaired(
    version: str | None, size: int, repaired: int
) -> None:
    config: dict[str, Any] = {"sample_size": size}
    if version is not None:
        config["_diffusers_version"] = version
    assert repaired_unet("StableDiffusionPipeline", config)["sample_size"] == repaired
    assert repaired_unet("StableDiffusionXLPipeline", config)["sample_size"] == size

"""A pipeline's parts: shown, replaced, handed to other pipelines, and saved."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import graphdiff
from graphdiff.checkpoints.errors import CheckpointError
from tests.pipelines.compare import TOLERANCE, generator
from tests.pipelines.test_stable_diffusion import mask, picture

FAST: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
KINDS = ("stable_diffusion", "checked", "depth", "controlled", "stable_diffusion_xl")


def draw(pipeline: Any, **options: Any) -> Any:
    needs = type(pipeline).__name__
    if "Img" in needs or "ControlNet" in needs or "Inpaint" in needs:
        options["image"] = picture()
    if "Inpaint" in needs:
        options["mask_image"] = mask()
    return pipeline("a cat", generator=generator(), **FAST, **options).images


def gap(one: Any, other: Any) -> float:
    return float(np.abs(one - other).max())


def test_its_components_are_models_and_a_tokenizer(pipeline: Any) -> None:
    assert type(pipeline.unet).__name__ == "UNet2DConditionModel"
    assert type(pipeline.vae).__name__ == "AutoencoderKL"
    assert type(pipeline.text_encoder).__name__ == "CLIPTextModel"
    assert pipeline.tokenizer.model_max_length == 77
    assert pipeline.components["safety_checker"] is None
    assert set(pipeline.components) >= {"unet", "vae", "scheduler", "text_encoder", "tokenizer"}
    with pytest.raises(AttributeError, match="no 'transformer'"):
        _ = pipeline.transformer


@pytest.mark.parametrize("kind", KINDS)
def test_components_make_a_pipeline_and_are_saved_as_one(
    checkpoint: Any, kind: str, tmp_path: Path
) -> None:
    folder, _ = checkpoint(kind)
    pipeline = graphdiff.DiffusionPipeline.from_pretrained(folder, cache=False)
    wanted = draw(pipeline)
    made = type(pipeline)(**pipeline.components)
    assert gap(draw(made), wanted) < TOLERANCE
    made.save_pretrained(tmp_path / "saved")
    saved = graphdiff.DiffusionPipeline.from_pretrained(tmp_path / "saved", cache=False)
    assert type(saved) is type(pipeline)
    assert gap(draw(saved), wanted) < TOLERANCE


def test_diffusers_reads_what_is_saved(pipeline: Any, tmp_path: Path) -> None:
    import diffusers

    pipeline.scheduler = graphdiff.EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.save_pretrained(tmp_path, variant="fp16", max_shard_size="100KB")
    assert len(list((tmp_path / "unet").glob("*fp16*.safetensors"))) > 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path, variant="fp16")
        theirs.set_progress_bar_config(disable=True)
        wanted = theirs("a cat", generator=generator(), **FAST).images
    assert gap(draw(pipeline), wanted) < TOLERANCE
    with pytest.raises(ValueError, match="only safetensors files are written"):
        pipeline.save_pretrained(tmp_path, safe_serialization=False)


def test_what_is_saved_is_for_whom_the_umask_says(pipeline: Any, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        pipeline.save_pretrained(tmp_path / "saved")
    finally:
        os.umask(before)
    modes = {file: file.stat().st_mode & 0o777 for file in (tmp_path / "saved").rglob("*")}
    assert {mode for file, mode in modes.items() if file.is_file()} == {0o640}
    assert {mode for file, mode in modes.items() if file.is_dir()} == {0o750}


def test_a_folder_that_cannot_be_written_to_is_named(pipeline: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "file", "file exists"), (tmp_path / "file" / "x", "not a dir")):
        with pytest.raises(
            OSError, match=rf"cannot be written to {folder}: {why}.*; give a folder"
        ):
            pipeline.save_pretrained(folder)


@pytest.mark.parametrize(
    ("auto", "name"),
    [
        ("AutoPipelineForText2Image", "StableDiffusionPipeline"),
        ("AutoPipelineForImage2Image", "StableDiffusionImg2ImgPipeline"),
        ("AutoPipelineForInpainting", "StableDiffusionInpaintPipeline"),
    ],
)
def test_another_task_goes_on_with_the_models_of_a_pipeline(
    pipeline: Any, folder: Path, auto: str, name: str
) -> None:
    pipeline.scheduler = graphdiff.EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    cls = getattr(graphdiff, name)
    wanted = cls.from_pretrained(folder, cache=False, scheduler=pipeline.scheduler)
    for made in (cls.from_pipe(pipeline), getattr(graphdiff, auto).from_pipe(pipeline)):
        assert type(made) is cls
        assert made.scheduler is pipeline.scheduler
        assert np.array_equal(draw(made), draw(wanted))


def test_controlnets_and_precision_go_along(checkpoint: Any, folder: Path) -> None:
    steered_folder, _ = checkpoint("controlled")
    net = steered_folder / "controlnet"
    plain = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    steered = graphdiff.AutoPipelineForText2Image.from_pipe(plain.to("bfloat16"), controlnet=net)
    assert type(steered) is graphdiff.StableDiffusionControlNetPipeline
    assert steered.dtype == torch.bfloat16
    again = graphdiff.AutoPipelineForText2Image.from_pipe(steered, torch_dtype=torch.float32)
    assert type(again) is graphdiff.StableDiffusionControlNetPipeline
    assert again.dtype == torch.float32
    free = graphdiff.AutoPipelineForText2Image.from_pipe(again, controlnet=None)
    assert type(free) is graphdiff.StableDiffusionPipeline
    with pytest.raises(CheckpointError, match="DDPMPipeline is for unconditional"):
        graphdiff.DDPMPipeline.from_pipe(plain)


@pytest.mark.parametrize("how", ["argument", "assignment"])
def test_a_model_is_replaced_by_another(folder: Path, how: str) -> None:
    def changed() -> Any:
        vae = graphdiff.AutoencoderKL.from_pretrained(folder, subfolder="vae")
        bias = vae.decoder.conv_out.bias
        assert bias is not None
        with torch.no_grad():
            bias.add_(0.3)
        return vae

    plain = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    before = draw(plain)
    if how == "argument":
        other: Any = graphdiff.StableDiffusionPipeline.from_pretrained(
            folder, cache=False, vae=changed()
        )
    else:
        other = plain
        other.vae = changed()
    gc.collect()  # the pipeline keeps what it needs of a model that nobody else holds
    assert (draw(other) - before).mean() == pytest.approx(0.15, abs=0.05)


def test_a_model_changed_in_place_runs_once_it_is_assigned(pipeline: Any) -> None:
    before = draw(pipeline)
    unet = pipeline.unet
    pipeline.unet = unet
    assert np.array_equal(draw(pipeline), before)
    with torch.no_grad():
        unet.conv_out.weight.mul_(0.5)
    pipeline.unet = unet
    halved = draw(pipeline)
    with torch.no_grad():
        unet.conv_out.weight.mul_(2.0)
    pipeline.unet = unet
    assert gap(halved, before) > 0.01
    assert gap(draw(pipeline), before) < TOLERANCE


def test_a_text_encoder_is_replaced_by_another(
    pipeline: Any, checkpoint: Any, folder: Path
) -> None:
    from tests.nodes import tiny

    made = checkpoint("stable_diffusion")[1]
    encoder = tiny.text_encoder(77)
    before = draw(pipeline)
    pipeline.text_encoder = encoder
    after = draw(pipeline)
    assert gap(after, before) > 1e-4
    tokens = made.tokenizer("a cat", padding="max_length", max_length=77, return_tensors="pt")
    empty = made.tokenizer("", padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        cat, none = (encoder.eval()(each.input_ids)[0] for each in (tokens, empty))
    without = graphdiff.StableDiffusionPipeline.from_pretrained(
        folder, cache=False, text_encoder=None, tokenizer=None
    )
    assert without.text_encoder is None
    options = {"prompt_embeds": cat, "negative_prompt_embeds": none, **FAST}
    assert gap(without(generator=generator(), **options).images, after) < TOLERANCE


def test_a_safety_checker_is_left_out_by_assignment(checkpoint: Any) -> None:
    folder, _ = checkpoint("checked")
    pipeline = graphdiff.StableDiffusionPipeline.from_pretrained(
        folder, cache=False, requires_safety_checker=False
    )
    assert pipeline("a cat", **FAST).nsfw_content_detected == [True]
    pipeline.safety_checker = None
    assert pipeline("a cat", **FAST).nsfw_content_detected is None
    assert pipeline.safety_checker is None
    with pytest.raises(TypeError, match="can only be left out"):
        pipeline.safety_checker = print


@pytest.mark.parametrize("name", ["vae", "unet", "text_encoder", "tokenizer"])
@pytest.mark.parametrize("value", [3, {}])
def test_what_is_no_component_is_refused(pipeline: Any, name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"what from_pretrained gives, not {type(value).__name__}"):
        setattr(pipeline, name, value)


def test_a_saved_controlnet_pipeline_finds_its_net(checkpoint: Any) -> None:
    folder, _ = checkpoint("controlled")
    found = graphdiff.DiffusionPipeline.from_pretrained(folder, cache=False)
    given = graphdiff.StableDiffusionControlNetPipeline.from_pretrained(
        folder, cache=False, controlnet=folder / "controlnet"
    )
    assert np.array_equal(draw(found), draw(given))
    assert type(found.controlnet).__name__ == "ControlNetModel"

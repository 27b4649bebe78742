"""What saves memory gives the same pictures, or those of diffusers' switches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import graphdiff
from graphdiff.checkpoints import devices
from graphdiff.checkpoints.pool import pool
from graphdiff.engine.events import NodeStarted
from graphdiff.pipelines.memory import layers_budget, working_set
from tests.pipelines.compare import TOLERANCE, generator, oracle_of
from tests.pipelines.test_stable_diffusion import picture

FAST: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}
LARGE: dict[str, Any] = {"height": 96, "width": 144}


def draw(pipeline: Any, **options: Any) -> Any:
    return pipeline("a cat", generator=generator(), **FAST, **options).images


def test_attention_is_lean_anyway(pipeline: Any) -> None:
    before = draw(pipeline)
    pipeline.enable_attention_slicing()
    pipeline.enable_xformers_memory_efficient_attention()
    assert np.array_equal(draw(pipeline), before)
    pipeline.disable_attention_slicing()
    pipeline.disable_xformers_memory_efficient_attention()


def test_a_batch_is_decoded_one_by_one(pipeline: Any) -> None:
    seen: list[str] = []

    def watch(event: object) -> None:
        if isinstance(event, NodeStarted):
            seen.append(event.type)

    whole = draw(pipeline, num_images_per_prompt=2)
    pipeline.enable_vae_slicing()
    sliced = draw(pipeline, num_images_per_prompt=2, on_event=watch)
    assert "VAEDecodeTiled" in seen
    assert np.abs(whole - sliced).max() < TOLERANCE
    pipeline.disable_vae_slicing()
    seen.clear()
    draw(pipeline, on_event=watch)
    assert "VAEDecode" in seen


@pytest.mark.parametrize("how", ["pipeline", "model"])
def test_tiles_equal_diffusers(checkpoint: Any, pipeline: Any, how: str) -> None:
    folder, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline")
    before = draw(pipeline, **LARGE)
    oracle.vae.enable_tiling()
    try:
        wanted = oracle("a cat", generator=generator(), **FAST, **LARGE).images
    finally:
        oracle.vae.disable_tiling()
    if how == "pipeline":
        pipeline.enable_vae_tiling()
    else:
        pipeline.vae.enable_tiling()
    found = draw(pipeline, **LARGE)
    assert np.abs(found - wanted).max() < TOLERANCE
    assert np.abs(found - before).max() > 1e-3
    if how == "pipeline":
        pipeline.disable_vae_tiling()
    else:
        pipeline.vae.disable_tiling()
    assert np.array_equal(draw(pipeline, **LARGE), before)


@pytest.mark.filterwarnings("ignore:You have passed 2 text prompts:FutureWarning")
def test_pictures_are_encoded_in_tiles_as_in_diffusers(checkpoint: Any) -> None:
    folder, made = checkpoint("stable_diffusion")
    name = "StableDiffusionImg2ImgPipeline"
    oracle = oracle_of(folder, made, name)
    options: dict[str, Any] = {"image": picture(144, 96), "strength": 0.9}
    options |= {"num_images_per_prompt": 2, "num_inference_steps": 4, "output_type": "np"}
    oracle.vae.enable_tiling()
    try:
        wanted = oracle("a cat", generator=generator(), **options).images
    finally:
        oracle.vae.disable_tiling()
    ours = graphdiff.StableDiffusionImg2ImgPipeline.from_pretrained(folder, cache=False)
    ours.enable_vae_tiling()
    found = ours("a cat", generator=generator(), **options).images
    assert np.abs(found - wanted).max() < TOLERANCE


def test_the_switches_of_one_pipeline_are_its_own(checkpoint: Any, pipeline: Any) -> None:
    folder, _ = checkpoint("stable_diffusion")
    other = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    pipeline.vae.enable_tiling()
    assert not other.vae.use_tiling


def test_models_leave_an_accelerator_when_others_come(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda: True)
    monkeypatch.setattr(pool(), "needed", None)
    pipeline.enable_model_cpu_offload()
    assert pipeline.device == torch.device("cuda")
    pipeline.to("cpu")  # which holds the same weights, and is there
    unet = sum(each.numel() for each in pipeline.unet.parameters())
    draw(pipeline)
    assert pool().needed == 4 * unet == working_set(pipeline._setup, pipeline._session.settings)
    pipeline.to(torch.bfloat16)
    assert working_set(pipeline._setup, pipeline._session.settings) == 2 * unet
    assert pool().budget is None  # nothing is streamed, of no other pipeline either


@pytest.mark.parametrize("kind", ["stable_diffusion", "stable_diffusion_xl", "checked"])
def test_layers_leave_an_accelerator_when_others_come(
    checkpoint: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = checkpoint(kind)
    monkeypatch.setattr(devices, "_has_cuda", lambda: True)
    pipeline = graphdiff.DiffusionPipeline.from_pretrained(folder, cache=False)
    wanted = draw(pipeline)
    pipeline.enable_sequential_cpu_offload()
    assert pipeline.device == torch.device("cuda")
    pipeline.to("cpu")  # which can stream, too, and is there
    pool().release()
    bounds: list[int | None] = []
    seen: set[str] = set()

    def watch(_: object) -> None:
        bounds.append(pool().budget)
        seen.update(pool().resident())

    found = draw(pipeline, on_event=watch)
    assert np.abs(found - wanted).max() < TOLERANCE
    (budget,) = set(bounds)
    assert budget == layers_budget(pipeline._setup, pipeline._session.settings)
    assert pool().bytes_on("cpu") <= budget
    unet = sum(each.numel() for each in pipeline.unet.parameters()) * 4
    if kind != "checked":  # its safety checker is large, and is not divided
        assert budget < unet
        assert any("UNet" in name and "streamed" in name for name in seen)
    assert pool().budget is None  # other pipelines keep theirs whole
    pool().release()


def test_another_device_than_the_first_is_refused(pipeline: Any) -> None:
    for place in ("cuda:1", torch.device("cuda", 1)):
        with pytest.raises(ValueError, match=r"device 1 is asked for.*CUDA_VISIBLE_DEVICES"):
            pipeline.to(place)
    assert pipeline.to("cpu").device == torch.device("cpu")


def test_without_an_accelerator_there_is_nothing_to_keep_away_from(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda: False)
    monkeypatch.setattr(devices, "_has_mps", lambda: False)
    for enable in (pipeline.enable_model_cpu_offload, pipeline.enable_sequential_cpu_offload):
        with pytest.raises(RuntimeError, match="there is no accelerator"):
            enable()
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES"):
        pipeline.enable_model_cpu_offload(gpu_id=1)

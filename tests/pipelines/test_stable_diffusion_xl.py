"""SDXL's pipelines give the pictures that diffusers' give."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import graphdiff
from tests.pipelines.compare import TOLERANCE, difference, generator, oracle_of
from tests.pipelines.test_stable_diffusion import mask, picture


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"negative_prompt": "blue", "prompt_2": "a dog", "negative_prompt_2": "green"},
        {"original_size": (100, 120), "crops_coords_top_left": (3, 5), "target_size": (64, 80)},
        {"prompt": ["a cat", "a dog"], "negative_prompt": "blue"},
        {"height": 72, "width": 56, "guidance_rescale": 0.5},
        {"clip_skip": 1, "guidance_scale": 1.0},
        {"negative_original_size": (64, 32), "negative_target_size": (32, 64)},
    ],
    ids=["zeros", "two_prompts", "sizes", "batch", "shape", "skip", "negative_sizes"],
)
def test_text_to_image_equals_diffusers(checkpoint: Any, arguments: dict[str, Any]) -> None:
    folder, made = checkpoint("stable_diffusion_xl")
    options: dict[str, Any] = {"prompt": "a red apple"} | arguments
    assert difference(made, folder, "StableDiffusionXLPipeline", **options) < TOLERANCE


@pytest.mark.parametrize("scheduler", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_image_to_image_equals_diffusers(checkpoint: Any, scheduler: str) -> None:
    folder, made = checkpoint("stable_diffusion_xl")
    name = "StableDiffusionXLImg2ImgPipeline"
    oracle = oracle_of(folder, made, name, scheduler, add_watermarker=False)
    options: dict[str, Any] = {"image": picture(72, 80), "prompt": "a cat", "strength": 0.6}
    options |= {"num_inference_steps": 6}
    assert difference(oracle, folder, name, scheduler=scheduler, **options) < TOLERANCE


@pytest.mark.parametrize("kind", ["stable_diffusion_xl", "xl_inpainting"])
@pytest.mark.parametrize("strength", [1.0, 0.7])
def test_inpainting_equals_diffusers(checkpoint: Any, kind: str, strength: float) -> None:
    folder, made = checkpoint(kind)
    name = "StableDiffusionXLInpaintPipeline"
    oracle = oracle_of(folder, made, name, add_watermarker=False)
    options: dict[str, Any] = {"image": picture(50, 60), "mask_image": mask(50, 60)}
    options |= {"prompt": "a cat", "strength": strength, "num_inference_steps": 5}
    assert difference(oracle, folder, name, **options) < TOLERANCE


def test_the_refiner_equals_diffusers(checkpoint: Any) -> None:
    folder, made = checkpoint("xl_refiner")
    name = "StableDiffusionXLImg2ImgPipeline"
    options: dict[str, Any] = {"image": picture(), "prompt": "a cat", "strength": 0.5}
    options |= {"aesthetic_score": 7.0, "num_inference_steps": 6}
    assert difference(made, folder, name, **options) < TOLERANCE


def test_base_and_refiner_share_the_noise_as_in_diffusers(checkpoint: Any) -> None:
    base_folder, base = checkpoint("stable_diffusion_xl")
    refiner_folder, refiner = checkpoint("xl_refiner")
    first: dict[str, Any] = {
        "num_inference_steps": 8,
        "denoising_end": 0.7,
        "output_type": "latent",
    }
    second: dict[str, Any] = {"num_inference_steps": 8, "denoising_start": 0.7, "output_type": "np"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        latents = base("a cat", generator=generator(), **first).images
        wanted = refiner("a cat", image=latents, generator=generator(), **second).images
    ours = graphdiff.StableDiffusionXLPipeline.from_pretrained(base_folder, cache=False)
    then = graphdiff.StableDiffusionXLImg2ImgPipeline.from_pretrained(refiner_folder, cache=False)
    latents = ours("a cat", generator=generator(), **first).images
    found = then("a cat", image=latents, generator=generator(), **second).images
    assert np.abs(found - wanted).max() < TOLERANCE


def test_controlnet_equals_diffusers(checkpoint: Any) -> None:
    folder, made = checkpoint("xl_controlled")
    name = "StableDiffusionXLControlNetPipeline"
    options: dict[str, Any] = {"image": picture(72, 64), "prompt": "a cat"}
    net = {"controlnet": folder / "controlnet"}
    assert difference(made, folder, name, ours=net, **options) < TOLERANCE


def test_a_checkpoint_of_another_family_is_refused_with_the_class_that_fits(
    checkpoint: Any,
) -> None:
    folder, _ = checkpoint("stable_diffusion_xl")
    with pytest.raises(ValueError, match="sdxl, a StableDiffusionXLPipeline"):
        graphdiff.StableDiffusionPipeline.from_pretrained(folder)

"""SDXL's pipelines give the pictures that diffusers' give."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

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


def test_sizes_are_told_beside_prompts_that_come_encoded(checkpoint: Any) -> None:
    folder, made = checkpoint("stable_diffusion_xl")
    with torch.no_grad():
        vectors = made.encode_prompt("a cat", device="cpu", negative_prompt="blue")
    names = ["prompt_embeds", "negative_prompt_embeds"]
    names += ["pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    options: dict[str, Any] = dict(zip(names, vectors, strict=True))
    options |= {"original_size": (20, 30), "crops_coords_top_left": (30, 5)}
    options |= {"negative_original_size": (64, 32), "negative_target_size": (32, 64)}
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


BEGUN = torch.randn(1, 4, 16, 16, generator=generator(5))
KEPT = torch.randn(1, 4, 16, 16, generator=generator(6))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("stable_diffusion_xl", {"image": BEGUN, "denoising_start": 0.4}),
        ("stable_diffusion_xl", {"denoising_start": 0.4, "strength": 1.0}),
        ("stable_diffusion_xl", {"image": BEGUN, "denoising_start": 0.3, "strength": 0.5}),
        ("stable_diffusion_xl", {"masked_image_latents": KEPT}),
        ("xl_inpainting", {"masked_image_latents": KEPT, "denoising_end": 0.6}),
        ("xl_inpainting", {"denoising_start": 0.4, "strength": 0.5}),
        (
            "xl_inpainting",
            {"image": BEGUN, "masked_image_latents": KEPT, "denoising_start": 0.4},
        ),
    ],
    ids=["latents", "picture", "strength", "kept", "end", "sees_picture", "sees_latents"],
)
def test_inpainting_goes_on_and_breaks_off_as_in_diffusers(
    checkpoint: Any, kind: str, arguments: dict[str, Any]
) -> None:
    folder, made = checkpoint(kind)
    name = "StableDiffusionXLInpaintPipeline"
    scheduler = "EulerAncestralDiscreteScheduler"
    oracle = oracle_of(folder, made, name, scheduler, add_watermarker=False)
    options: dict[str, Any] = {"image": picture(), "mask_image": mask(), "prompt": "a cat"}
    options |= {"num_inference_steps": 5, "num_images_per_prompt": 2} | arguments
    assert difference(oracle, folder, name, scheduler=scheduler, **options) < TOLERANCE


def test_what_is_kept_is_noised_as_far_as_what_another_model_goes_on_with(
    checkpoint: Any,
) -> None:
    folder, made = checkpoint("stable_diffusion_xl")
    name = "StableDiffusionXLInpaintPipeline"
    oracle = oracle_of(folder, made, name, add_watermarker=False)
    options: dict[str, Any] = {"image": picture(), "mask_image": mask(), "prompt": "a cat"}
    options |= {"num_inference_steps": 8, "denoising_end": 0.5, "output_type": "latent"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = oracle(generator=generator(), **options).images
    ours = graphdiff.StableDiffusionXLInpaintPipeline.from_pretrained(folder, cache=False)
    found = ours(generator=generator(), **options).images
    painted = torch.nn.functional.interpolate(
        torch.tensor(np.asarray(mask()) > 0).float()[None, None], (16, 16)
    )
    gap = found - wanted
    assert (gap * painted).abs().max() < TOLERANCE
    # Diffusers puts the picture itself where it is kept, which is none of this noise level.
    noise = gap[(painted == 0).expand_as(gap)]
    assert noise.std() > 0.1
    assert abs(noise.mean() / noise.std()) < 0.2


def test_vectors_of_a_prompt_and_pooled_ones_go_together(checkpoint: Any) -> None:
    folder, _ = checkpoint("stable_diffusion_xl")
    ours = graphdiff.StableDiffusionXLPipeline.from_pretrained(folder, cache=False)
    vectors, _, pooled, _ = ours.encode_prompt("a cat")
    with pytest.raises(ValueError, match="prompt_embeds and pooled_prompt_embeds go together"):
        ours(prompt_embeds=vectors)
    with pytest.raises(ValueError, match="negative_prompt_embeds and negative_pooled_prompt_emb"):
        ours("a cat", negative_pooled_prompt_embeds=pooled)


def test_the_noise_and_what_another_model_began_exclude_each_other(checkpoint: Any) -> None:
    folder, _ = checkpoint("stable_diffusion_xl")
    ours = graphdiff.StableDiffusionXLInpaintPipeline.from_pretrained(folder, cache=False)
    options: dict[str, Any] = {"image": picture(), "mask_image": mask(), "denoising_start": 0.4}
    with pytest.raises(ValueError, match=r"give either latents, .*, or denoising_start"):
        ours("a cat", latents=KEPT, **options)
    with pytest.raises(ValueError, match=r"denoising_start is 0\.4 and denoising_end is 0\.3"):
        ours("a cat", denoising_end=0.3, **options)


@pytest.mark.parametrize("arguments", [{"latents": KEPT}, {"denoising_start": 0.4}])
def test_image_to_image_starts_from_latents_of_ones_own(
    checkpoint: Any, arguments: dict[str, Any]
) -> None:
    folder, made = checkpoint("stable_diffusion_xl")
    name = "StableDiffusionXLImg2ImgPipeline"
    scheduler = "EulerAncestralDiscreteScheduler"
    oracle = oracle_of(folder, made, name, scheduler, add_watermarker=False)
    options: dict[str, Any] = {"image": BEGUN, "prompt": "a cat", "num_inference_steps": 6}
    options |= {"strength": 0.6} | arguments
    if "latents" not in arguments:
        options["num_images_per_prompt"] = 2
    assert difference(oracle, folder, name, scheduler=scheduler, **options) < TOLERANCE


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

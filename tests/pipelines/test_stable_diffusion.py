"""Stable Diffusion's pipelines give the pictures that diffusers' give."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest
import torch

import graphdiff
from graphdiff.engine.events import NodeCached
from tests.pipelines.compare import TOLERANCE, difference, generator, oracle_of

SCHEDULERS = (
    "PNDMScheduler",
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "HeunDiscreteScheduler",
    "UniPCMultistepScheduler",
)


def picture(width: int = 64, height: int = 64, seed: int = 0) -> PIL.Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise).resize((width, height), PIL.Image.Resampling.BICUBIC)


def mask(width: int = 64, height: int = 64) -> PIL.Image.Image:
    drawn = PIL.Image.new("L", (width, height), 0)
    drawn.paste(255, (width // 4, height // 3, width - 7, height - 9))
    return drawn


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_text_to_image_equals_diffusers(checkpoint: Any, scheduler: str) -> None:
    folder, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline", scheduler)
    assert (
        difference(
            oracle,
            folder,
            "StableDiffusionPipeline",
            scheduler=scheduler,
            prompt="a red apple",
            negative_prompt="blue",
            height=72,
            width=88,
        )
        < TOLERANCE
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": ["a cat", "a red apple"], "num_images_per_prompt": 2},
        {"prompt": "a cat", "guidance_scale": 1.0},
        {"prompt": "a cat", "guidance_rescale": 0.7},
        {"prompt": "a cat", "clip_skip": 1},
        {"prompt": "a cat", "latents": torch.randn(1, 4, 16, 16, generator=generator(3))},
        {"prompt": "word " * 100},
    ],
    ids=["batch", "unguided", "rescaled", "clip_skip", "latents", "too_long"],
)
@pytest.mark.filterwarnings("ignore:the prompt has:UserWarning")
def test_options_of_a_call_mean_what_they_mean_in_diffusers(
    checkpoint: Any, arguments: dict[str, Any]
) -> None:
    folder, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline")
    encoder = oracle.text_encoder  # transformers 5 has no `text_model`, which diffusers asks for
    shim = SimpleNamespace(final_layer_norm=encoder.final_layer_norm)
    object.__setattr__(encoder, "text_model", shim)
    assert difference(oracle, folder, "StableDiffusionPipeline", **arguments) < TOLERANCE


@pytest.mark.parametrize("guidance", [8.0, 1.0])
def test_a_distilled_model_equals_diffusers(checkpoint: Any, guidance: float) -> None:
    folder, made = checkpoint("distilled")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline", "LCMScheduler")
    options: dict[str, Any] = {"scheduler": "LCMScheduler", "prompt": "a cat"}
    options |= {"guidance_scale": guidance}
    assert difference(oracle, folder, "StableDiffusionPipeline", **options) < TOLERANCE


def test_a_list_of_generators_gives_each_picture_its_own(checkpoint: Any) -> None:
    folder, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline", "EulerAncestralDiscreteScheduler")

    def several() -> list[torch.Generator]:
        return [generator(1), generator(2)]

    assert (
        difference(
            oracle,
            folder,
            "StableDiffusionPipeline",
            scheduler="EulerAncestralDiscreteScheduler",
            random=several,
            prompt=["a cat", "a dog"],
        )
        < TOLERANCE
    )


def test_a_picture_of_a_batch_is_the_one_of_its_generator_alone(checkpoint: Any) -> None:
    folder, _ = checkpoint("stable_diffusion")
    pipeline = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    options: dict[str, Any] = {"num_inference_steps": 3, "output_type": "pt"}
    both = pipeline(["a cat", "a dog"], generator=[generator(1), generator(2)], **options).images
    alone = pipeline("a dog", generator=generator(2), **options).images
    assert (both[1] - alone[0]).abs().max() < TOLERANCE


def test_eta_draws_noise_in_ddim(checkpoint: Any) -> None:
    folder, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline", "DDIMScheduler")
    name = "StableDiffusionPipeline"
    options: dict[str, Any] = {"scheduler": "DDIMScheduler", "prompt": "a cat", "eta": 0.7}
    assert difference(oracle, folder, name, **options) < TOLERANCE


@pytest.mark.parametrize("scheduler", ["PNDMScheduler", "EulerAncestralDiscreteScheduler"])
@pytest.mark.parametrize("size", [(64, 64), (75, 90)])
def test_image_to_image_equals_diffusers(
    checkpoint: Any, scheduler: str, size: tuple[int, int]
) -> None:
    folder, made = checkpoint("stable_diffusion")
    name = "StableDiffusionImg2ImgPipeline"
    oracle = oracle_of(folder, made, name, scheduler)
    options: dict[str, Any] = {"image": picture(*size), "strength": 0.65, "prompt": "a cat"}
    options |= {"num_inference_steps": 6, "num_images_per_prompt": 2}
    assert difference(oracle, folder, name, scheduler=scheduler, **options) < TOLERANCE


@pytest.mark.parametrize("form", ["tensor", "array", "latents"])
def test_pictures_may_be_tensors_arrays_and_latents(checkpoint: Any, form: str) -> None:
    folder, made = checkpoint("stable_diffusion")
    name = "StableDiffusionImg2ImgPipeline"
    pixels = np.asarray(picture()).astype(np.float32) / 255
    image: Any = {
        "tensor": torch.tensor(pixels).permute(2, 0, 1)[None] * 2 - 1,
        "array": pixels[None],
        "latents": torch.randn(1, 4, 16, 16, generator=generator(4)),
    }[form]
    oracle = oracle_of(folder, made, name)
    assert difference(oracle, folder, name, image=image, prompt="a cat") < TOLERANCE


@pytest.mark.parametrize("kind", ["stable_diffusion", "inpainting"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("scheduler", ["PNDMScheduler", "EulerAncestralDiscreteScheduler"])
def test_inpainting_equals_diffusers(
    checkpoint: Any, kind: str, strength: float, scheduler: str
) -> None:
    folder, made = checkpoint(kind)
    name = "StableDiffusionInpaintPipeline"
    oracle = oracle_of(folder, made, name, scheduler)
    options: dict[str, Any] = {"image": picture(50, 60), "mask_image": mask(50, 60)}
    options |= {"prompt": "a cat", "strength": strength, "num_inference_steps": 5}
    found = difference(oracle, folder, name, scheduler=scheduler, **options)
    assert found < TOLERANCE


def crop_difference(
    checkpoint: Any, kind: str, name: str, size: tuple[int, int], where: Any, **options: Any
) -> float:
    """How far a part that is painted and pasted back is apart from diffusers'."""
    folder, made = checkpoint(kind)
    oracle = oracle_of(folder, made, name)
    options |= {"image": picture(*size), "mask_image": where, "prompt": "a cat"}
    options |= {"num_inference_steps": 3, "output_type": "pil"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = oracle(generator=generator(), **options).images
    ours = getattr(graphdiff, name).from_pretrained(folder, cache=False)
    found = ours(generator=generator(), **options).images
    assert [each.size for each in found] == [each.size for each in wanted]
    assert np.asarray(found[0]).std() > 20
    pairs = zip(found, wanted, strict=True)
    return max(float(np.abs(np.float32(a) - np.float32(b)).max()) for a, b in pairs)


@pytest.mark.parametrize("kind", ["stable_diffusion", "inpainting"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("form", ["picture", "latents"])
def test_a_masked_picture_may_come_as_latents(
    checkpoint: Any, kind: str, strength: float, form: str
) -> None:
    folder, made = checkpoint(kind)
    name = "StableDiffusionInpaintPipeline"
    oracle = oracle_of(folder, made, name, "EulerAncestralDiscreteScheduler")
    shape = (1, 4, 16, 16)
    image: Any = picture() if form == "picture" else torch.randn(shape, generator=generator(5))
    options: dict[str, Any] = {"image": image, "mask_image": mask(), "prompt": "a cat"}
    options |= {"strength": strength, "num_images_per_prompt": 2}
    options["masked_image_latents"] = torch.randn(shape, generator=generator(6))
    scheduler = "EulerAncestralDiscreteScheduler"
    assert difference(oracle, folder, name, scheduler=scheduler, **options) < TOLERANCE


@pytest.mark.parametrize("kind", ["stable_diffusion", "inpainting"])
def test_a_picture_inpainted_in_a_batch_is_the_one_of_its_generator_alone(
    checkpoint: Any, kind: str
) -> None:
    cls = graphdiff.StableDiffusionInpaintPipeline
    pipeline = cls.from_pretrained(checkpoint(kind)[0], cache=False)
    options: dict[str, Any] = {"image": picture(), "mask_image": mask(), "strength": 0.7}
    options |= {"num_inference_steps": 3, "output_type": "pt"}
    both = [generator(1), generator(2)]
    found = pipeline("a cat", num_images_per_prompt=2, generator=both, **options).images
    # Diffusers would encode the picture for the first one alone, so that the second is another.
    alone = pipeline("a cat", generator=generator(2), **options).images
    assert (found[1] - alone[0]).abs().max() < TOLERANCE


def test_what_latents_cannot_tell_an_inpainting_model_is_asked_for(checkpoint: Any) -> None:
    cls = graphdiff.StableDiffusionInpaintPipeline
    seeing = cls.from_pretrained(checkpoint("inpainting")[0], cache=False)
    options: dict[str, Any] = {"image": torch.randn(1, 4, 16, 16), "mask_image": mask()}
    options |= {"num_inference_steps": 2, "output_type": "np"}
    with pytest.raises(ValueError, match="give masked_image_latents beside latents as image"):
        seeing("a cat", **options)
    wrong = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match=r"masked_image_latents is \(1, 3, 64, 64\), but"):
        seeing("a cat", **options, masked_image_latents=wrong)
    blind = cls.from_pretrained(checkpoint("stable_diffusion")[0], cache=False)
    assert np.isfinite(blind("a cat", **options).images).all()


SOFT = mask(120, 90).filter(PIL.ImageFilter.GaussianBlur(6))
CORNER = PIL.Image.new("L", (120, 90), 0)
CORNER.paste(255, (100, 2, 118, 88))


@pytest.mark.parametrize(
    ("where", "padding", "options"),
    [
        (mask(120, 90), 8, {}),
        (SOFT, 0, {"num_images_per_prompt": 2}),
        (CORNER, 4, {"strength": 0.7}),
        (CORNER, 4, {"height": 32, "width": 96}),
        (mask(120, 90).convert("1"), 300, {"height": 72, "width": 64}),
    ],
    ids=["plain", "soft", "corner", "wide", "two-coloured"],
)
@pytest.mark.parametrize("kind", ["stable_diffusion", "inpainting"])
def test_painting_a_part_around_the_mask_equals_diffusers(
    checkpoint: Any, kind: str, where: Any, padding: int, options: dict[str, Any]
) -> None:
    name = "StableDiffusionInpaintPipeline"
    found = crop_difference(
        checkpoint, kind, name, (120, 90), where, padding_mask_crop=padding, **options
    )
    assert found <= 1  # of 255: what is rounded may fall to the other side


def test_a_part_that_was_painted_is_found_again_in_another_process(
    checkpoint: Any, tmp_path: Path
) -> None:
    folder, _ = checkpoint("stable_diffusion")
    options: dict[str, Any] = {"image": picture(120, 90), "mask_image": mask(120, 90)}
    options |= {"prompt": "a cat", "padding_mask_crop": 4, "num_inference_steps": 2}
    cls = graphdiff.StableDiffusionInpaintPipeline
    first = cls.from_pretrained(folder, cache=tmp_path)
    wanted = first(generator=generator(), **options).images[0]
    again = cls.from_pretrained(folder, cache=tmp_path)
    assert again(generator=generator(), **options).images[0] == wanted
    assert {type(event) for event in again.events if hasattr(event, "node")} == {NodeCached}
    again(generator=generator(), **options | {"padding_mask_crop": 9})
    assert not {type(event) for event in again.events if hasattr(event, "node")} <= {NodeCached}


def test_a_part_is_pasted_back_in_other_forms_too(checkpoint: Any) -> None:
    folder, _ = checkpoint("stable_diffusion")
    pipeline = graphdiff.StableDiffusionInpaintPipeline.from_pretrained(folder, cache=False)
    whole = picture(120, 90)
    options: dict[str, Any] = {"image": whole, "mask_image": mask(120, 90), "prompt": "a cat"}
    options |= {"padding_mask_crop": 4, "num_inference_steps": 2}
    found = pipeline(output_type="np", **options).images[0]
    kept = np.asarray(mask(120, 90)) == 0
    assert np.array_equal(found[kept], (np.asarray(whole) / 255).astype(np.float32)[kept])
    assert not np.array_equal(found, (np.asarray(whole) / 255).astype(np.float32))
    with pytest.raises(ValueError, match="must be pil, np or pt"):
        pipeline(output_type="latent", **options)
    with pytest.raises(ValueError, match="image must be one picture of PIL's, not Tensor"):
        pipeline(**options | {"image": torch.rand(3, 90, 120)})
    with pytest.raises(graphdiff.RunError, match="the mask is black everywhere"):
        pipeline(**options | {"mask_image": PIL.Image.new("L", (120, 90))})
    with pytest.raises(graphdiff.RunError, match="120x90 pixels and the mask 60x90"):
        pipeline(**options | {"mask_image": PIL.Image.new("L", (60, 90))})


def test_depth_to_image_equals_diffusers(checkpoint: Any) -> None:
    folder, made = checkpoint("depth")
    name = "StableDiffusionDepth2ImgPipeline"
    options: dict[str, Any] = {"image": picture(70, 66), "prompt": "a cat"}
    assert difference(made, folder, name, **options) < TOLERANCE


def test_a_depth_map_of_ones_own_is_taken(checkpoint: Any) -> None:
    folder, made = checkpoint("depth")
    name = "StableDiffusionDepth2ImgPipeline"
    depth = torch.rand(1, 40, 48, generator=generator())
    options: dict[str, Any] = {"image": picture(64, 64), "prompt": "a cat", "depth_map": depth}
    assert difference(made, folder, name, **options) < TOLERANCE


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"controlnet_conditioning_scale": 0.6, "guidance_scale": 1.0},
        {"control_guidance_start": 0.3, "control_guidance_end": 0.8},
        {"guess_mode": True},
    ],
    ids=["plain", "unguided", "window", "guess"],
)
def test_controlnet_equals_diffusers(checkpoint: Any, arguments: dict[str, Any]) -> None:
    folder, made = checkpoint("controlled")
    name = "StableDiffusionControlNetPipeline"
    options: dict[str, Any] = {"image": picture(72, 64), "prompt": "a cat"} | arguments
    net = {"controlnet": folder / "controlnet"}
    assert difference(made, folder, name, ours=net, **options) < TOLERANCE


def test_two_controlnets_add_up(checkpoint: Any) -> None:
    folder, made = checkpoint("controlled")
    name = "StableDiffusionControlNetPipeline"
    oracle = oracle_of(folder, made, name, controlnet=[made.controlnet, made.controlnet])
    net = {"controlnet": [folder / "controlnet", made.controlnet]}
    options: dict[str, Any] = {"image": [picture(), picture(seed=1)], "prompt": "a cat"}
    options |= {"controlnet_conditioning_scale": [0.4, 0.8], "control_guidance_end": [1.0, 0.5]}
    assert difference(oracle, folder, name, ours=net, **options) < TOLERANCE


def test_what_the_safety_checker_objects_to_is_black(checkpoint: Any) -> None:
    folder, made = checkpoint("checked")
    pipeline = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    options: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}
    found = pipeline("a cat", generator=generator(), **options)
    wanted = made("a cat", generator=generator(), **options)
    assert found.nsfw_content_detected == wanted.nsfw_content_detected == [True]
    assert not found.images.any()
    free = graphdiff.StableDiffusionPipeline.from_pretrained(
        folder, cache=False, safety_checker=None
    )("a cat", generator=generator(), **options)
    assert free.nsfw_content_detected is None
    assert free.images.any()

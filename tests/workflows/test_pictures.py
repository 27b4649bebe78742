"""Shipped workflows give the pictures that diffusers' pipelines give from the same seed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import graphdiff
from graphdiff.shipped import find_workflow
from tests.pipelines.compare import TOLERANCE, generator, oracle_of
from tests.pipelines.test_stable_diffusion import mask, picture

SEED = 7


def draw(name: str, target: str = "image", **inputs: Any) -> Any:
    """One value of a workflow, as diffusers gives pictures: (batch, height, width, channels)."""
    given = {"seed": SEED, "steps": 5} | inputs
    results = graphdiff.run(
        find_workflow(name), given, targets=[target], cache=False, device="cpu", dtype="float32"
    )
    return results.outputs[target].pixels.permute(0, 2, 3, 1).numpy()


def ask(oracle: Any, *prompts: str, **options: Any) -> Any:
    """Diffusers' picture."""
    given = {"num_inference_steps": 5, "output_type": "np"} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return oracle(*prompts, generator=generator(SEED), **given).images


def apart(found: Any, wanted: Any) -> float:
    assert found.shape == wanted.shape
    assert wanted.std() > 0.05
    return float(np.abs(found - wanted).max())


@pytest.fixture
def plain(checkpoint: Any) -> tuple[Path, Any]:
    folder, made = checkpoint("stable_diffusion")
    return folder, oracle_of(folder, made, "StableDiffusionPipeline")


def test_text_to_image(plain: Any) -> None:
    folder, oracle = plain
    wanted = ask(oracle, "a cat", negative_prompt="blue", height=72, width=88, guidance_scale=4.0)
    options: dict[str, Any] = {"negative": "blue", "height": 72, "width": 88, "guidance": 4.0}
    found = draw("text_to_image", checkpoint=str(folder), prompt="a cat", **options)
    assert apart(found, wanted) < TOLERANCE


def test_another_scheduler(checkpoint: Any) -> None:
    folder, made = checkpoint("stable_diffusion")
    name = "DPMSolverMultistepScheduler"
    oracle = oracle_of(folder, made, "StableDiffusionPipeline", name)
    found = draw("another_scheduler", checkpoint=str(folder), scheduler=name, prompt="a cat")
    assert apart(found, ask(oracle, "a cat", guidance_scale=5.0)) < TOLERANCE


def test_prompt_list(plain: Any, tmp_path: Path) -> None:
    folder, oracle = plain
    prompts = ["a cat", "a red apple"]
    results = graphdiff.run(
        find_workflow("prompt_list"),
        {"checkpoint": str(folder), "prompts": prompts, "seed": SEED, "steps": 5},
        targets=["pictures"],
        output_dir=tmp_path,
        cache=False,
        device="cpu",
    )
    images = results.outputs["pictures"]["images"]
    for prompt, image in zip(prompts, images, strict=True):
        wanted = ask(oracle, prompt, guidance_scale=5.0)
        assert apart(image.pixels.permute(0, 2, 3, 1).numpy(), wanted) < TOLERANCE


def test_guidance_by_step(plain: Any) -> None:
    folder, oracle = plain
    oracle = oracle_of(folder, oracle, "StableDiffusionPipeline", "DDIMScheduler")
    scales = np.linspace(0, 1, 5)
    scales = 8 + (2 - 8) * (1 - np.cos(np.pi * scales)) / 2

    def change(pipe: Any, i: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._guidance_scale = scales[min(i + 1, 4)]
        return tensors

    wanted = ask(oracle, "a cat", guidance_scale=8.0, callback_on_step_end=change)
    text = find_workflow("guidance_by_step").read_text(encoding="utf-8")
    text = text.replace("$model.scheduler", "$ddim").replace(
        "  schedule:",
        "  ddim: {type: Scheduler, name: DDIMScheduler, base: $model.scheduler}\n  schedule:",
    )
    file = folder.parent / "guidance.yaml"
    file.write_text(text.replace("base: $ddim", "base: $model.scheduler"), encoding="utf-8")
    found = draw(str(file), checkpoint=str(folder), prompt="a cat")
    assert apart(found, wanted) < TOLERANCE


def test_image_to_image(checkpoint: Any, tmp_path: Path) -> None:
    folder, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionImg2ImgPipeline")
    picture(72, 64).save(tmp_path / "in.png")
    options: dict[str, Any] = {"image": picture(72, 64), "strength": 0.8, "guidance_scale": 5.0}
    found = draw(
        "image_to_image", checkpoint=str(folder), prompt="a cat", image=tmp_path / "in.png"
    )
    assert apart(found, ask(oracle, "a cat", **options)) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "kind"), [("inpainting", "stable_diffusion"), ("inpainting_model", "inpainting")]
)
def test_inpainting(checkpoint: Any, tmp_path: Path, name: str, kind: str) -> None:
    folder, made = checkpoint(kind)
    oracle = oracle_of(folder, made, "StableDiffusionInpaintPipeline")
    picture(50, 60).save(tmp_path / "in.png")
    mask(50, 60).save(tmp_path / "mask.png")
    options: dict[str, Any] = {"image": picture(50, 60), "mask_image": mask(50, 60)}
    wanted = ask(oracle, "a cat", guidance_scale=5.0, **options)
    files = {"image": tmp_path / "in.png", "mask": tmp_path / "mask.png"}
    found = draw(name, "painted", checkpoint=str(folder), prompt="a cat", **files)
    assert apart(found, wanted) < TOLERANCE


def test_depth_to_image(checkpoint: Any, tmp_path: Path) -> None:
    folder, made = checkpoint("depth")
    picture(72, 64).save(tmp_path / "in.png")
    wanted = ask(made, "a cat", image=picture(72, 64))
    found = draw(
        "depth_to_image", checkpoint=str(folder), prompt="a cat", image=tmp_path / "in.png"
    )
    assert apart(found, wanted) < TOLERANCE


def test_safety_checker(checkpoint: Any) -> None:
    folder, _ = checkpoint("checked")
    results = graphdiff.run(
        find_workflow("safety_checker"),
        {"checkpoint": str(folder), "steps": 2},
        targets=["unsafe", "checked"],
        cache=False,
        device="cpu",
    )
    assert results.outputs["unsafe"] == [True]
    assert not results.outputs["checked"]["image"].pixels.any()


def test_lora(plain: Any, tmp_path: Path) -> None:
    folder, oracle = plain
    module = "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    weight = dict(oracle.unet.named_parameters())[f"{module}.weight"]
    rng = generator(9)
    down = torch.randn(2, weight.shape[1], generator=rng) / 4
    up = torch.randn(weight.shape[0], 2, generator=rng) / 4
    tensors = {f"unet.{module}.lora_A.weight": down, f"unet.{module}.lora_B.weight": up}
    save_file(tensors, tmp_path / "style.safetensors")
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.add_(0.5 * up @ down)
        wanted = ask(oracle, "a cat", guidance_scale=5.0)
    finally:
        with torch.no_grad():
            weight.copy_(before)
    file = str(tmp_path / "style.safetensors")
    found = draw("lora", checkpoint=str(folder), prompt="a cat", lora=file, scale=0.5)
    assert apart(found, wanted) < TOLERANCE
    assert np.abs(found - ask(oracle, "a cat", guidance_scale=5.0)).max() > 1e-3


def test_controlnet(checkpoint: Any, tmp_path: Path) -> None:
    folder, made = checkpoint("controlled")
    picture().save(tmp_path / "hint.png")
    options: dict[str, Any] = {"control_guidance_end": 0.6, "guidance_scale": 5.0}
    wanted = ask(made, "a cat", image=picture(), **options)
    net: dict[str, Any] = {
        "controlnet": str(folder / "controlnet"),
        "image": tmp_path / "hint.png",
        "end": 0.6,
    }
    found = draw("controlnet", checkpoint=str(folder), prompt="a cat", **net)
    assert apart(found, wanted) < TOLERANCE


def test_two_passes(checkpoint: Any) -> None:
    folder, made = checkpoint("stable_diffusion")
    first = oracle_of(folder, made, "StableDiffusionPipeline")
    second = oracle_of(folder, made, "StableDiffusionImg2ImgPipeline")
    options: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 5.0}
    rng = generator(SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = first("a cat", generator=rng, output_type="latent", **options).images
        large = torch.nn.functional.interpolate(small, (24, 24), mode="bicubic")
        options |= {"image": large, "strength": 0.6, "output_type": "np"}
        wanted = second("a cat", generator=rng, **options).images
    found = draw("two_passes", checkpoint=str(folder), prompt="a cat", scale=1.5, strength=0.6)
    assert apart(found, wanted) < TOLERANCE


@pytest.mark.parametrize(
    ("scheduler", "name"),
    [("DDPMScheduler", "DDPMPipeline"), ("DDIMScheduler", "DDIMPipeline")],
)
def test_unconditional(checkpoint: Any, scheduler: str, name: str) -> None:
    folder, made = checkpoint("unconditional")
    oracle = oracle_of(folder, made, name, scheduler)
    inputs = {"checkpoint": str(folder), "scheduler": scheduler, "count": 1}
    assert apart(draw("unconditional", "images", **inputs), ask(oracle)) < TOLERANCE


def test_sdxl_base_refiner(checkpoint: Any) -> None:
    base_folder, base = checkpoint("stable_diffusion_xl")
    refiner_folder, refiner = checkpoint("xl_refiner")
    options: dict[str, Any] = {"num_inference_steps": 10, "guidance_scale": 5.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        latents = base(
            "a cat", generator=generator(SEED), denoising_end=0.7, output_type="latent", **options
        ).images
        wanted = refiner(
            "a cat", image=latents, denoising_start=0.7, output_type="np", **options
        ).images
    models = {"base": str(base_folder), "refiner": str(refiner_folder)}
    found = draw("sdxl_base_refiner", prompt="a cat", share=0.7, steps=10, **models)
    assert apart(found, wanted) < TOLERANCE

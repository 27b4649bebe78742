"""Callbacks see, change and end the loop as in diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import graphdiff
from tests.pipelines.compare import TOLERANCE, difference, generator, oracle_of

NAME = "StableDiffusionPipeline"


@pytest.fixture
def oracle(folder: Path, checkpoint: Any) -> Any:
    return oracle_of(folder, checkpoint("stable_diffusion")[1], NAME)


def test_a_callback_sees_and_changes_the_latents_of_each_step(folder: Path, oracle: Any) -> None:
    seen: list[tuple[int, float, int]] = []

    def damp(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append((i, float(timestep), pipeline.num_timesteps))
        return {"latents": tensors["latents"] * 0.9}

    found = difference(oracle, folder, NAME, prompt="a cat", callback_on_step_end=damp)
    assert found < TOLERANCE
    half = len(seen) // 2
    assert seen[:half] == seen[half:]
    assert [i for i, _, _ in seen[:half]] == list(range(half))


@pytest.mark.parametrize("name", ["interrupt", "_interrupt"])
def test_a_callback_can_end_the_loop(pipeline: Any, name: str) -> None:
    steps: list[int] = []

    def stop(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.append(i)
        setattr(pipeline, name, i == 1)
        return tensors

    pipeline("a cat", num_inference_steps=6, callback_on_step_end=stop)
    assert steps == [0, 1]


@pytest.mark.parametrize("prompt", ["a cat", ["a cat", "a dog"]])
def test_guidance_that_ends_on_the_way_equals_diffusers(
    folder: Path, oracle: Any, prompt: Any
) -> None:
    def cut(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if i == int(pipeline.num_timesteps * 0.4):
            tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
            pipeline._guidance_scale = 0.0
        return tensors

    arguments: dict[str, Any] = {"prompt": prompt, "callback_on_step_end": cut}
    arguments |= {"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    assert difference(oracle, folder, NAME, **arguments) < TOLERANCE
    plain = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    options: dict[str, Any] = {"num_inference_steps": 4, "output_type": "np"}
    one = plain(generator=generator(), **options, **arguments).images
    other = plain(prompt, generator=generator(), **options).images
    assert np.abs(one - other).max() > 0.01


def test_prompts_and_guidance_that_change_on_the_way_equal_diffusers(
    folder: Path, oracle: Any
) -> None:
    def change(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        assert tensors["negative_prompt_embeds"].shape == (2, 77, 32)
        pipeline._guidance_scale = 3.0 + i
        return {"prompt_embeds": tensors["prompt_embeds"] * 0.9, "latents": tensors["latents"]}

    arguments: dict[str, Any] = {"prompt": "a cat", "negative_prompt": "blue"}
    arguments |= {"num_images_per_prompt": 2, "callback_on_step_end": change}
    names = ["latents", "prompt_embeds", "negative_prompt_embeds"]
    arguments |= {"callback_on_step_end_tensor_inputs": names}
    assert difference(oracle, folder, NAME, **arguments) < TOLERANCE


def test_diffusers_own_callbacks_run(folder: Path, oracle: Any) -> None:
    from diffusers.callbacks import SDCFGCutoffCallback

    cutoff = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=2)
    arguments: dict[str, Any] = {"prompt": "a cat", "callback_on_step_end": cutoff}
    assert difference(oracle, folder, NAME, **arguments) < TOLERANCE


def test_callbacks_of_sdxl_see_pooled_texts_and_sizes(checkpoint: Any) -> None:
    from diffusers.callbacks import SDXLCFGCutoffCallback

    folder, made = checkpoint("stable_diffusion_xl")
    name = "StableDiffusionXLPipeline"
    shown: list[Any] = []

    class Cutoff(SDXLCFGCutoffCallback):  # type: ignore[misc]
        def callback_fn(self, *arguments: Any) -> Any:
            shown.append({key: value.clone() for key, value in arguments[3].items()})
            return super().callback_fn(*arguments)

    cutoff = Cutoff(cutoff_step_ratio=None, cutoff_step_index=2)
    arguments: dict[str, Any] = {"prompt": "a cat", "callback_on_step_end": cutoff}
    oracle = oracle_of(folder, made, name)
    assert difference(oracle, folder, name, **arguments) < TOLERANCE
    theirs, ours = shown[0], shown[len(shown) // 2]
    assert theirs.keys() == ours.keys() == set(cutoff.tensor_inputs)
    assert all(torch.allclose(theirs[key], ours[key], atol=1e-4) for key in theirs)


def test_what_a_callback_must_not_give_is_said(pipeline: Any) -> None:
    def strange(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> Any:
        return {"prompt_embeds": torch.zeros(1)}

    def cut(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> Any:
        return {"prompt_embeds": tensors["prompt_embeds"][-1:]}

    options: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}
    with pytest.raises(graphdiff.RunError, match="prompt_embeds, which it was not shown"):
        pipeline("a cat", callback_on_step_end=strange, **options)
    options["callback_on_step_end_tensor_inputs"] = ["prompt_embeds"]
    with pytest.raises(graphdiff.RunError, match="1 rows of prompt_embeds instead of 2"):
        pipeline("a cat", callback_on_step_end=cut, **options)


def test_sizes_of_sdxl_cannot_be_changed_on_the_way(checkpoint: Any) -> None:
    pipeline: Any = graphdiff.StableDiffusionXLPipeline.from_pretrained(
        checkpoint("stable_diffusion_xl")[0], cache=False
    )

    def move(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"add_time_ids": tensors["add_time_ids"] + 1}

    with pytest.raises(graphdiff.RunError, match=r"changes add_time_ids.*original_size"):
        pipeline(
            "a cat",
            num_inference_steps=2,
            callback_on_step_end=move,
            callback_on_step_end_tensor_inputs=["add_time_ids"],
        )


def test_pixels_have_latents_alone(checkpoint: Any) -> None:
    folder, _ = checkpoint("unconditional")
    pipeline = graphdiff.DDPMPipeline.from_pretrained(folder, cache=False)
    seen: list[int] = []

    def watch(pipeline: Any, i: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(i)
        return tensors

    pipeline(num_inference_steps=2, callback_on_step_end=watch)
    assert seen == [0, 1]

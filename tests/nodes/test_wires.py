"""What does not fit is refused when a run is planned, with both nodes named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import graphdiff

HEAD = """
graphdiff: 1
name: wires
nodes:
  model: {{type: LoadModel, checkpoint: "{one}"}}
  other: {{type: LoadModel, checkpoint: "{two}"}}
  schedule: {{type: Timesteps, scheduler: $model.scheduler, steps: 2}}
  noise: {{type: NoiseSample, unet: $model.unet, schedule: $schedule, rng: 0}}
  first: {{type: ListItem, items: [1]}}
"""
LOOP = """
  denoise:
    type: Denoise
    unet: $model.unet
    schedule: $schedule
    sample: $noise.latents
    rng: $noise.rng
    positive: $text
    negative: $text
  image: {type: VAEDecode, vae: $model.vae, latents: $denoise.sample}
outputs: {image: $image}
"""
OWN_TEXT = "  text: {type: TextEncode, encoder: $model.text_encoder, text: a cat}"
OTHER_TEXT = "  text: {type: TextEncode, encoder: $other.text_encoder, text: a cat}"


def refusal(folder: Path, text: str, **places: Any) -> str:
    file = folder / "wires.yaml"
    head = HEAD.format(**{"one": "emoji", "two": "emoji"} | places)
    file.write_text(head + text, encoding="utf-8")
    with pytest.raises(graphdiff.WorkflowError) as caught:
        graphdiff.plan(file, cache=False, device="cpu")
    return str(caught.value)


def test_text_of_another_family(checkpoint: Any, tmp_path: Path) -> None:
    one, _ = checkpoint("stable_diffusion")
    two, _ = checkpoint("stable_diffusion_xl")
    said = refusal(tmp_path, OTHER_TEXT + LOOP, one=one, two=two)
    assert "the SD 1.x UNet takes text vectors of width 32, but this is SDXL conditioning" in said
    assert "text" in said


def test_an_inpainting_unet_without_the_mask(checkpoint: Any, tmp_path: Path) -> None:
    one, _ = checkpoint("inpainting")
    said = refusal(tmp_path, OWN_TEXT + LOOP, one=one)
    assert "5 extra channels, the mask and the masked picture (InpaintChannels)" in said


def test_extra_channels_for_a_unet_that_takes_none(checkpoint: Any, tmp_path: Path) -> None:
    one, _ = checkpoint("stable_diffusion")
    extra = LOOP.replace("    negative:", "    extra: $noise.latents\n    negative:")
    said = refusal(tmp_path, OWN_TEXT + extra, one=one)
    assert "takes no extra channels, but 4 are wired in" in said


def test_a_checkpoint_without_text_encoder_or_vae(checkpoint: Any, tmp_path: Path) -> None:
    one, _ = checkpoint("unconditional")
    said = refusal(tmp_path, OWN_TEXT + "\noutputs: {text: $text}", one=one)
    assert "this checkpoint has no text encoder" in said
    decode = "  image: {type: VAEDecode, vae: $model.vae, latents: $noise.latents}"
    said = refusal(tmp_path, decode + "\noutputs: {image: $image}", one=one)
    assert "this checkpoint has no VAE: its UNet works on pixels, which LatentsToImage" in said


def test_latents_of_other_channels_than_the_vae_s(checkpoint: Any, tmp_path: Path) -> None:
    one, _ = checkpoint("unconditional")
    decode = "  image: {type: VAEDecode, vae: $other.vae, latents: $noise.latents}"
    said = refusal(tmp_path, decode + "\noutputs: {image: $image}", one=one)
    assert "decodes latents of 4 channels, but these have 3" in said


def test_a_scheduler_that_expects_another_prediction(checkpoint: Any, tmp_path: Path) -> None:
    one, _ = checkpoint("stable_diffusion")
    wrong = HEAD.replace("scheduler: $model.scheduler", "scheduler: $v").replace(
        "  schedule:",
        "  v: {{type: Scheduler, base: $model.scheduler, prediction_type: v_prediction}}\n"
        "  schedule:",
    )
    file = tmp_path / "v.yaml"
    file.write_text(wrong.format(one=one, two="emoji") + OWN_TEXT + LOOP, encoding="utf-8")
    with pytest.raises(graphdiff.WorkflowError, match="predicts epsilon, but the scheduler"):
        graphdiff.plan(file, cache=False, device="cpu")


def test_a_controlnet_of_another_family(checkpoint: Any, tmp_path: Path) -> None:
    one, _ = checkpoint("stable_diffusion_xl")
    net, _ = checkpoint("controlled")
    text = f"""
{OWN_TEXT}
  net: {{type: LoadControlNet, checkpoint: "{net / "controlnet"}"}}
  hint: {{type: LoadImage, path: none.png}}
  steered: {{type: ApplyControlNet, conditioning: $text, controlnet: $net, image: $hint}}
outputs: {{text: $steered}}
"""
    (tmp_path / "none.png").write_bytes(b"")
    said = refusal(tmp_path, text, one=one)
    assert "takes text vectors of width 32, but the conditioning's have 80" in said


WRITTEN_OUT = """
graphdiff: 1
name: wires
inputs:
  sampler: {type: str, default: euler_ancestral}
  steps: {type: int, default: 3}
nodes:
  model: {type: LoadModel, checkpoint: emoji}
  chosen: {type: Scheduler, name: $inputs.sampler, base: $model.scheduler}
  schedule: {type: Timesteps, scheduler: $chosen, steps: $inputs.steps}
  noise: {type: NoiseSample, unet: $model.unet, schedule: $schedule, rng: 0}
  text: {type: TextEncode, encoder: $model.text_encoder, text: a cat}
  denoise:
    type: Loop
    over: $schedule
    carry: {sample: $noise.latents, history: null}
    nodes:
      said: {type: UNetPredict, unet: $model.unet, sample: $carry.sample, step: $item, conditioning: $text}
      step:
        type: SchedulerStep
        prediction: $said
        step: $item
        sample: $carry.sample
        history: $carry.history
    next: {sample: $step.sample, history: $step.history}
outputs: {sample: $denoise.sample}
"""  # noqa: E501


def plan_of(folder: Path, text: str, **inputs: object) -> graphdiff.Plan:
    file = folder / "wires.yaml"
    file.write_text(text.lstrip(), encoding="utf-8")
    return graphdiff.plan(file, inputs, cache=False, device="cpu")


def test_a_stochastic_scheduler_without_an_rng_is_refused_once_at_its_step(tmp_path: Path) -> None:
    with pytest.raises(graphdiff.WorkflowError) as caught:
        plan_of(tmp_path, WRITTEN_OUT)
    (only,) = caught.value.diagnostics
    assert "EulerAncestralDiscreteScheduler draws noise and has nothing to draw from" in str(only)
    lines = WRITTEN_OUT.lstrip().splitlines()
    first = lines.index("      step:") + 1
    assert only.place is not None
    assert first <= only.place.line <= first + 5


def test_what_draws_no_noise_needs_no_rng(tmp_path: Path) -> None:
    assert plan_of(tmp_path, WRITTEN_OUT, sampler="euler").count("run") > 0
    assert plan_of(tmp_path, WRITTEN_OUT, sampler="LCMScheduler", steps=1).count("run") > 0
    with pytest.raises(graphdiff.WorkflowError, match="LCMScheduler draws noise"):
        plan_of(tmp_path, WRITTEN_OUT, sampler="LCMScheduler", steps=2)


def test_a_scheduler_of_neither_name_nor_base_is_one_mistake(tmp_path: Path) -> None:
    text = WRITTEN_OUT.replace("name: $inputs.sampler, base: $model.scheduler", "schedule: karras")
    text = text.replace("  sampler: {type: str, default: euler_ancestral}\n", "")
    with pytest.raises(graphdiff.WorkflowError) as caught:
        plan_of(tmp_path, text)
    (only,) = caught.value.diagnostics
    assert "which scheduler? give a name, or a base to change" in str(only)
    assert only.place is not None
    assert "chosen:" in text.lstrip().splitlines()[only.place.line - 1]


def test_a_scheduler_without_the_base_that_says_what_is_predicted_is_one_mistake(
    tmp_path: Path,
) -> None:
    """Both halves of guidance read it."""
    text = WRITTEN_OUT.replace(", base: $model.scheduler", "").replace(
        "      step:\n",
        "      unsaid: {type: UNetPredict, unet: $model.unet, sample: $carry.sample, step: $item, "
        "conditioning: $text}\n"
        "      guided: {type: Guidance, cond: $said, uncond: $unsaid, scale: 3.0}\n"
        "      step:\n",
    )
    with pytest.raises(graphdiff.WorkflowError) as caught:
        plan_of(tmp_path, text.replace("prediction: $said", "prediction: $guided"), sampler="euler")
    (only,) = caught.value.diagnostics
    assert "the UNet predicts v_prediction, but the scheduler expects epsilon" in str(only)

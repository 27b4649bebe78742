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

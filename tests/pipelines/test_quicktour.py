# ruff: noqa: E501 - the lines are the tour's own
"""Every code block of the Diffusers quicktour runs, with our names and local folders."""

from __future__ import annotations

import doctest
import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.nodes import tiny

PIPELINE = """
>>> from diffusers import DiffusionPipeline

>>> pipeline = DiffusionPipeline.from_pretrained("runwayml/stable-diffusion-v1-5", use_safetensors=True)

>>> pipeline
StableDiffusionPipeline {
  "_class_name": "StableDiffusionPipeline",
  "_diffusers_version": "0.13.1",
  ...,
  "scheduler": [
    "diffusers",
    "PNDMScheduler"
  ],
  ...,
  "unet": [
    "diffusers",
    "UNet2DConditionModel"
  ],
  "vae": [
    "diffusers",
    "AutoencoderKL"
  ]
}

>>> pipeline.to("cuda")

>>> image = pipeline("An image of a squirrel in Picasso style").images[0]
>>> image

>>> image.save("image_of_squirrel_painting.png")

>>> pipeline = DiffusionPipeline.from_pretrained("./stable-diffusion-v1-5", use_safetensors=True)

>>> from diffusers import EulerDiscreteScheduler

>>> pipeline = DiffusionPipeline.from_pretrained("runwayml/stable-diffusion-v1-5", use_safetensors=True)
>>> pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
"""

MODELS = """
>>> from diffusers import UNet2DModel

>>> repo_id = "google/ddpm-cat-256"
>>> model = UNet2DModel.from_pretrained(repo_id, use_safetensors=True)

>>> model.config

>>> import torch

>>> torch.manual_seed(0)

>>> noisy_sample = torch.randn(1, model.config.in_channels, model.config.sample_size, model.config.sample_size)
>>> noisy_sample.shape
torch.Size([1, 3, 256, 256])

>>> with torch.no_grad():
...     noisy_residual = model(sample=noisy_sample, timestep=2).sample
"""

SCHEDULERS = """
>>> from diffusers import DDPMScheduler

>>> scheduler = DDPMScheduler.from_config(repo_id)
>>> scheduler
DDPMScheduler {
  "_class_name": "DDPMScheduler",
  "_diffusers_version": "0.13.1",
  "beta_end": 0.02,
  "beta_schedule": "linear",
  "beta_start": 0.0001,
  "clip_sample": true,
  "clip_sample_range": 1.0,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "trained_betas": null,
  "variance_type": "fixed_small"
}

>>> less_noisy_sample = scheduler.step(model_output=noisy_residual, timestep=2, sample=noisy_sample).prev_sample
>>> less_noisy_sample.shape
torch.Size([1, 3, 256, 256])
"""

LOOP = """
>>> import PIL.Image
>>> import numpy as np

>>> def display_sample(sample, i):
...     image_processed = sample.cpu().permute(0, 2, 3, 1)
...     image_processed = (image_processed + 1.0) * 127.5
...     image_processed = image_processed.numpy().astype(np.uint8)
...
...     image_pil = PIL.Image.fromarray(image_processed[0])
...     display(f"Image at step {i}")
...     display(image_pil)

>>> model.to("cuda")
>>> noisy_sample = noisy_sample.to("cuda")

>>> import tqdm

>>> sample = noisy_sample

>>> for i, t in enumerate(tqdm.tqdm(scheduler.timesteps)):
...     # 1. predict noise residual
...     with torch.no_grad():
...         residual = model(sample, t).sample
...
...     # 2. compute less noisy image and set x_t -> x_t-1
...     sample = scheduler.step(residual, t, sample).prev_sample
...
...     # 3. optionally look at image
...     if (i + 1) % 50 == 0:
...         display_sample(sample, i + 1)
"""


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and its scheduler in one folder, as google/ddpm-cat-256 has them."""
    from diffusers import DDPMScheduler, UNet2DModel

    folder = tmp_path_factory.mktemp("ddpm-cat-256")
    net = UNet2DModel(
        sample_size=256,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        norm_num_groups=4,
    )
    tiny.randomised(net).save_pretrained(folder)
    DDPMScheduler().save_pretrained(folder)
    return folder


def examples(text: str, places: dict[str, str]) -> Iterator[doctest.Example]:
    """The examples of a block, with our name and folders in place of diffusers' and the hub's."""
    text = text.replace("from diffusers", "from graphdiff")
    if not torch.cuda.is_available():
        text = text.replace('"cuda"', '"cpu"')
    for name, place in places.items():
        text = text.replace(name, place)
    yield from doctest.DocTestParser().get_examples(text)


def run(example: doctest.Example, names: dict[str, Any]) -> None:
    """Run one example, and compare what it shows with what the tour shows."""
    shown = io.StringIO()
    with redirect_stdout(shown):
        exec(compile(example.source, "<quicktour>", "single"), names)
    if example.want.startswith("DDPMScheduler"):  # later versions show more keys
        wanted, found = (
            json.loads(text.partition(" ")[2]) for text in (example.want, shown.getvalue())
        )
        del wanted["_diffusers_version"]
        assert wanted.items() <= found.items()
    elif example.want:
        wanted = re.sub(r'"0\.13\.1"', "...", example.want)
        checker = doctest.OutputChecker()
        assert checker.check_output(wanted, shown.getvalue(), doctest.ELLIPSIS), shown.getvalue()


def test_the_pipeline(checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, _ = checkpoint("stable_diffusion")
    names: dict[str, Any] = {}
    places = {"runwayml/stable-diffusion-v1-5": str(folder), "./stable-diffusion-v1-5": str(folder)}
    for example in examples(PIPELINE, places):
        run(example, names)
    assert Path("image_of_squirrel_painting.png").stat().st_size > 1000
    assert names["image"].size == (64, 64)
    assert type(names["pipeline"].scheduler).__name__ == "EulerDiscreteScheduler"
    assert names["pipeline"]("a squirrel", num_inference_steps=2).images[0].size == (64, 64)


def test_models_and_schedulers(cats: Path) -> None:
    names: dict[str, Any] = {}
    for example in examples(MODELS + SCHEDULERS, {"google/ddpm-cat-256": str(cats)}):
        run(example, names)
    assert names["noisy_residual"].shape == (1, 3, 256, 256)
    with pytest.raises(AttributeError, match="frozen"):
        names["model"].config.sample_size = 64


def test_the_whole_denoising_loop(cats: Path) -> None:
    displayed: list[Any] = []
    names: dict[str, Any] = {"display": displayed.append}
    text = MODELS.partition(">>> noisy_sample.shape")[0]
    text = text.replace("model.config.sample_size", "16")  # a thousand steps of 256 pixels are long
    text += SCHEDULERS.partition(">>> scheduler\n")[0] + LOOP
    for example in examples(text, {"google/ddpm-cat-256": str(cats)}):
        run(example, names)
    assert displayed[0] == "Image at step 50"
    assert displayed[-2] == "Image at step 1000"
    assert displayed[-1].size == (16, 16)
    assert torch.isfinite(names["sample"]).all()

"""Train the unconditional model: a U-Net on 32x32 pixels that draws faces, without any text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from graphdiff.models import UNet2DModel
from training import networks
from training.data import Pictures
from training.loop import Run, Weights, device, layout
from training.pictures import grid, over, place, premultiplied


@dataclass(frozen=True, slots=True)
class UnconditionalRun(Run):
    """How the unconditional model is trained.

    Attributes:
        data: The data set; its pictures whose label has the word `face` are used.
        init: A model to start from, a folder; None for random weights.
        size: Height and width, in pixels.
    """

    data: Path = Path("data/emoji.npz")
    init: Path | None = None
    size: int = 32


class UnconditionalTask:
    """Predict the noise in pictures of faces."""

    def __init__(self, run: UnconditionalRun) -> None:
        self._run = run
        data = Pictures.load(run.data)
        faces = [i for i, label in enumerate(data.labels) if "face" in label]
        self._pictures = premultiplied(data.rgba[faces], run.size)
        if run.init is None:
            self._unet = networks.pixel_unet()
        else:
            self._unet = UNet2DModel.from_pretrained(run.init)
        self._unet.train()
        self.modules = [self._unet]
        self._signal = torch.tensor(networks.PIXEL_SAMPLER.alphas)
        # Evenly drawn timesteps spend half of them on nearly clean pictures; more noise decides
        # what the picture is, as in text to image.
        snr = self._signal / (1 - self._signal)
        self._timestep_weights = 1 / (1 + snr / 5)

    def loss(self, rng: np.random.Generator) -> Tensor:
        """The squared error of the predicted noise on a batch."""
        n = self._run.batch
        chosen = torch.from_numpy(rng.integers(0, len(self._pictures), n))
        placed = place(self._pictures[chosen], rng, turn=0.05, shift=0.02, zoom=(1.0, 1.05))
        clean = over(placed, ["white"] * n)
        timestep = torch.multinomial(self._timestep_weights + 0.1, n, replacement=True)
        noise = torch.randn_like(clean)
        alpha = self._signal[timestep].sqrt()[:, None, None, None]
        sigma = (1 - self._signal[timestep]).sqrt()[:, None, None, None]
        where = device()
        noisy = (alpha * clean + sigma * noise).to(where, torch.bfloat16, memory_format=layout())
        with sdpa_kernel(SDPBackend.MATH):
            predicted = self._unet(noisy, timestep.to(where)).sample
        return F.mse_loss(predicted.float(), noise.to(where))

    def save(self, weights: Weights, folder: Path) -> None:
        """Write the checkpoint in DDPMPipeline's layout, half precision, and a sample grid."""
        unet = UNet2DModel.from_config(self._unet.config)
        unet.load_state_dict(weights[0])
        write_unconditional(folder / "checkpoint", unet)
        pictures = draw_pixels(lambda x, t: unet.eval()(x, t).sample, 32, seed=0)
        grid(pictures, 8, folder / "samples.png", scale=3)


@torch.no_grad()
def draw_pixels(
    predict: Callable[[Tensor, float], Tensor], count: int, *, seed: int, steps: int = 50
) -> Tensor:
    """Pictures (count, 3, 32, 32) in -1..1, by DDIM."""
    sample = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    for step in networks.PIXEL_SAMPLER.schedule(steps):
        prediction = predict(sample, step.timestep)
        sample = networks.PIXEL_SAMPLER.step(prediction, step, sample).sample
    return sample


def write_unconditional(folder: Path, unet: UNet2DModel) -> None:
    """Write what diffusers' DDPMPipeline loads."""
    networks.write_model(unet, folder / "unet")
    networks.write_json(
        folder / "scheduler" / "scheduler_config.json",
        {"_class_name": "DDPMScheduler", **networks.PIXEL_NOISE},
    )
    networks.write_json(
        folder / "model_index.json",
        {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": "0.42.1",
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        },
    )

"""Train the autoencoder: 64x64 pictures to 16x16 latents of 4 channels and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from graphdiff.models import AutoencoderKL
from training import networks
from training.concepts import BACKGROUNDS
from training.data import Pictures
from training.loop import Run, Weights, device, layout
from training.pictures import grid, over, place, premultiplied


@dataclass(frozen=True, slots=True)
class AutoencoderRun(Run):
    """How the autoencoder is trained.

    Attributes:
        data: The data set.
        init: A checkpoint to start from, a folder with config.json.
        size: Height and width of the pictures, in pixels.
        shrink: Probability of a batch whose latents are halved in size before decoding: the
            decoder must then give the halved picture, which keeps the latents smooth and so easy
            to learn for a U-Net (EQ-VAE, arXiv:2502.09509).
        noise: Standard deviation of noise on the latents, as a part of theirs, when only the
            decoder learns.
        decoder_only: Leave the latent space as it is.
    """

    data: Path = Path("data/emoji.npz")
    init: Path | None = None
    size: int = 64
    shrink: float = 0.25
    noise: float = 0.05
    decoder_only: bool = False


class AutoencoderTask:
    """Reconstruct pictures."""

    def __init__(self, run: AutoencoderRun) -> None:
        self._run = run
        self._pictures = premultiplied(Pictures.load(run.data).rgba, run.size)
        self._vae = networks.load_autoencoder(run.init) if run.init else networks.autoencoder()
        if run.decoder_only:
            for name, weight in self._vae.named_parameters():
                weight.requires_grad_(not name.startswith(("encoder.", "quant_conv.")))
        self.modules = [self._vae]
        self._encode, self._decode = self._vae.encode, self._vae.decode
        if run.compile:
            self._encode = torch.compile(self._vae.encode, dynamic=False)
            self._decode = torch.compile(self._vae.decode, dynamic=False)

    def _batch(self, n: int, rng: np.random.Generator) -> Tensor:
        chosen = torch.from_numpy(rng.integers(0, len(self._pictures), n))
        pictures = place(self._pictures[chosen], rng, turn=0.2, zoom=(0.9, 1.3), mirror=0.5)
        names = list(BACKGROUNDS)
        # Half white: that is what most pictures will be decoded on.
        colours = ["white" if rng.random() < 0.5 else str(rng.choice(names)) for _ in range(n)]
        return over(pictures, colours)

    def loss(self, rng: np.random.Generator) -> Tensor:
        """Absolute and squared error of pixels and of their differences, and a whiff of KL."""
        run = self._run
        target = self._batch(run.batch, rng).to(device())
        x = target.to(torch.bfloat16, memory_format=layout())
        if run.decoder_only:
            with torch.no_grad():
                z = self._encode(x).latent_dist.mode().float()
            z = z + run.noise * z.std() * torch.randn_like(z)
            penalty = torch.zeros((), device=z.device)
        else:
            latents = self._encode(x).latent_dist
            mean, logvar = latents.mean.float(), latents.logvar.float()
            z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
            penalty = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
            if rng.random() < run.shrink:
                z, target = F.avg_pool2d(z, 2), F.avg_pool2d(target, 2)
        z = z.to(torch.bfloat16).contiguous(memory_format=layout())
        error = self._decode(z).sample.float() - target
        return reconstruction(error) + 1e-6 * penalty

    @torch.no_grad()
    def save(self, weights: Weights, folder: Path) -> None:
        """Write the checkpoint with its latent scale, and originals beside reconstructions."""
        vae = AutoencoderKL.from_config(self._vae.config)
        vae.load_state_dict(weights[0])
        vae.eval()
        rng = np.random.default_rng(1)
        x = self._batch(96, rng)
        z = torch.cat([vae.encode(part).latent_dist.mode() for part in torch.split(x, 16)])
        y = torch.cat([vae.decode(part).sample for part in torch.split(z, 16)])
        noise = 10 * math.log10(4 / float(((y.clamp(-1, 1) - x) ** 2).mean()))
        if not self._run.decoder_only:
            vae = networks.scaled(vae, float(1 / z.std()))
        networks.write_model(vae, folder / "vae")
        with (folder / "psnr.txt").open("a") as file:
            file.write(f"{noise:.2f} dB, latents' deviation {z.std():.3f}\n")
        pairs = torch.cat([x[:40].view(5, 8, *x.shape[1:]), y[:40].view(5, 8, *y.shape[1:])], 1)
        grid(pairs.flatten(0, 1), 8, folder / "reconstructions.png")


def reconstruction(error: Tensor) -> Tensor:
    """What a difference of pictures (n, 3, h, w) costs; edges count apart, against blur."""
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return error.abs().mean() + error.square().mean() + 0.5 * (across + down)

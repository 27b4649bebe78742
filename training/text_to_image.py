"""Train the text-to-image U-Net together with its text encoder, on encoded variants."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from graphdiff.models import AutoencoderKL, CLIPTextModel, CLIPTokenizer, UNet2DConditionModel
from training import networks
from training.bank import Bank, build_bank
from training.captions import all_words, caption
from training.concepts import BACKGROUNDS, FAVOUR, MUST, PAINTS, STYLE_SHARES, concepts
from training.data import Pictures
from training.loop import Run, Weights, device, layout
from training.pictures import grid
from training.sampling import draw
from training.tokenizer import write_tokenizer

PROMPTS = (
    "a red apple", "a cat", "a blue car", "a house", "a pizza", "a rocket", "a ghost",
    "a sunflower", "a 3d dog", "a flat dog", "a cartoon dog", "a purple cat", "a green apple",
    "a frog on a pink background", "a 3d penguin on a sky blue background", "a guitar",
    "a flat umbrella", "a cartoon owl", "a 3d castle", "a bicycle", "a happy face", "a burger",
    "a blue pizza", "an octopus on a yellow background",
)  # fmt: skip
"""What the grid of a checkpoint shows."""


@dataclass(frozen=True, slots=True)
class TextToImageRun(Run):
    """How the U-Net and the text encoder are trained.

    Attributes:
        data: The data set.
        vae: The trained autoencoder, a folder.
        init: A checkpoint to start from, in Stable Diffusion's layout; None for random weights.
        plain: Variants of each picture in its own colours.
        painted: Variants in each colour that it is painted in.
        painted_part: Part of the samples that are painted ones.
        white: Part of the variants that stand on white.
        mirror: Part of the variants that are mirrored.
        no_style: Part of the captions that leave the style open.
        no_caption: Part of the samples without a caption, for classifier-free guidance.
    """

    data: Path = Path("data/emoji.npz")
    vae: Path = Path("runs/autoencoder/vae")
    init: Path | None = None
    plain: int = 32
    painted: int = 4
    painted_part: float = 0.25
    white: float = 0.6
    mirror: float = 0.5
    no_style: float = 0.3
    no_caption: float = 0.1


def prepare(run: TextToImageRun) -> None:
    """Make the tokenizer and the bank of encoded variants, once; the processes share them."""
    tokenizer = run.out / "tokenizer"
    if run.init is not None:
        copy_files(run.init / "tokenizer", tokenizer)
    elif not tokenizer.exists():
        write_tokenizer(tokenizer, all_words())
    bank = run.out / "bank.safetensors"
    if not bank.exists():
        shares = run.processes if device().type == "cpu" else 1
        with get_context("spawn").Pool(shares) as pool:
            parts = pool.starmap(_encode_share, [(run, k, shares) for k in range(shares)])
        Bank.join(parts).save(bank)


def _encode_share(run: TextToImageRun, share: int, shares: int) -> Bank:
    vae = AutoencoderKL.from_pretrained(run.vae).to(device())
    if shares > 1:
        torch.set_num_threads(1)
    return build_bank(
        Pictures.load(run.data),
        vae,
        plain=run.plain,
        painted=run.painted,
        white=run.white,
        mirror=run.mirror,
        part=(share, shares),
    )


def signal_left() -> Tensor:
    """The share of the signal's variance at each training timestep, (1000,)."""
    return torch.tensor(networks.SAMPLER.alphas)


class TextToImageTask:
    """Predict the velocity of noisy latents from their captions."""

    def __init__(self, run: TextToImageRun) -> None:
        self._run = run
        self._bank = Bank.load(run.out / "bank.safetensors")
        data = Pictures.load(run.data)
        names = concepts()
        self._names = [names[label] for label in data.labels]
        self._styles = data.styles
        self._tokenizer = CLIPTokenizer.from_pretrained(run.out / "tokenizer")
        self._ids: dict[str, Tensor] = {}
        if run.init is None:
            self._unet = networks.unet()
            self._text = networks.text_encoder(run.out / "tokenizer")
        else:
            self._unet = UNet2DConditionModel.from_pretrained(run.init / "unet")
            self._text = CLIPTextModel.from_pretrained(run.init / "text_encoder")
        self._unet.train()
        self._text.train()
        self.modules: list[nn.Module] = [self._unet, self._text]
        self._predict = torch.compile(self._forward) if run.compile else self._forward
        # Timesteps by chance in proportion to clamp(snr, 1, 5) / (snr + 1): all of high noise,
        # where the text decides what is drawn, and little of what is almost clean.
        self._signal = signal_left()
        snr = self._signal / (1 - self._signal)
        self._timestep_weights = snr.clamp(1, 5) / (snr + 1)
        is_painted = self._bank.painted >= 0
        shares = [
            STYLE_SHARES[style] * (FAVOUR if label in MUST else 1.0)
            for label, style in zip(data.labels, self._styles, strict=True)
        ]
        share = torch.tensor(shares)[self._bank.picture]
        painted = torch.where(is_painted, share, 0.0)
        plain = torch.where(is_painted, 0.0, share)
        self._row_weights = (
            run.painted_part * painted / painted.sum()
            + (1 - run.painted_part) * plain / plain.sum()
        )

    def _forward(self, noisy: Tensor, timestep: Tensor, ids: Tensor) -> Tensor:
        conditioning = self._text(ids).last_hidden_state
        velocity: Tensor = self._unet(noisy, timestep, conditioning).sample
        return velocity

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids (n, context), remembered by text."""
        for text in texts:
            if text not in self._ids:
                self._ids[text] = torch.tensor(self._tokenizer([text])[0])
        return torch.stack([self._ids[text] for text in texts])

    def _captions(self, chosen: Tensor, chance: random.Random) -> list[str]:
        bank, colours, grounds = self._bank, list(PAINTS), list(BACKGROUNDS)
        texts: list[str] = []
        for picture, colour, ground in zip(
            bank.picture[chosen].tolist(),
            bank.painted[chosen].tolist(),
            bank.background[chosen].tolist(),
            strict=True,
        ):
            if chance.random() < self._run.no_caption:
                texts.append("")
                continue
            is_open = chance.random() < self._run.no_style
            texts.append(
                caption(
                    self._names[picture],
                    style=None if is_open else self._styles[picture],
                    colour=None if colour < 0 else colours[colour],
                    background=grounds[ground],
                    chance=chance,
                )
            )
        return texts

    def loss(self, rng: np.random.Generator) -> Tensor:
        """The squared error of the predicted velocity on a batch."""
        n = self._run.batch
        chosen = torch.multinomial(self._row_weights, n, replacement=True)
        ids = self.tokenize(self._captions(chosen, random.Random(int(rng.integers(2**32)))))
        clean = self._bank.latents[chosen].float()
        timestep = torch.multinomial(self._timestep_weights, n, replacement=True)
        noise = torch.randn_like(clean)
        alpha = self._signal[timestep].sqrt()[:, None, None, None]
        sigma = (1 - self._signal[timestep]).sqrt()[:, None, None, None]
        where = device()
        noisy = (alpha * clean + sigma * noise).to(where, torch.bfloat16, memory_format=layout())
        target = (alpha * noise - sigma * clean).to(where)
        # On a CPU the fused attention's backward takes a quarter of a step, the plain one little.
        with sdpa_kernel(SDPBackend.MATH if where.type == "cpu" else list(_FUSED)):
            velocity = self._predict(noisy, timestep.to(where), ids.to(where))
        return F.mse_loss(velocity.float(), target)

    def save(self, weights: Weights, folder: Path) -> None:
        """Write the checkpoint in Stable Diffusion's layout, half precision, and its grid."""
        unet = UNet2DConditionModel.from_config(self._unet.config)
        text = CLIPTextModel.from_config(self._text.config)
        unet.load_state_dict(weights[0])
        text.load_state_dict(weights[1])
        vae = AutoencoderKL.from_pretrained(self._run.vae)
        partial = folder / "checkpoint.partial"
        write_checkpoint(partial, unet, text, vae, folder / "tokenizer")
        swap(partial, folder / "checkpoint")
        pictures = draw(
            unet.eval(),
            text.eval(),
            vae,
            self.tokenize,
            PROMPTS,
            seeds=range(len(PROMPTS)),
        )
        grid(pictures, 8, folder / "samples.png", scale=2)


_FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


def write_checkpoint(
    folder: Path,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    vae: AutoencoderKL,
    tokenizer: Path,
) -> None:
    """Write a whole pipeline that diffusers and graphdiff load, with half-precision weights."""
    networks.write_model(unet, folder / "unet")
    networks.write_model(text, folder / "text_encoder")
    networks.write_model(vae, folder / "vae")
    copy_files(tokenizer, folder / "tokenizer")
    networks.write_json(
        folder / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "DPMSolverMultistepScheduler",
            **networks.NOISE,
            "clip_sample": False,  # latents go beyond -1 and 1, where DDIM would cut
            "algorithm_type": "dpmsolver++",
            "solver_order": 2,
        },
    )
    networks.write_json(
        folder / "model_index.json",
        {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.42.1",
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )


def copy_files(source: Path, target: Path) -> None:
    """Copy a folder's files, without their permissions, unless it is the same folder."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)


def swap(new: Path, place: Path) -> None:
    """Put the folder `new` at `place`, so that a reader finds a whole one at any time but one."""
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)

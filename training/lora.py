"""Fine-tune a LoRA of a text-to-image checkpoint on a folder of pictures."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

import graphdiff
from graphdiff.checkpoints.weight_files import write_tensors
from graphdiff.models import AutoencoderKL, CLIPTextModel, CLIPTokenizer, UNet2DConditionModel
from training.loop import device
from training.networks import side
from training.text_to_image import signal_left

BUNDLED = Path(graphdiff.__file__).parent / "checkpoints" / "bundled" / "emoji"
"""The checkpoint that is fine-tuned unless another is named."""

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The linear layers of every attention that get a low-rank part, by the end of their names."""


@dataclass(frozen=True, slots=True)
class LoraRun:
    """How a LoRA is trained.

    Attributes:
        pictures: Folder of picture files; NAME.txt beside NAME.png is its caption, else `NAME`
            with dashes and underscores as spaces.
        out: The file to write.
        checkpoint: What is fine-tuned, a folder in Stable Diffusion's layout with v-prediction.
        rank: Width of the added weights.
        steps: How many steps.
        lr: Learning rate.
        batch: Pictures a step.
        no_caption: Part of the samples without a caption, for classifier-free guidance.
        seed: Start of all random numbers.
    """

    pictures: Path
    out: Path
    checkpoint: Path = BUNDLED
    rank: int = 8
    steps: int = 300
    lr: float = 1e-3
    batch: int = 4
    no_caption: float = 0.1
    seed: int = 0


class LowRank(nn.Module):
    """A linear layer that stays as it is, plus the product of two thin ones that learn."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)  # starts as the layer that it was

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        y: Tensor = self.base(x) + self.lora_B(self.lora_A(x))
        return y


def add_low_rank(unet: nn.Module, rank: int) -> dict[str, LowRank]:
    """Freeze a U-Net and add a low-rank part to its attentions; module name -> its part."""
    unet.requires_grad_(False)
    wanted = [
        (name, module)
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(TARGETS)
    ]
    added: dict[str, LowRank] = {}
    for name, module in wanted:
        parent, _, attribute = name.rpartition(".")
        added[name] = LowRank(module, rank)
        setattr(unet.get_submodule(parent), attribute, added[name])
    return added


def read_pictures(folder: Path, size: int) -> tuple[Tensor, list[str]]:
    """The folder's pictures (n, 3, size, size) in -1..1, on white, and their captions.

    Raises:
        ValueError: There is no picture in the folder.
    """
    endings = {".png", ".jpg", ".jpeg", ".webp"}
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not paths:
        raise ValueError(f"{folder}: no picture here; expected {', '.join(sorted(endings))} files")
    pictures: list[Tensor] = []
    captions: list[str] = []
    for path in paths:
        with Image.open(path) as image:
            rgba = image.convert("RGBA")
        side = min(rgba.size)
        left, top = (rgba.width - side) // 2, (rgba.height - side) // 2
        square = rgba.crop((left, top, left + side, top + side))
        white = Image.new("RGBA", square.size, "white")
        rgb = Image.alpha_composite(white, square).convert("RGB")
        array = np.asarray(rgb.resize((size, size), Image.Resampling.LANCZOS))
        pictures.append(torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 127.5 - 1)
        text = path.with_suffix(".txt")
        captions.append(
            text.read_text(encoding="utf-8").strip()
            if text.exists()
            else path.stem.replace("-", " ").replace("_", " ")
        )
    return torch.stack(pictures), captions


def train_lora(run: LoraRun) -> list[float]:
    """Train and write the LoRA file; gives the mean loss of each tenth of the run.

    The file has PEFT's keys, `unet.MODULE.lora_A.weight` and `lora_B.weight`, which graphdiff's
    LoadLoRA and diffusers' `load_lora_weights` read.
    """
    torch.manual_seed(run.seed)
    chance = random.Random(run.seed)
    where = device()
    unet = UNet2DConditionModel.from_pretrained(run.checkpoint / "unet")
    text = CLIPTextModel.from_pretrained(run.checkpoint / "text_encoder")
    vae = AutoencoderKL.from_pretrained(run.checkpoint / "vae")
    tokenizer = CLIPTokenizer.from_pretrained(run.checkpoint / "tokenizer")
    pictures, captions = read_pictures(run.pictures, side(vae))
    with torch.no_grad():
        clean = vae.encode(pictures).latent_dist.mode() * vae.config.scaling_factor
        read = text(torch.tensor(tokenizer([*captions, ""]))).last_hidden_state
    clean, read = clean.to(where), read.to(where)
    added = add_low_rank(unet, run.rank)
    unet.to(where).train()
    learned = [
        weight for part in added.values() for weight in (part.lora_A.weight, part.lora_B.weight)
    ]
    optimizer = torch.optim.AdamW(learned, lr=run.lr, betas=(0.9, 0.99), weight_decay=1e-2)
    signal = signal_left()
    losses: list[float] = []
    with Progress(console=Console(stderr=True)) as progress:
        for _ in progress.track(range(run.steps), description="LoRA"):
            chosen = [chance.randrange(len(clean)) for _ in range(run.batch)]
            spoken = [-1 if chance.random() < run.no_caption else i for i in chosen]
            timestep = torch.randint(0, len(signal), (run.batch,))
            kept = signal[timestep].to(where)[:, None, None, None]
            noise = torch.randn(run.batch, *clean.shape[1:]).to(where)
            noisy = kept.sqrt() * clean[chosen] + (1 - kept).sqrt() * noise
            target = kept.sqrt() * noise - (1 - kept).sqrt() * clean[chosen]
            velocity = unet(noisy, timestep.to(where), read[spoken]).sample
            loss = F.mse_loss(velocity, target)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(float(loss.detach()))
    run.out.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(lora_weights(added), run.out, {"format": "pt"})
    tenth = max(1, len(losses) // 10)
    return [
        sum(losses[i : i + tenth]) / len(losses[i : i + tenth])
        for i in range(0, len(losses), tenth)
    ]


def lora_weights(added: dict[str, LowRank]) -> dict[str, Tensor]:
    """What the file holds, under PEFT's keys."""
    weights: dict[str, Tensor] = {}
    for name, part in added.items():
        weights[f"unet.{name}.lora_A.weight"] = part.lora_A.weight.detach().cpu().contiguous()
        weights[f"unet.{name}.lora_B.weight"] = part.lora_B.weight.detach().cpu().contiguous()
    return weights

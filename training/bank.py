"""Every picture in many variants, encoded once: what the text-to-image U-Net learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from graphdiff.models import AutoencoderKL
from training.captions import paints_of
from training.concepts import BACKGROUNDS, PAINTS, concepts
from training.data import Pictures
from training.networks import side
from training.pictures import over, paint, place, premultiplied


@dataclass(frozen=True, slots=True)
class Bank:
    """Encoded variants.

    Attributes:
        latents: float16 (n, 4, h, w), scaled to a deviation of about 1.
        picture: int64 (n,): which picture of the data set.
        painted: int64 (n,): which of `PAINTS` it wears, -1 for its own colours.
        background: int64 (n,): which of `BACKGROUNDS` is behind it.
    """

    latents: Tensor
    picture: Tensor
    painted: Tensor
    background: Tensor

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: getattr(self, key).contiguous() for key in self.__slots__}, path)

    @classmethod
    def load(cls, path: Path) -> Bank:
        """Read what `save` wrote."""
        return cls(**load_file(path))

    @classmethod
    def join(cls, parts: Sequence[Bank]) -> Bank:
        """One bank of several."""
        return cls(*(torch.cat([getattr(p, key) for p in parts]) for key in cls.__slots__))


def build_bank(
    data: Pictures,
    vae: AutoencoderKL,
    *,
    plain: int,
    painted: int,
    white: float,
    mirror: float,
    part: tuple[int, int] = (0, 1),
) -> Bank:
    """Encode variants of every picture.

    Args:
        data: The data set.
        vae: What encodes; its pictures' size is its config's.
        plain: Variants in a picture's own colours.
        painted: Variants in each colour that the thing is painted in.
        white: Part of the variants that stand on white.
        mirror: Part of the variants that are mirrored.
        part: `(k, n)` encodes only the k-th of n shares of the pictures.
    """
    size = side(vae)
    rng = np.random.default_rng(part[0])
    names, colours = concepts(), list(PAINTS)
    wanted: list[tuple[int, int, int]] = []  # picture, paint, variants
    for i in range(part[0], len(data.labels), part[1]):
        label = data.labels[i]
        wanted.append((i, -1, plain))
        wanted += [(i, colours.index(c), painted) for c in paints_of(names[label])]
    latents: list[Tensor] = []
    rows: list[tuple[int, int, int]] = []
    batch: list[Tensor] = []
    for i, colour, count in track(wanted, "encoding variants", disable=part[0] > 0):
        rgba = data.rgba[i]
        if colour >= 0:
            rgba = paint(rgba, PAINTS[colours[colour]])
        batch.append(premultiplied(rgba[None], size).expand(count, -1, -1, -1))
        for _ in range(count):
            is_white = rng.random() < white
            rows.append((i, colour, 0 if is_white else int(rng.integers(1, len(BACKGROUNDS)))))
        if sum(map(len, batch)) >= 64:
            pictures = torch.cat(batch)
            grounds = [row[2] for row in rows[-len(pictures) :]]
            latents.append(_encode(vae, place(pictures, rng, mirror=mirror), grounds))
            batch = []
    if batch:
        pictures = torch.cat(batch)
        grounds = [row[2] for row in rows[-len(pictures) :]]
        latents.append(_encode(vae, place(pictures, rng, mirror=mirror), grounds))
    columns = torch.tensor(rows)
    return Bank(torch.cat(latents), columns[:, 0], columns[:, 1], columns[:, 2])


@torch.no_grad()
def _encode(vae: AutoencoderKL, pictures: Tensor, backgrounds: Sequence[int]) -> Tensor:
    names = list(BACKGROUNDS)
    x = over(pictures, [names[b] for b in backgrounds])
    z = vae.encode(x.to(vae.device, vae.dtype)).latent_dist.mode() * vae.config.scaling_factor
    # The autoencoder may work channels last; what is stored is plain.
    return z.half().cpu().contiguous()

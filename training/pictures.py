"""What happens to a picture before a model sees it: colour, place, background, and grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from training.concepts import BACKGROUNDS, Paint

Array = np.ndarray[Any, np.dtype[np.uint8]]

_NEAR = 50 / 360
"""How far from the main hue a pixel still counts as being of that colour, in turns."""


def _hsv(rgba: Array) -> tuple[Any, Any, Any, Any]:
    """Hue in turns, saturation, value, opacity, each in 0..1 and of shape (h, w)."""
    hsv = np.asarray(Image.fromarray(rgba[..., :3]).convert("HSV")).astype(np.float32) / 255
    return hsv[..., 0], hsv[..., 1], hsv[..., 2], rgba[..., 3].astype(np.float32) / 255


def _main_hue(rgba: Array) -> tuple[float, float]:
    """The hue that colours most of a picture, and the part of its area that it colours."""
    hue, saturation, value, alpha = _hsv(rgba)
    weight = saturation * value * alpha * (saturation > 0.2)
    counts, _ = np.histogram(hue, bins=36, range=(0, 1), weights=weight)
    smooth = counts + np.roll(counts, 1) + np.roll(counts, -1)
    main = (float(smooth.argmax()) + 0.5) / 36
    near = (np.abs((hue - main + 0.5) % 1 - 0.5) < _NEAR) & (saturation > 0.2) & (value > 0.15)
    return main, float((near * alpha).sum() / max(1.0, alpha.sum()))


def coloured_part(rgba: Array) -> float:
    """How much of the thing its main colour covers: above a half, a paint word makes sense."""
    return _main_hue(rgba)[1]


def paint(rgba: Array, colour: Paint) -> Array:
    """The thing in another colour; parts of other colours, as leaves or eyes, stay.

    Args:
        rgba: (h, w, 4).
        colour: The wanted one; shades around the main hue keep their distance from it.
    """
    hue, saturation, value, _ = _hsv(rgba)
    main, _ = _main_hue(rgba)
    away = (hue - main + 0.5) % 1 - 0.5
    chosen = (np.abs(away) < _NEAR) & (saturation > 0.12)
    # Shades spread less than they did: a painted thing should be called by one colour.
    hue = np.where(chosen, (colour.hue + 0.4 * away) % 1, hue)
    saturation = np.where(chosen, np.clip(saturation * colour.saturation, 0, 1), saturation)
    value = np.where(chosen, value**colour.lift, value)
    hsv = (np.stack([hue, saturation, value], -1) * 255).round().astype(np.uint8)
    rgb = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
    return np.concatenate([rgb, rgba[..., 3:]], -1)


def premultiplied(rgba: Array, size: int) -> Tensor:
    """(n, h, w, 4) -> float (n, 4, size, size) in 0..1, colour times opacity."""
    x = torch.from_numpy(np.ascontiguousarray(rgba)).permute(0, 3, 1, 2).float() / 255
    x[:, :3] *= x[:, 3:]
    return F.avg_pool2d(x, x.shape[-1] // size) if x.shape[-1] != size else x


def place(
    pictures: Tensor,
    rng: np.random.Generator,
    *,
    turn: float = 0.12,
    shift: float = 0.1,
    zoom: tuple[float, float] = (0.95, 1.25),
    mirror: float = 0.0,
) -> Tensor:
    """Turn, shift, shrink and mirror each picture by chance.

    Args:
        pictures: Premultiplied, (n, 4, h, w).
        rng: Where chance comes from.
        turn: Largest angle, in radians.
        shift: Largest shift, as a part of half the width.
        zoom: Range of how much wider the view is than the picture.
        mirror: Probability of swapping left and right.
    """
    n = len(pictures)
    angle = rng.uniform(-turn, turn, n)
    scale = rng.uniform(*zoom, n)
    flip = np.where(rng.random(n) < mirror, -1.0, 1.0)
    matrix = np.zeros((n, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = scale * np.cos(angle) * flip, -scale * np.sin(angle)
    matrix[:, 1, 0], matrix[:, 1, 1] = scale * np.sin(angle) * flip, scale * np.cos(angle)
    matrix[:, :, 2] = rng.uniform(-shift, shift, (n, 2))
    grid = F.affine_grid(torch.from_numpy(matrix), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", align_corners=False)


def over(pictures: Tensor, backgrounds: Sequence[str]) -> Tensor:
    """Premultiplied (n, 4, h, w) over named colours -> (n, 3, h, w) in -1..1."""
    colours = torch.tensor([BACKGROUNDS[name] for name in backgrounds]).float() / 255
    solid = pictures[:, :3] + colours[:, :, None, None] * (1 - pictures[:, 3:])
    return solid.clamp(0, 1) * 2 - 1


def grid(pictures: Tensor, columns: int, path: Path, *, scale: int = 1, gap: int = 2) -> None:
    """Write pictures (n, 3, h, w) in -1..1, row by row, as one image file."""
    x = ((pictures.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().byte()
    n, _, h, w = x.shape
    rows = -(-n // columns)
    sheet = Image.new("RGB", (columns * (w + gap) - gap, rows * (h + gap) - gap), (230,) * 3)
    for i, picture in enumerate(x.permute(0, 2, 3, 1).numpy()):
        sheet.paste(Image.fromarray(picture), (i % columns * (w + gap), i // columns * (h + gap)))
    if scale > 1:
        sheet = sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)

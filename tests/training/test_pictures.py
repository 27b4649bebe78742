"""Painting, placing and compositing of pictures."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.concepts import BACKGROUNDS, PAINTS
from training.evaluate import colour_of
from training.pictures import coloured_part, grid, over, paint, place, premultiplied


def disc(rgb: tuple[int, int, int], eye: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """A coloured disc with an eye of another colour, 64x64, on nothing."""
    y, x = np.mgrid[:64, :64] - 31.5
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[x**2 + y**2 < 28**2] = (*rgb, 255)
    picture[x**2 + y**2 < 8**2] = (*eye, 255)
    return picture


@pytest.mark.parametrize("name", list(PAINTS))
def test_paint_changes_the_main_colour_to_the_wanted_hue(name: str) -> None:
    painted = paint(disc((220, 60, 40)), PAINTS[name])
    r, g, b = (int(v) / 255 for v in painted[32, 10, :3])
    away = (colorsys.rgb_to_hsv(r, g, b)[0] - PAINTS[name].hue + 0.5) % 1 - 0.5
    assert abs(away) < 0.02


def test_paint_leaves_what_has_another_colour_or_none() -> None:
    for eye in ((255, 255, 255), (30, 180, 60)):
        painted = paint(disc((220, 60, 40), eye), PAINTS["blue"])
        assert np.abs(painted[32, 32, :3].astype(int) - eye).max() <= 6


@pytest.mark.parametrize("name", list(PAINTS))
def test_the_evaluation_recognises_what_was_painted(name: str) -> None:
    painted = paint(disc((230, 40, 30)), PAINTS[name])
    (picture,) = over(premultiplied(painted[None], 64), ["white"])
    assert colour_of(picture) == name


def test_a_grey_thing_has_no_colour() -> None:
    (picture,) = over(premultiplied(disc((128, 128, 128))[None], 64), ["white"])
    assert colour_of(picture) is None
    assert coloured_part(disc((128, 128, 128))) == 0


def test_transparent_pixels_take_the_background_exactly() -> None:
    for name, rgb in BACKGROUNDS.items():
        (picture,) = over(premultiplied(disc((0, 0, 0))[None], 64), [name])
        found = (picture[:, 0, 0] + 1) * 127.5
        torch.testing.assert_close(found, torch.tensor(rgb).float(), atol=0.01, rtol=0)


def test_placing_moves_pictures_within_the_frame_and_repeats_with_the_seed() -> None:
    pictures = premultiplied(np.stack([disc((200, 0, 0))] * 4), 32)
    once = place(pictures, np.random.default_rng(3))
    again = place(pictures, np.random.default_rng(3))
    other = place(pictures, np.random.default_rng(4))
    assert torch.equal(once, again)
    assert not torch.allclose(once, other)
    assert once.sum() == pytest.approx(float(pictures.sum()), rel=0.3)


def test_a_grid_holds_every_picture_in_rows(tmp_path: Path) -> None:
    grid(torch.zeros(5, 3, 8, 8), 3, tmp_path / "grid.png", gap=2)
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (3 * 10 - 2, 2 * 10 - 2)

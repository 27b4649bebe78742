"""A part of a picture is cut out around a mask, and pasted back."""

from __future__ import annotations

from typing import Any

import PIL.Image
import pytest
import torch
from graphdiff_nodes.cropping import CropAroundMask, PasteArea, area_around
from graphdiff_nodes.values import Area, Image, Mask


def picture(width: int, height: int, batch: int = 1) -> Image:
    rng = torch.Generator().manual_seed(width)
    return Image(torch.randint(0, 256, (batch, 3, height, width), generator=rng) / 255)


def box(width: int, height: int, left: int, top: int, right: int, bottom: int) -> Mask:
    values = torch.zeros(1, 1, height, width)
    values[:, :, top:bottom, left:right] = 1
    return Mask(values)


@pytest.mark.parametrize(
    ("where", "size", "padding", "wanted"),
    [
        ((20, 30, 40, 50), (64, 64), 0, Area(20, 30, 20, 20)),
        ((20, 30, 40, 50), (64, 64), 5, Area(15, 25, 30, 30)),
        ((20, 30, 40, 40), (64, 64), 0, Area(20, 25, 20, 20)),  # made as high as it is wide
        ((0, 0, 10, 4), (64, 64), 2, Area(0, 0, 12, 12)),  # pushed back into the picture
        ((0, 40, 100, 60), (64, 64), 0, Area(0, 0, 100, 80)),  # as high as the picture is
        ((20, 30, 40, 50), (128, 64), 0, Area(10, 30, 40, 20)),
    ],
)
def test_the_area_has_the_proportions_of_the_size_as_far_as_there_is_room(
    where: tuple[int, int, int, int], size: tuple[int, int], padding: int, wanted: Area
) -> None:
    assert area_around(box(100, 80, *where).values, *size, padding) == wanted


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (96, 32)])
@pytest.mark.parametrize("where", [(3, 50, 9, 78), (60, 2, 99, 6), (0, 0, 100, 80)])
def test_it_is_diffusers_area(where: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    from diffusers.image_processor import VaeImageProcessor

    mask = box(100, 80, *where)
    drawn = PIL.Image.fromarray((mask.values[0, 0] * 255).byte().numpy())
    x, y, right, bottom = VaeImageProcessor.get_crop_region(drawn, *size, pad=7)
    assert area_around(mask.values, *size, 7) == Area(x, y, right - x, bottom - y)


def test_what_is_cut_out_is_brought_to_the_size() -> None:
    image, mask = picture(100, 80), box(100, 80, 20, 30, 40, 50)
    part = CropAroundMask.fn(image, mask, 20, 20, 0)
    assert torch.equal(part.image.pixels, image.pixels[:, :, 30:50, 20:40])
    assert part.mask.values.eq(1).all()
    large = CropAroundMask.fn(image, mask, 64, 48, 8)
    assert large.image.pixels.shape == (1, 3, 48, 64)
    assert large.mask.values.shape == (1, 1, 48, 64)


def test_edges_go_on_where_the_picture_ends() -> None:
    image = Image(torch.full((1, 3, 20, 100), 0.2))
    part = CropAroundMask.fn(image, box(100, 20, 0, 0, 100, 20), 64, 64, 0)
    assert (part.image.pixels - 0.2).abs().max() < 1e-6


def test_pasting_changes_nothing_where_the_mask_is_black() -> None:
    image, mask = picture(100, 80), box(100, 80, 20, 30, 40, 50)
    painted = Image(torch.ones(2, 3, 64, 64))
    found = PasteArea.fn(image, painted, mask, Area(20, 30, 20, 20)).pixels
    assert found.shape == (2, 3, 80, 100)
    assert found[:, :, 30:50, 20:40].eq(1).all()
    inside = mask.values.bool().expand_as(found)
    assert torch.equal(found[~inside], image.pixels.expand_as(found)[~inside])


def test_soft_masks_mix() -> None:
    image, mask = Image(torch.zeros(1, 3, 10, 10)), Mask(torch.full((1, 1, 10, 10), 0.5))
    found = PasteArea.fn(image, Image(torch.ones(1, 3, 10, 10)), mask, Area(0, 0, 10, 10)).pixels
    assert (found - 0.5).abs().max() < 0.01


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (picture(10, 8), Mask(torch.zeros(1, 1, 8, 10)), "black everywhere"),
        (picture(10, 8), Mask(torch.ones(1, 1, 8, 9)), "10x8 pixels and the mask 9x8"),
        (picture(10, 8, 2), Mask(torch.ones(1, 1, 8, 10)), "there are 2 pictures and 1 masks"),
    ],
)
def test_what_cannot_be_cut_is_said(image: Any, mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CropAroundMask.fn(image, mask, 64, 64)

"""What a UNet is given that lies on the host."""

from __future__ import annotations

import gc
import weakref

import torch
from graphdiff_nodes import prediction

META = torch.device("meta")  # stands for a GPU


def test_a_picture_is_brought_once_for_each_device_and_dtype() -> None:
    picture, other = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    brought = prediction._moved(picture, META, torch.bfloat16)
    assert (brought.device, brought.dtype) == (META, torch.bfloat16)
    assert prediction._moved(picture, META, torch.bfloat16) is brought
    assert prediction._moved(picture, META, torch.float32).dtype == torch.float32
    assert prediction._moved(other, META, torch.bfloat16) is not brought
    there = prediction._moved(picture, torch.device("cpu"), torch.bfloat16)
    assert torch.equal(there, picture.to(torch.bfloat16))


def test_a_picture_that_is_where_it_is_wanted_is_itself() -> None:
    picture = torch.rand(1, 3, 8, 8)
    assert prediction._moved(picture, torch.device("cpu"), torch.float32) is picture


def test_what_was_brought_goes_with_the_picture() -> None:
    picture = torch.rand(1, 3, 8, 8)
    left = weakref.ref(prediction._moved(picture, META, torch.bfloat16))
    gc.collect()
    assert left() is not None
    del picture
    gc.collect()
    assert left() is None

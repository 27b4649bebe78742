"""Pictures that cannot be shown are refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from graphdiff_nodes import SaveImage
from graphdiff_nodes.values import Image

from graphdiff.engine.outputs import OutputFolder


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_picture_with_values_that_are_no_numbers_is_refused(value: float, tmp_path: Path) -> None:
    pixels = torch.zeros(1, 3, 4, 4)
    pixels[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match="no numbers"):
        SaveImage.fn(Image(pixels), "a.png", outputs=OutputFolder(tmp_path))
    assert not list(tmp_path.iterdir())

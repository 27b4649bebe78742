"""What models return: named tuples, so that `.sample` and `[0]` both work."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SampleOutput(NamedTuple):
    """A prediction for a sample, or a decoded picture.

    Args:
        sample: Shape (N, C, H, W).
    """

    sample: Tensor

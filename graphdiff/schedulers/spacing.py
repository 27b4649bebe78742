"""Which of the training timesteps a schedule visits."""

from __future__ import annotations

import math
from typing import Literal

from graphdiff.schedulers.float32 import linspace

Spacing = Literal["linspace", "leading", "trailing"]


def spaced(steps: int, total: int, spacing: Spacing, offset: int = 0) -> list[float]:
    """Choose timesteps from high to low. Lin et al. 2023, arXiv:2305.08891, table 2.

    Args:
        steps: How many to choose.
        total: How many the model was trained with, T.
        spacing: `linspace` from T-1 to 0 with fractions, `leading` from 0 upwards in whole strides,
            `trailing` from T-1 downwards.
        offset: What `leading` adds to each.

    Raises:
        ValueError: `steps` is not between 1 and `total`.
    """
    check_steps(steps, total)
    match spacing:
        case "linspace":
            return linspace(0, total - 1, steps)[::-1]
        case "leading":
            return [float(i * (total // steps) + offset) for i in reversed(range(steps))]
        case "trailing":
            return _trailing(total, total / steps)


def spaced_above_zero(
    steps: int, total: int, spacing: Spacing, offset: int = 0, *, highest: int | None = None
) -> list[int]:
    """Choose one timestep more than there are steps and leave the lowest out, as DPM-Solver does.

    Args:
        steps: How many to choose.
        total: How many the model was trained with.
        spacing: As in `spaced`; always whole numbers.
        offset: What `leading` adds to each.
        highest: How many of the training timesteps may be used, where the noisiest are left out.

    Raises:
        ValueError: `steps` is not between 1 and `total`.
    """
    check_steps(steps, total)
    highest = total if highest is None else highest
    match spacing:
        case "linspace":
            return [round(t) for t in linspace(0, highest - 1, steps + 1)[:0:-1]]
        case "leading":
            stride = highest // (steps + 1)
            return [i * stride + offset for i in range(steps, 0, -1)]
        case "trailing":
            return [int(t) for t in _trailing(highest, total / steps)]


def check_steps(steps: int, total: int) -> int:
    """Give a number of steps back.

    Raises:
        ValueError: The training timesteps cannot give so many.
    """
    if not 1 <= steps <= total:
        raise ValueError(
            f"{steps} steps are asked for, but the model was trained with {total} timesteps: "
            f"ask for 1 to {total}"
        )
    return steps


def _trailing(highest: int, stride: float) -> list[float]:
    # The second value gives the stride, as numpy.arange has it: decides halves near a rounding tie.
    delta = (highest - stride) - highest
    return [float(round(highest + i * delta)) - 1 for i in range(math.ceil(highest / stride))]

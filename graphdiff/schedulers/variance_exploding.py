"""Steps along noise levels in units of the signal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from graphdiff.schedulers.schedule import Grid, Rule, Step
from graphdiff.schedulers.trained import input_scale

H = TypeVar("H")


def first_order_places(rule: Rule[H], grid: Grid) -> tuple[Step, ...]:
    """Make one step from each noise level to the next."""
    count = len(grid.timesteps)
    return tuple(
        place(rule, timestep, sigma, following, last=i == count - 1)
        for i, (timestep, (sigma, following)) in enumerate(
            zip(grid.timesteps, pairwise(grid.sigmas), strict=True)
        )
    )


def place(
    rule: Rule[H],
    timestep: float,
    sigma: float,
    following: float,
    *,
    stage: int = 0,
    last: bool = False,
    coefficients: tuple[float, ...] = (),
) -> Step:
    """Make a step between two noise levels."""
    return Step(
        rule=rule,
        timestep=timestep,
        signal=1.0,
        noise=sigma,
        signal_next=1.0,
        noise_next=following,
        input_scale=input_scale(sigma),
        stage=stage,
        last=last,
        coefficients=coefficients,
    )


def doubled(values: Sequence[float]) -> tuple[float, ...]:
    """Repeat all values but the first, for steps that call the model twice."""
    return (*values[:1], *(value for value in values[1:] for _ in range(2)))

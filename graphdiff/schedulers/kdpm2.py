"""DPM-Solver-2 along the noise levels, deterministic and ancestral. arXiv:2206.00364."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from graphdiff.schedulers.euler import ancestral
from graphdiff.schedulers.float32 import f32
from graphdiff.schedulers.predictions import OfNoise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped, draw
from graphdiff.schedulers.trained import SpreadRule
from graphdiff.schedulers.variance_exploding import place

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class MidpointHistory:
    """What a step of two stages remembers between them.

    Attributes:
        sample: Where the step started from.
    """

    sample: Tensor


@dataclass(frozen=True, kw_only=True)
class KDPM2(SpreadRule[MidpointHistory]):
    """Second order, two model calls a step: the slope in the middle, by the logarithm, counts.

    `Step.coefficients` holds, at the second stage, the level that the step started from, the one
    that it is followed to, and that of the noise drawn anew.
    """

    name = "KDPM2DiscreteScheduler"
    evaluations = 2

    prediction_type: OfNoise = "epsilon"
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps and noise levels, and put the steps' middles between."""
        grid = super().grid(steps, timesteps=timesteps, sigmas=sigmas, mu=mu)
        times = list(grid.timesteps)
        if self.use_karras_sigmas:
            times = [float(round(t)) for t in times]
        middles = [self.timestep_of(self.middle(*ends)) for ends in pairwise(grid.sigmas[:-1])]
        between = zip(middles, times[1:], strict=True)
        both = (times[0], *(f32(t) for pair in between for t in pair))
        return Grid(both, grid.sigmas, grid.count)

    def middle(self, sigma: float, following: float) -> float:
        """Give the level of a step's second stage."""
        return math.sqrt(sigma * self.followed_to(sigma, following)[0])

    def followed_to(self, sigma: float, following: float) -> tuple[float, float]:
        """Give the level that the slope is followed to, and that of the noise drawn anew."""
        return following, 0.0

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """Two stages for each step but the last, which has one."""
        steps = list[Step]()
        times = iter(grid.timesteps)
        for sigma, following in pairwise(grid.sigmas[:-1]):
            middle = self.middle(sigma, following)
            factors = (sigma, *self.followed_to(sigma, following))
            steps.append(place(self, next(times), sigma, middle))
            steps.append(place(self, next(times), middle, following, stage=1, coefficients=factors))
        sigma, end = grid.sigmas[-2:]
        return (*steps, place(self, next(times), sigma, end, last=True))

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: MidpointHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[MidpointHistory]:
        """Go to the middle, or from the start all the way by the slope of the middle."""
        slope = self.slope(prediction, step, sample)
        if step.stage == 0:
            moved = sample.add(slope, alpha=step.noise_next - step.noise)
            return Stepped(moved, MidpointHistory(sample), rng)
        begun, down, up = step.coefficients
        if history is None:  # a run that starts in the midst of a step
            moved = sample.add(slope, alpha=down - step.noise)
        else:
            moved = history.sample.add(slope, alpha=down - begun)
        if self.stochastic:
            fresh, rng = draw(rng, prediction, self)
            moved = moved.add(fresh, alpha=up)
        return Stepped(moved, None, rng)


@dataclass(frozen=True, kw_only=True)
class KDPM2Ancestral(KDPM2):
    """DPM-Solver-2 with part of the noise drawn anew at the second stage of each step."""

    name = "KDPM2AncestralDiscreteScheduler"

    @property
    def stochastic(self) -> bool:
        """Every second stage draws noise."""
        return True

    def followed_to(self, sigma: float, following: float) -> tuple[float, float]:
        """Split the next level into what is left and what is drawn anew."""
        return ancestral(sigma, following)

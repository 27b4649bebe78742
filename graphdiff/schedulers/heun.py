"""Heun's method along the noise levels: a trial step, then one by the mean of both slopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from graphdiff.schedulers.predictions import OfNoise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Rule, Step, Stepped
from graphdiff.schedulers.trained import SpreadRule
from graphdiff.schedulers.variance_exploding import doubled, place
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class HeunHistory:
    """What a step of two stages remembers between them.

    Attributes:
        sample: Where the step started from.
        slope: The slope there.
        length: How far the step goes.
    """

    sample: Tensor
    slope: Tensor
    length: float


@dataclass(frozen=True, kw_only=True)
class Heun(SpreadRule[HeunHistory]):
    """Second order, two model calls a step. Karras et al. 2022, arXiv:2206.00364, algorithm 1.

    The second stage stands at the level that the trial step led to. A run that starts there, in the
    midst of a step, keeps its sample until the next step.
    """

    name = "HeunDiscreteScheduler"
    evaluations = 2

    prediction_type: OfNoise = "epsilon"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    clip_sample: bool = False
    clip_sample_range: float = 1.0

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps and noise levels; most timesteps are visited twice."""
        grid = super().grid(steps, timesteps=timesteps, sigmas=sigmas, mu=mu)
        return Grid(doubled(grid.timesteps), grid.sigmas, grid.count)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """Two stages for each step but the last, which has one."""
        return two_stage_places(self, grid)

    def denoised(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the image that the prediction points to, clipped into range where asked for."""
        image = super().denoised(prediction, step, sample)
        limit = self.clip_sample_range
        return image.clamp(-limit, limit) if self.clip_sample else image

    def slope(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the direction to the image, which may be clipped."""
        if not self.clip_sample:
            return super().slope(prediction, step, sample)
        return (sample - self.denoised(prediction, step, sample)) / step.noise

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: HeunHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[HeunHistory]:
        """Try a step, or take it by the mean of both slopes."""
        return heun(self.slope(prediction, step, sample), step, sample, history, rng)


def two_stage_places(rule: Rule[HeunHistory], grid: Grid) -> tuple[Step, ...]:
    """Make both stages of each step along noise levels."""
    steps = list[Step]()
    times = iter(grid.timesteps)
    for sigma, following in pairwise(grid.sigmas):
        steps.append(place(rule, next(times), sigma, following))
        if len(steps) < len(grid.timesteps):
            steps.append(place(rule, next(times), following, following, stage=1))
    *others, end = steps
    return (*others, place(rule, end.timestep, end.noise, end.noise_next, last=True))


def heun(
    slope: Tensor, step: Step, sample: Tensor, history: HeunHistory | None, rng: NoiseSource | None
) -> Stepped[HeunHistory]:
    """Follow a slope, or the mean of it and the one that the step began with."""
    if step.stage == 0:
        length = step.noise_next - step.noise
        return Stepped(sample.add(slope, alpha=length), HeunHistory(sample, slope, length), rng)
    if history is None:
        return Stepped(sample, None, rng)
    half = history.length / 2
    moved = combined((1.0, history.sample), (half, history.slope), (half, slope))
    return Stepped(moved, None, rng)

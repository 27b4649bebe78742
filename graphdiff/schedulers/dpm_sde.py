"""DPM-Solver++ (2S) of the stochastic differential equation, with noise from a Brownian path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from graphdiff.schedulers.brownian import brownian_noise
from graphdiff.schedulers.euler import ancestral
from graphdiff.schedulers.predictions import OfNoise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped, seeds_from
from graphdiff.schedulers.trained import SpreadRule
from graphdiff.schedulers.variance_exploding import doubled, place
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class BrownianHistory:
    """What the rule remembers.

    Attributes:
        seeds: What its Brownian path, or one for each picture, is made from.
        sample: Where a step of two stages started from, between them.
    """

    seeds: tuple[int, ...]
    sample: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class DPMSolverSDE(SpreadRule[BrownianHistory]):
    """Second order, two model calls a step. Katherine Crowson's k-diffusion, `sample_dpmpp_sde`.

    `Step.coefficients` holds the lowest level above zero and the highest of the schedule, between
    which the path runs, and the levels that the whole step starts from and leads to.
    """

    name = "DPMSolverSDEScheduler"
    evaluations = 2
    single_timesteps = False

    prediction_type: OfNoise = "epsilon"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    noise_sampler_seed: int | tuple[int, ...] | None = None
    s_noise: float = field(default=1.0, metadata={"option": True})

    @property
    def stochastic(self) -> bool:
        """A seed is drawn where the configuration has none."""
        return self.noise_sampler_seed is None

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Give the ends between which levels are spread; karras has no ends of its own here."""
        return (low, high) if self.use_karras_sigmas else super().bounds(low, high)

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
        times = list(doubled(grid.timesteps))
        middles = [math.sqrt(a * b) for a, b in pairwise(grid.sigmas[:-1])]
        times[1::2] = [self.timestep_of(middle) for middle in middles]
        return Grid(tuple(times), grid.sigmas, grid.count)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """Two stages for each step but the last, which has one."""
        steps = list[Step]()
        times = iter(grid.timesteps)
        span = (min(sigma for sigma in grid.sigmas if sigma > 0), max(grid.sigmas))
        for ends in pairwise(grid.sigmas[:-1]):
            begun, end = ends
            middle, facts = math.sqrt(begun * end), (*span, *ends)
            steps.append(place(self, next(times), begun, middle, coefficients=facts))
            steps.append(place(self, next(times), middle, end, stage=1, coefficients=facts))
        begun, end = grid.sigmas[-2:]
        facts = (*span, begun, end)
        return (*steps, place(self, next(times), begun, end, last=True, coefficients=facts))

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: BrownianHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[BrownianHistory]:
        """Go to the middle, or from the start all the way by the image that it points to."""
        image = self.denoised(prediction, step, sample)
        if step.noise_next == 0:
            return Stepped(image, history, rng)
        if history is None:
            seeds, rng = self._seeds(rng)
            history = BrownianHistory(seeds)
        low, high, begun, end = step.coefficients
        start, level = sample, step.noise
        if step.stage == 1 and history.sample is not None:
            start, level = history.sample, begun
        down, up = ancestral(level, step.noise_next)
        halves = (step.stage == 1 and level != begun, step.stage == 0)
        noise = brownian_noise(history.seeds, sample, (low, high), (begun, end), halves)
        kept = sample if step.stage == 0 else None
        share = down / level
        moved = combined((share, start), (1 - share, image), (up * self.s_noise, noise))
        return Stepped(moved, BrownianHistory(history.seeds, kept), rng)

    def _seeds(self, rng: NoiseSource | None) -> tuple[tuple[int, ...], NoiseSource | None]:
        seed = self.noise_sampler_seed
        if seed is not None:
            return (seed if isinstance(seed, tuple) else (seed,)), rng
        return seeds_from(rng, self)

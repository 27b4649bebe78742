"""Euler's method along the noise levels, deterministic and ancestral. arXiv:2206.00364."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from graphdiff.schedulers.betas import alphas_cumprod, sigma_table
from graphdiff.schedulers.float32 import f32
from graphdiff.schedulers.predictions import OfNoise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped, draw
from graphdiff.schedulers.sigmas import Spread, log_linear_sigmas
from graphdiff.schedulers.trained import SigmaRule, SpreadRule
from graphdiff.schedulers.variance_exploding import first_order_places

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class EulerRule(SigmaRule[None]):
    """What both Euler rules share: zero-terminal-SNR tables and steps without memory."""

    prediction_type: OfNoise = "epsilon"
    rescale_betas_zero_snr: bool = False

    @property
    def alphas(self) -> tuple[float, ...]:
        """The share of the signal's variance that is left at each training timestep."""
        return alphas_cumprod(
            self.num_train_timesteps,
            self.beta_start,
            self.beta_end,
            self.beta_schedule,
            self.trained_betas,
            zero_snr=self.rescale_betas_zero_snr,
            divisible=True,
        )

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step from each noise level to the next."""
        count = len(grid.timesteps)
        return tuple(
            replace(step, coefficients=self.coefficients(step.noise, step.noise_next, count))
            for step in first_order_places(self, grid)
        )

    def coefficients(self, sigma: float, following: float, steps: int) -> tuple[float, ...]:
        """Prepare what the arithmetic of a step needs beside its noise levels."""
        return ()

    def followed(self, prediction: Tensor, step: Step, sample: Tensor, end: float) -> Tensor:
        """Follow the slope from the step's noise level to another."""
        length = end - step.noise
        slope = self.slope(prediction, step, sample)
        if self.prediction_type == "epsilon":
            return sample.add(slope, alpha=length)
        # Rounded twice, as in diffusers: from a level of thousands down to tens, last bits show.
        return sample + slope * length


@dataclass(frozen=True, kw_only=True)
class Euler(EulerRule, SpreadRule[None]):
    """First order, one model call a step. Karras et al. 2022, algorithm 2 without the correction.

    `Step.coefficients` holds, where there is churn, how much noise is added before the step.
    """

    name = "EulerDiscreteScheduler"
    hidden = frozenset()

    interpolation_type: Literal["linear", "log_linear"] = "linear"
    timestep_type: Literal["discrete", "continuous"] = "discrete"
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    s_churn: float = field(default=0.0, metadata={"option": True})
    s_tmin: float = field(default=0.0, metadata={"option": True})
    s_tmax: float = field(default=math.inf, metadata={"option": True})
    s_noise: float = field(default=1.0, metadata={"option": True})

    @property
    def stochastic(self) -> bool:
        """Noise is drawn only with churn."""
        return self.s_churn > 0

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[None]:
        """Follow the slope at `step.noise` down to `step.noise_next`."""
        sample = sample.float()
        for churn in step.coefficients:
            step, sample, rng = churned(step, sample, churn, self.s_noise, prediction, rng)
        moved = self.followed(prediction, step, sample, step.noise_next)
        return Stepped(moved.to(prediction.dtype), None, rng)

    def coefficients(self, sigma: float, following: float, steps: int) -> tuple[float, ...]:
        """How much noise churn adds here, as a share of the level; nothing where it adds none."""
        return churn_at(sigma, steps, self.s_churn, self.s_tmin, self.s_tmax)

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps and noise levels; both may be the user's own."""
        grid = super().grid(steps, timesteps=timesteps, sigmas=sigmas, mu=mu)
        if not self.continuous:
            return grid
        times = [f32(0.25 * f32(math.log(sigma))) for sigma in grid.sigmas[:-1]]
        return Grid(tuple(times), grid.sigmas, grid.count)

    @property
    def continuous(self) -> bool:
        """Whether the model is told the logarithm of the noise level."""
        return self.timestep_type == "continuous" and self.prediction_type == "v_prediction"

    def check_own_timesteps(self) -> None:
        """Refuse timesteps of the user's own where a setting chooses them."""
        super().check_own_timesteps()
        if self.continuous:
            raise ValueError(self.chooses_already("timestep_type is 'continuous'"))

    def levels(self, timesteps: Sequence[float]) -> list[float]:
        """Look up the noise levels of timesteps, or spread one more evenly in log(sigma)."""
        if self.interpolation_type == "log_linear":
            table = sigma_table(self.alphas)
            return log_linear_sigmas(len(timesteps), table[0], table[-1])
        return super().levels(timesteps)

    @property
    def final_sigma(self) -> float:
        """Zero, or the training table's lowest level."""
        return 0.0 if self.final_sigmas_type == "zero" else sigma_table(self.alphas)[0]


@dataclass(frozen=True, kw_only=True)
class EulerAncestral(EulerRule):
    """Euler's method with part of the noise drawn anew at each step.

    Noise is drawn at the last step as well, times zero, as diffusers does. `Step.coefficients`
    holds the level that the slope is followed to and that of the fresh noise.
    """

    name = "EulerAncestralDiscreteScheduler"

    sigma_spread: Spread | None = field(default=None, metadata={"option": True})

    @property
    def spread(self) -> Spread | None:
        """How noise levels are spread; k-diffusion allows it, diffusers does not."""
        return self.sigma_spread

    @property
    def stochastic(self) -> bool:
        """Every step draws noise."""
        return True

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[None]:
        """Follow the slope further down than `step.noise_next`, and add noise up to it."""
        down, up = step.coefficients
        sample = sample.float()
        moved = self.followed(prediction, step, sample, down)
        fresh, rng = draw(rng, prediction, self)
        moved = moved.add(fresh, alpha=up)
        return Stepped(moved.to(prediction.dtype), None, rng)

    def coefficients(self, sigma: float, following: float, steps: int) -> tuple[float, ...]:
        """Split the next level into what is left and what is drawn anew."""
        return ancestral(sigma, following)


def ancestral(sigma: float, following: float) -> tuple[float, float]:
    """Split a noise level into what remains of the noise and what is drawn anew, in this order."""
    # In single precision: of two very different levels little is left, and it is diffusers' rest.
    from_squared, to_squared = f32(sigma * sigma), f32(following * following)
    fresh = f32(f32(to_squared * f32(from_squared - to_squared)) / from_squared)
    up = f32(math.sqrt(max(fresh, 0.0)))  # a table without signal at its end may rise there
    return f32(math.sqrt(max(f32(to_squared - f32(up * up)), 0.0))), up


def churn_at(sigma: float, steps: int, churn: float, low: float, high: float) -> tuple[float, ...]:
    """Give the share of a level that churn adds to it, where it does. arXiv:2206.00364."""
    if churn <= 0 or not low <= sigma <= high:
        return ()
    return (min(churn / steps, math.sqrt(2) - 1),)


def churned(
    step: Step,
    sample: Tensor,
    churn: float,
    s_noise: float,
    prediction: Tensor,
    rng: NoiseSource | None,
) -> tuple[Step, Tensor, NoiseSource]:
    """Add noise to a sample before its step; gives the step from the raised level too."""
    raised = step.noise * (1 + churn)
    fresh, rng = draw(rng, prediction, step.rule)
    sample = sample.add(fresh, alpha=s_noise * math.sqrt(raised**2 - step.noise**2))
    return replace(step, noise=raised, coefficients=()), sample, rng

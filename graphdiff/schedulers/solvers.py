"""What the exponential integrators share: DPM-Solver, UniPC and DEIS."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from graphdiff.schedulers.betas import alphas_cumprod, sigma_table
from graphdiff.schedulers.float32 import f32, linspace, rounded
from graphdiff.schedulers.predictions import predicted_noise, thresholded
from graphdiff.schedulers.schedule import Grid, Step
from graphdiff.schedulers.sigmas import interpolated, shifted, spread_sigmas
from graphdiff.schedulers.spacing import spaced_above_zero
from graphdiff.schedulers.trained import SpreadRule, counted
from graphdiff.schedulers.weighted import difference

if TYPE_CHECKING:
    from torch import Tensor

H = TypeVar("H")
_FEW = 15
"""Below so many steps the last ones are of lower order, which is stabler. arXiv:2211.01095."""


@dataclass(frozen=True, slots=True)
class Level:
    """The factors of image and noise in a sample.

    Attributes:
        signal: The image's.
        noise: The gaussian's.
    """

    signal: float
    noise: float

    @property
    def log_snr(self) -> float:
        """Half the logarithm of the signal-to-noise ratio, which solvers step along."""
        if not self.signal or not self.noise:
            return math.inf if self.signal else -math.inf
        return math.log(self.signal) - math.log(self.noise)


def level(step: Step) -> Level:
    """Give the level of a step's sample."""
    return Level(step.signal, step.noise)


def level_next(step: Step) -> Level:
    """Give the level that a step leads to."""
    return Level(step.signal_next, step.noise_next)


@dataclass(frozen=True, slots=True)
class SolverHistory:
    """What a multistep solver remembers.

    Attributes:
        outputs: The last model outputs, converted to what the solver integrates, the newest last.
        levels: Where they were made.
        sample: The sample that the last step, or the last whole step, started from.
        order: The order of that step.
    """

    outputs: tuple[Tensor, ...] = ()
    levels: tuple[Level, ...] = ()
    sample: Tensor | None = None
    order: int = 1


@dataclass(frozen=True, kw_only=True)
class SolverRule(SpreadRule[SolverHistory]):
    """An exponential integrator in the log of the signal-to-noise ratio."""

    solver_order: Literal[1, 2, 3] = 2
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    lower_order_final: bool = True
    use_flow_sigmas: bool | None = False
    flow_shift: float = 1.0
    use_dynamic_shifting: bool = False
    time_shift_type: Literal["exponential", "linear"] = "exponential"
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

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps by the spacing, spread the levels, or take the user's own of either."""
        self.take_one(steps=steps, timesteps=timesteps, sigmas=sigmas)
        if sigmas is not None:
            levels = rounded(sigmas)
            times = [self.nearest_timestep(level) for level in levels[:-1]]
            return Grid(tuple(times), tuple(levels), len(times))
        if timesteps is not None:
            self.check_own_timesteps()
            return self.chosen([int(t) for t in timesteps], mu)
        return self.chosen(self.spaced_down(counted(self, steps)), mu)

    def nearest_timestep(self, sigma: float) -> int:
        """Give the timestep that is nearest to a noise level."""
        if self.use_flow_sigmas:
            return round(sigma * self.num_train_timesteps)
        return round(self.timestep_of(sigma))

    def spaced_down(self, steps: int) -> list[int]:
        """Choose timesteps by the spacing, down to the one above the lowest."""
        total, offset = self.num_train_timesteps, self.steps_offset
        return spaced_above_zero(
            steps, total, self.timestep_spacing, offset, highest=total - self.clipped
        )

    @property
    def clipped(self) -> int:
        """How many of the noisiest training timesteps are left out."""
        return 0

    def chosen(self, timesteps: list[int], mu: float | None) -> Grid:
        """Give timesteps their noise levels or, where levels are spread, these their timesteps."""
        steps, table, shift = len(timesteps), sigma_table(self.alphas), self.shift_at(mu)
        if self.spread is not None:
            low, high = self.bounds(table[0], table[-1])
            levels = spread_sigmas(self.spread, steps, low, high)
            times = [int(self.whole_timestep(each)) for each in levels]
        elif self.use_flow_sigmas:
            levels = self.flow_levels(steps, shift)
            times = [int(each * self.num_train_timesteps) for each in levels]
        else:
            levels, times = interpolated(timesteps, table), timesteps
        return self.of_levels(levels, times)

    def of_levels(self, levels: Sequence[float], timesteps: Sequence[int]) -> Grid:
        """Put noise levels, with the one where a run ends, and timesteps together."""
        sigmas = (*rounded(levels), f32(self.end_sigma(levels[-1])))
        return Grid(tuple(timesteps), sigmas, len(timesteps))

    def whole_timestep(self, sigma: float) -> float:
        """Give the timestep of a noise level, which karras rounds and the others cut off."""
        timestep = self.timestep_of(sigma)
        return round(timestep) if self.spread == "karras" else timestep

    def flow_levels(self, steps: int, shift: float) -> list[float]:
        """Space a flow's noise levels evenly, shifted."""
        lowest = 1 / self.num_train_timesteps
        even = [1 - alpha for alpha in linspace(1, lowest, steps + 1)]
        return [shifted(sigma, shift) for sigma in even[:0:-1]]

    def shift_at(self, mu: float | None) -> float:
        """Give the flow's shift, which may depend on the picture's size.

        Raises:
            ValueError: `mu` is given, but the configuration does not use it.
        """
        if mu is None:
            return self.flow_shift
        if not self.use_dynamic_shifting:
            raise ValueError(f"{self.name} takes mu only where use_dynamic_shifting is true")
        return math.exp(mu) if self.time_shift_type == "exponential" else mu

    def end_sigma(self, lowest: float) -> float:
        """Give the noise level where a run ends, whose last step starts at `lowest`."""
        return 0.0

    def init_noise_sigma(self, grid: Grid) -> float:
        """Samples have unit variance."""
        return 1.0

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step from each noise level to the next."""
        levels = [self.level_of(sigma) for sigma in grid.sigmas]
        count = len(grid.timesteps)
        return tuple(
            Step(
                rule=self,
                timestep=timestep,
                signal=levels[i].signal,
                noise=levels[i].noise,
                signal_next=levels[i + 1].signal,
                noise_next=levels[i + 1].noise,
                order=self.order_at(i, count) if levels[i + 1].noise else 1,
                stage=self.stage_at(i),
                last=i == count - 1,
            )
            for i, timestep in enumerate(grid.timesteps)
        )

    def level_of(self, sigma: float) -> Level:
        """Give the factors of image and noise at a noise level."""
        if self.use_flow_sigmas:
            if sigma > 1:
                spread = f", since use_{self.spread}_sigmas is true" if self.spread else ""
                raise ValueError(
                    f"{self.name}: a flow's noise levels are at most 1, but this schedule has "
                    f"{sigma:.4g}{spread}: give sigma_max 1, or set use_flow_sigmas to false"
                )
            return Level(1 - sigma, sigma)
        signal = 1 / math.sqrt(sigma**2 + 1)
        return Level(signal, sigma * signal)

    def order_at(self, index: int, count: int) -> int:
        """Give the highest order at one of `count` steps."""
        left = count - index
        return min(self.solver_order, left) if self.lower_order_final else self.solver_order

    def stage_at(self, index: int) -> int:
        """Give the stage of a step; see `Step.stage`."""
        return 0

    def denoised(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the image that the prediction points to, its extremes pulled in where asked for."""
        image = super().denoised(prediction, step, sample)
        if self.thresholding:
            return thresholded(image, self.dynamic_thresholding_ratio, self.sample_max_value)
        return image

    def noise_of(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the noise that the prediction points to."""
        if self.thresholding:
            image = self.denoised(prediction, step, sample)
            return difference(sample, image, step.signal, step.noise)
        return predicted_noise(self.prediction_type, prediction, sample, step.signal, step.noise)


def lower_at_the_end(order: int, index: int, count: int, *, last: bool, few: bool) -> int:
    """Lower the order of the last step to 1 and, of few steps, that of the last but one to 2."""
    lower = few and count < _FEW
    if index == count - 1 and (last or lower):
        return 1
    return min(order, 2) if index == count - 2 and lower else order


def clipped_timesteps(alphas: tuple[float, ...], least_log_snr: float) -> int:
    """Count the training timesteps whose signal-to-noise ratio is too low."""
    log_snrs = [-math.log(sigma) for sigma in reversed(sigma_table(alphas))]
    return bisect_left(log_snrs, least_log_snr)

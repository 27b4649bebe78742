"""Samplers of models that were trained by noise level. Karras et al. 2022, arXiv:2206.00364."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from graphdiff.schedulers.dpm_formulas import Method
from graphdiff.schedulers.dpm_multistep import multistep
from graphdiff.schedulers.euler import churn_at, churned
from graphdiff.schedulers.float32 import f32, linspace, linspace32, rounded
from graphdiff.schedulers.predictions import thresholded
from graphdiff.schedulers.schedule import Grid, NoiseSource, Rule, Step, Stepped
from graphdiff.schedulers.solvers import SolverHistory, lower_at_the_end
from graphdiff.schedulers.variance_exploding import first_order_places
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor

H = TypeVar("H")


@dataclass(frozen=True, kw_only=True)
class EDMRule(Rule[H]):
    """A rule of a model that is told the logarithm of the noise level."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    sigma_schedule: Literal["karras", "exponential"] = "karras"
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
    rho: float = 7.0
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"

    def ramp(self, steps: int) -> list[float]:
        """Space the levels' ranks from 0 to 1."""
        return linspace(0, 1, steps)

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Spread the noise levels."""
        for key, value in (("timesteps", timesteps), ("sigmas", sigmas), ("mu", mu)):
            if value is not None:
                raise ValueError(f"{self.name} takes no {key} of your own; give it steps alone")
        if steps is None or steps < 1:
            raise ValueError(f"{self.name}: {steps} steps are asked for; ask for 1 or more")
        return self.ranked(self.ramp(steps))

    def ranked(self, ranks: Sequence[float]) -> Grid:
        """Give the noise levels of ranks from 0, the highest, to 1."""
        low, high = self.sigma_min, self.sigma_max
        if self.sigma_schedule == "karras":
            first, last = high ** (1 / self.rho), low ** (1 / self.rho)
            levels = rounded((first + rank * (last - first)) ** self.rho for rank in ranks)
        else:
            logs = linspace32(math.log(low), math.log(high), len(ranks))
            levels = rounded(math.exp(log) for log in reversed(logs))
        end = 0.0 if self.final_sigmas_type == "zero" else self.end_sigma(levels[-1])
        times = tuple(f32(0.25 * f32(math.log(level))) for level in levels)
        return Grid(times, (*levels, end), len(levels))

    def end_sigma(self, lowest: float) -> float:
        """Give the noise level where a run ends that does not end at zero."""
        return lowest

    def init_noise_sigma(self, grid: Grid) -> float:
        """The highest noise level, with the signal's share."""
        return math.sqrt(self.sigma_max**2 + 1)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step from each noise level to the next."""
        return tuple(
            replace(step, input_scale=1 / math.sqrt(step.noise**2 + self.sigma_data**2))
            for step in first_order_places(self, grid)
        )

    def denoised(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the image that the prediction points to. Karras et al. 2022, table 1."""
        sigma, data = step.noise, self.sigma_data
        variance = sigma**2 + data**2
        out = sigma * data / math.sqrt(variance)
        sign = 1 if self.prediction_type == "epsilon" else -1
        return combined((data**2 / variance, sample), (sign * out, prediction))


@dataclass(frozen=True, kw_only=True)
class EDMEuler(EDMRule[None]):
    """First order, one model call a step. Karras et al. 2022, algorithm 2 without the correction.

    `Step.coefficients` holds, where there is churn, how much noise is added before the step.
    """

    name = "EDMEulerScheduler"

    s_churn: float = field(default=0.0, metadata={"option": True})
    s_tmin: float = field(default=0.0, metadata={"option": True})
    s_tmax: float = field(default=math.inf, metadata={"option": True})
    s_noise: float = field(default=1.0, metadata={"option": True})

    @property
    def stochastic(self) -> bool:
        """Noise is drawn only with churn."""
        return self.s_churn > 0

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step from each noise level to the next."""
        bounds = (self.s_churn, self.s_tmin, self.s_tmax)
        return tuple(
            replace(step, coefficients=churn_at(step.noise, len(grid.timesteps), *bounds))
            for step in super().places(grid)
        )

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
        slope = (sample - self.denoised(prediction, step, sample)) / step.noise
        moved = sample + slope * (step.noise_next - step.noise)
        return Stepped(moved.to(prediction.dtype), None, rng)


@dataclass(frozen=True, kw_only=True)
class EDMDPMSolverMultistep(EDMRule[SolverHistory]):
    """DPM-Solver++ for models trained by noise level. Lu et al. 2022, arXiv:2211.01095."""

    name = "EDMDPMSolverMultistepScheduler"
    replaced: ClassVar[dict[str, dict[str, str]]] = {
        "algorithm_type": {"deis": "dpmsolver++"},
        "solver_type": {"logrho": "midpoint", "bh1": "midpoint", "bh2": "midpoint"},
    }

    solver_order: Literal[1, 2, 3] = 2
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    algorithm_type: Literal["dpmsolver++", "sde-dpmsolver++"] = "dpmsolver++"
    solver_type: Method = "midpoint"
    lower_order_final: bool = True
    euler_at_final: bool = False

    @property
    def stochastic(self) -> bool:
        """The SDE form draws noise in each step, the last one too."""
        return self.algorithm_type.startswith("sde-")

    def ramp(self, steps: int) -> list[float]:
        """Space the levels' ranks from 0 to 1, in single precision."""
        return linspace32(0, 1, steps)

    def end_sigma(self, lowest: float) -> float:
        """Give the noise level where a run ends that does not end at zero."""
        return f32(self.sigma_min)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step from each noise level to the next, of lower order at the end."""
        order, count = self.solver_order, len(grid.timesteps)
        last = self.euler_at_final or self.final_sigmas_type == "zero"
        few = self.lower_order_final
        return tuple(
            replace(step, order=lower_at_the_end(order, i, count, last=last, few=few))
            for i, step in enumerate(super().places(grid))
        )

    def denoised(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the image that the prediction points to, its extremes pulled in where asked for."""
        image = super().denoised(prediction, step, sample)
        if self.thresholding:
            return thresholded(image, self.dynamic_thresholding_ratio, self.sample_max_value)
        return image

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: SolverHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[SolverHistory]:
        """Integrate the polynomial through the last images to the next level."""
        return multistep(self, self.denoised(prediction, step, sample), step, sample, history, rng)

"""Rules of models that were trained on a table of betas, and how these lay out a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from graphdiff.schedulers.betas import (
    BetaSchedule,
    alphas_cumprod,
    log_sigma_table,
    sigma_table,
)
from graphdiff.schedulers.float32 import f32, rounded
from graphdiff.schedulers.schedule import Grid, Rule, Step
from graphdiff.schedulers.sigmas import Spread, interpolated, spread_sigmas, timestep_of
from graphdiff.schedulers.spacing import Spacing, spaced

if TYPE_CHECKING:
    from torch import Tensor

H = TypeVar("H")


@dataclass(frozen=True, kw_only=True)
class TrainedRule(Rule[H]):
    """A rule that goes by a table of betas."""

    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: BetaSchedule = "linear"
    trained_betas: tuple[float, ...] | None = None
    timestep_spacing: Spacing = "leading"
    steps_offset: int = 0

    @property
    def alphas(self) -> tuple[float, ...]:
        """The share of the signal's variance that is left at each training timestep."""
        return alphas_cumprod(
            self.num_train_timesteps,
            self.beta_start,
            self.beta_end,
            self.beta_schedule,
            self.trained_betas,
        )

    def refuse(self, **arguments: object) -> None:
        """Refuse arguments of `schedule` that this rule has no use for.

        Raises:
            ValueError: One of them is not None.
        """
        for key, value in arguments.items():
            if value is not None:
                raise ValueError(f"{self.name} takes no {key} of your own; give it steps alone")

    def take_one(self, **arguments: object) -> None:
        """Insist on exactly one of several arguments of `schedule`.

        Raises:
            ValueError: There are none or more.
        """
        if sum(value is not None for value in arguments.values()) != 1:
            raise ValueError(f"{self.name} takes exactly one of {', '.join(arguments)}")


@dataclass(frozen=True, kw_only=True)
class SigmaRule(TrainedRule[H]):
    """A rule that goes by noise levels in units of the signal, of the k-diffusion family."""

    single_timesteps: ClassVar[bool] = True
    """Whether timesteps are rounded to single precision, as diffusers rounds most."""

    timestep_spacing: Spacing = "linspace"

    @property
    def spread(self) -> Spread | None:
        """How noise levels are spread, where not by the timesteps."""
        return None

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Give the ends between which levels are spread."""
        return low, high

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps by the spacing, spread the levels, or take the user's own of either."""
        self.refuse(mu=mu)
        self.take_one(steps=steps, timesteps=timesteps, sigmas=sigmas)
        if sigmas is not None:
            levels = rounded(sigmas)
            times = [self.timestep_of(level) for level in levels[:-1]]
            return Grid(tuple(rounded(times)), tuple(levels), len(times))
        if timesteps is not None:
            self.check_own_timesteps()
            return self.laid_out(rounded(timesteps))
        return self.laid_out(self.spaced(counted(self, steps)))

    def check_own_timesteps(self) -> None:
        """Refuse timesteps of the user's own where a setting chooses them.

        Raises:
            ValueError: The noise levels are spread in another way.
        """
        if self.spread is not None:
            raise ValueError(self.chooses_already(f"use_{self.spread}_sigmas is true"))

    def chooses_already(self, setting: str) -> str:
        """Say why timesteps of the user's own are refused."""
        return f"{self.name} takes no timesteps of your own, since {setting} and chooses them"

    def spaced(self, steps: int) -> list[float]:
        """Choose timesteps by the spacing."""
        total, spacing = self.num_train_timesteps, self.timestep_spacing
        chosen = spaced(steps, total, spacing, self.steps_offset)
        return rounded(chosen) if self.single_timesteps else chosen

    def laid_out(self, timesteps: list[float]) -> Grid:
        """Give timesteps their noise levels or, where levels are spread, these their timesteps."""
        levels = self.levels(timesteps)
        if self.spread is not None:
            low, high = self.bounds(levels[-1], levels[0])
            levels = spread_sigmas(self.spread, len(timesteps), low, high)
            timesteps = [self.timestep_of(level) for level in levels]
        if self.single_timesteps:
            timesteps = rounded(timesteps)
        sigmas = (*rounded(levels), f32(self.final_sigma))[: len(timesteps) + 1]
        return Grid(tuple(timesteps), sigmas, len(timesteps))

    @property
    def final_sigma(self) -> float:
        """The noise level where a run ends."""
        return 0.0

    def slope(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give how a sample changes with its noise level."""
        if self.prediction_type == "epsilon":  # the image need not be known
            return prediction
        return (sample - self.denoised(prediction, step, sample)) / step.noise

    def levels(self, timesteps: Sequence[float]) -> list[float]:
        """Look up the noise levels of timesteps; one more, if given, is where a run ends."""
        return interpolated(timesteps, sigma_table(self.alphas))

    def timestep_of(self, sigma: float) -> float:
        """Give the timestep of a noise level."""
        return timestep_of(sigma, log_sigma_table(self.alphas))

    def init_noise_sigma(self, grid: Grid) -> float:
        """The highest noise level; with the signal's share where the spacing is leading."""
        highest = max(grid.sigmas)
        return highest if self.timestep_spacing != "leading" else math.sqrt(highest**2 + 1)


@dataclass(frozen=True, kw_only=True)
class SpreadRule(SigmaRule[H]):
    """A rule whose noise levels can be spread in other ways than the timesteps are."""

    use_karras_sigmas: bool | None = False
    use_exponential_sigmas: bool | None = False
    use_beta_sigmas: bool | None = False
    sigma_min: float | None = None
    sigma_max: float | None = None

    hidden = frozenset({"sigma_min", "sigma_max"})

    def __post_init__(self) -> None:
        super().__post_init__()
        keys = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
        chosen = [key for key in keys if getattr(self, key)]
        if len(chosen) > 1:
            raise ValueError(f"{self.name}: only one of {' and '.join(chosen)} can be true")

    @property
    def spread(self) -> Spread | None:
        """How noise levels are spread, where not by the timesteps."""
        if self.use_karras_sigmas:
            return "karras"
        if self.use_exponential_sigmas:
            return "exponential"
        return "beta" if self.use_beta_sigmas else None

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Give the ends between which levels are spread: the configuration's, or those given."""
        return (
            low if self.sigma_min is None else self.sigma_min,
            high if self.sigma_max is None else self.sigma_max,
        )


def counted(rule: Rule[H], steps: int | None) -> int:
    """Insist on a number of steps.

    Raises:
        ValueError: There is none.
    """
    if steps is None:
        raise ValueError(f"{rule.name} needs to know how many steps: give schedule() a number")
    return steps


def input_scale(sigma: float) -> float:
    """Give the factor that brings a sample with unit signal to unit variance."""
    return 1 / math.sqrt(sigma**2 + 1)

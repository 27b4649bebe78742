"""Samplers of flow models: straight lines from noise to image. arXiv:2403.03206."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeVar

from graphdiff.schedulers.float32 import f32, linspace, rounded
from graphdiff.schedulers.heun import HeunHistory, heun
from graphdiff.schedulers.predictions import Prediction
from graphdiff.schedulers.schedule import Grid, NoiseSource, Rule, Step, Stepped, draw
from graphdiff.schedulers.sigmas import Spread, shifted, spread_sigmas, stretched
from graphdiff.schedulers.variance_exploding import doubled
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor

H = TypeVar("H")


@dataclass(frozen=True, kw_only=True)
class FlowRule(Rule[H]):
    """A rule of a model that predicts the direction from image to noise.

    A sample at noise level sigma is `(1 - sigma) * image + sigma * gaussian`.
    """

    foreign = frozenset({"prediction_type"})

    prediction_type: Prediction = "flow_prediction"
    shift: float = 1.0

    def ends(self, shift: float) -> tuple[float, float]:
        """Give the highest and the lowest training noise level, shifted."""
        total = self.num_train_timesteps
        return f32(shifted(1.0, shift)), f32(shifted(f32(1 / total), shift))

    def evenly(self, steps: int | None, shift: float) -> list[float]:
        """Space noise levels between the ends."""
        if steps is None or steps < 1:
            raise ValueError(f"{self.name}: {steps} steps are asked for; ask for 1 or more")
        total, (high, low) = self.num_train_timesteps, self.ends(shift)
        return [t / total for t in linspace(high * total, low * total, steps)]

    def skipped(self, count: int, strength: float) -> int:
        """Give how many of `count` steps are left out; flow pipelines keep a part of a step."""
        return int(count - min(count * strength, count))

    def place(
        self, timestep: float, sigma: float, following: float, *, stage: int = 0, last: bool = False
    ) -> Step:
        """Make a step between two noise levels."""
        return Step(
            rule=self,
            timestep=timestep,
            signal=1 - sigma,
            noise=sigma,
            signal_next=1 - following,
            noise_next=following,
            stage=stage,
            last=last,
        )


@dataclass(frozen=True, kw_only=True)
class FlowEuler(FlowRule[None]):
    """First order, one model call a step."""

    name = "FlowMatchEulerDiscreteScheduler"
    hidden = frozenset({"sigma_min", "sigma_max"})

    use_dynamic_shifting: bool = False
    base_shift: float | None = 0.5
    max_shift: float | None = 1.15
    base_image_seq_len: int | None = 256
    max_image_seq_len: int | None = 4096
    invert_sigmas: bool = False
    shift_terminal: float | None = None
    use_karras_sigmas: bool | None = False
    use_exponential_sigmas: bool | None = False
    use_beta_sigmas: bool | None = False
    time_shift_type: Literal["exponential", "linear"] = "exponential"
    stochastic_sampling: bool = False
    sigma_min: float | None = None
    sigma_max: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        keys = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
        chosen = [key for key in keys if getattr(self, key)]
        if len(chosen) > 1:
            raise ValueError(f"{self.name}: only one of {' and '.join(chosen)} can be true")

    @property
    def stochastic(self) -> bool:
        """Noise is drawn where stochastic_sampling is true."""
        return self.stochastic_sampling

    @property
    def spread(self) -> Spread | None:
        """How noise levels are spread, where not evenly."""
        if self.use_karras_sigmas:
            return "karras"
        if self.use_exponential_sigmas:
            return "exponential"
        return "beta" if self.use_beta_sigmas else None

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Space the noise levels evenly or take the user's, and shift them.

        The levels between which they are spaced are shifted already, and so shifted twice, as
        diffusers has it; give sigmas where that is not wanted. With `timesteps` the model is told
        these.
        """
        total = self.num_train_timesteps
        given = [len(own) for own in (sigmas, timesteps) if own is not None]
        if len({*given, *([steps] if steps is not None else [])}) > 1:
            raise ValueError(f"{self.name}: steps, timesteps and sigmas must be equally many")
        if sigmas is not None:
            levels = rounded(sigmas)
        elif timesteps is not None:
            levels = [f32(t) / total for t in timesteps]
        else:
            levels = self.evenly(steps, 1.0 if self.use_dynamic_shifting else self.shift)
        levels = self.spread_out([shifted(level, self.shift_at(mu)) for level in levels])
        levels = rounded(levels)
        times = rounded(timesteps) if timesteps is not None else [f32(s * total) for s in levels]
        end = 0.0
        if self.invert_sigmas:
            levels, end = [f32(1 - level) for level in levels], 1.0
            times = [f32(level * total) for level in levels]
        return Grid(tuple(times), (*levels, end), len(levels))

    def shift_at(self, mu: float | None) -> float:
        """Give the shift, which may depend on the picture's size.

        Raises:
            ValueError: The configuration wants `mu`, and it is not given.
        """
        if not self.use_dynamic_shifting:
            return self.shift
        if mu is None:
            raise ValueError(f"{self.name} needs mu where use_dynamic_shifting is true")
        return math.exp(mu) if self.time_shift_type == "exponential" else mu

    def spread_out(self, levels: list[float]) -> list[float]:
        """Stretch levels to the terminal one and spread them, where asked for."""
        if self.shift_terminal:
            levels = stretched(levels, self.shift_terminal)
        if self.spread is None:
            return levels
        low = levels[-1] if self.sigma_min is None else self.sigma_min
        high = levels[0] if self.sigma_max is None else self.sigma_max
        return spread_sigmas(self.spread, len(levels), low, high)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step from each noise level to the next."""
        ends = zip(grid.timesteps, pairwise(grid.sigmas), strict=True)
        return tuple(
            self.place(timestep, *sigmas, last=i == len(grid.timesteps) - 1)
            for i, (timestep, sigmas) in enumerate(ends)
        )

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[None]:
        """Go along the predicted direction, or noise the predicted image anew."""
        sample = sample.float()
        if self.stochastic_sampling:
            fresh, rng = draw(rng, sample, self)
            image = self.denoised(prediction, step, sample)
            moved = combined((step.signal_next, image), (step.noise_next, fresh))
        else:
            moved = sample.add(prediction, alpha=step.noise_next - step.noise)
        return Stepped(moved.to(prediction.dtype), None, rng)


@dataclass(frozen=True, kw_only=True)
class FlowHeun(FlowRule[HeunHistory]):
    """Second order: a trial step, then one by the mean of both directions."""

    name = "FlowMatchHeunDiscreteScheduler"
    evaluations = 2

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Space the noise levels evenly and shift them."""
        for key, value in (("timesteps", timesteps), ("sigmas", sigmas), ("mu", mu)):
            if value is not None:
                raise ValueError(f"{self.name} takes no {key} of your own; give it steps alone")
        even = self.evenly(steps, self.shift)
        levels = rounded(shifted(sigma, self.shift) for sigma in even)
        times = [f32(level * self.num_train_timesteps) for level in levels]
        return Grid(doubled(times), (*levels, 0.0), len(levels))

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """Two stages for each step but the last, which has one."""
        steps = list[Step]()
        times = iter(grid.timesteps)
        count = len(grid.timesteps)
        for sigma, following in pairwise(grid.sigmas):
            last = len(steps) == count - 1
            steps.append(self.place(next(times), sigma, following, last=last))
            if not last:
                steps.append(self.place(next(times), following, following, stage=1))
        return tuple(steps)

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: HeunHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[HeunHistory]:
        """Try a step along the predicted direction, or take it by the mean of both directions."""
        moved, history, rng = heun(prediction, step, sample.float(), history, rng)
        return Stepped(moved.to(prediction.dtype), history, rng)

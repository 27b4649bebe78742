"""DDIM: the deterministic sampler of diffusion models, and its noisy kin. arXiv:2010.02502."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphdiff.schedulers.float32 import f32
from graphdiff.schedulers.predictions import predicted_noise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped, draw
from graphdiff.schedulers.spacing import spaced
from graphdiff.schedulers.trained import counted
from graphdiff.schedulers.variance_preserving import ClippedRule, place
from graphdiff.schedulers.weighted import combined, difference

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DDIM(ClippedRule[None]):
    """Song et al. 2020, arXiv:2010.02502, equation 12.

    `Step.coefficients` holds the signal's share of the variance that the step aims at, and the
    deviation of the noise that is drawn anew. The aim is a whole stride below the timestep, as
    diffusers has it, which is the next entry only where the spacing is leading.
    """

    name = "DDIMScheduler"

    set_alpha_to_one: bool = True
    eta: float = field(default=0.0, metadata={"option": True})
    use_clipped_model_output: bool = field(default=False, metadata={"option": True})

    @property
    def stochastic(self) -> bool:
        """Noise is drawn where eta is above zero."""
        return self.eta > 0

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps by the spacing."""
        self.refuse(timesteps=timesteps, sigmas=sigmas, mu=mu)
        steps = counted(self, steps)
        chosen = spaced(steps, self.num_train_timesteps, self.timestep_spacing, self.steps_offset)
        return Grid(tuple(round(t) for t in chosen), (), steps)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step at each timestep."""
        following = (*grid.timesteps[1:], None)
        return tuple(
            self.place(int(timestep), None if after is None else int(after), grid.count)
            for timestep, after in zip(grid.timesteps, following, strict=True)
        )

    def place(self, timestep: int, following: int | None, count: int) -> Step:
        """Make the step at a timestep of a run of `count` steps, before another or as the last."""
        target = timestep - self.num_train_timesteps // count
        alpha, aim = self.alphas[timestep], self.alpha_at(target)
        variance = f32(f32(f32(1 - aim) / f32(1 - alpha)) * f32(1 - f32(alpha / aim)))
        return place(
            self,
            timestep,
            alpha,
            1.0 if following is None else self.alphas[following],
            last=following is None,
            coefficients=(aim, self.eta * math.sqrt(max(variance, 0.0))),
        )

    def alpha_at(self, timestep: int) -> float:
        """Give the signal's share of the variance at a timestep, which may be below 0."""
        if timestep >= 0:
            return self.alphas[timestep]
        return 1.0 if self.set_alpha_to_one else self.alphas[0]

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[None]:
        """Take the predicted noise out, and put less of it back."""
        aim, deviation = step.coefficients
        image = self.denoised(prediction, step, sample)
        if self.use_clipped_model_output:
            noise = difference(sample, image, step.signal, step.noise)
        else:
            kind = self.prediction_type
            noise = predicted_noise(kind, prediction, sample, step.signal, step.noise)
        kept = math.sqrt(1 - aim - deviation**2)
        moved = combined((math.sqrt(aim), image), (kept, noise))
        if self.eta > 0:
            fresh, rng = draw(rng, prediction, self)
            moved = moved.add(fresh, alpha=deviation)
        return Stepped(moved, None, rng)

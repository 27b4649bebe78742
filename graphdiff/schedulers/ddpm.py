"""DDPM: the ancestral sampler that diffusion models were introduced with. arXiv:2006.11239."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from graphdiff.schedulers.float32 import f32
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped, draw
from graphdiff.schedulers.spacing import spaced
from graphdiff.schedulers.variance_preserving import ClippedRule, place
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor

Variance = Literal[
    "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"
]
_LEAST = 1e-20


@dataclass(frozen=True, kw_only=True)
class DDPM(ClippedRule[None]):
    """Ho et al. 2020, arXiv:2006.11239, equations 6 and 7.

    `Step.coefficients` holds the factors of the image and of the sample, and the smallest and the
    largest variance of the fresh noise.
    """

    name = "DDPMScheduler"

    variance_type: Variance | None = "fixed_small"

    @property
    def stochastic(self) -> bool:
        """Every step but that at timestep 0 draws noise."""
        return True

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps by the spacing, or take the user's own."""
        self.refuse(sigmas=sigmas, mu=mu)
        self.take_one(steps=steps, timesteps=timesteps)
        total = self.num_train_timesteps
        if timesteps is not None:
            own = descending(self.name, timesteps, total)
            return Grid(own, (), len(own))
        chosen = spaced(steps or 0, total, self.timestep_spacing, self.steps_offset)
        return Grid(tuple(round(t) for t in chosen), (), len(chosen))

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step at each timestep, to the next."""
        following = (*grid.timesteps[1:], -1)
        return tuple(
            self.place(int(timestep), int(after))
            for timestep, after in zip(grid.timesteps, following, strict=True)
        )

    def place(self, timestep: int, following: int) -> Step:
        """Make the step from one timestep to another, or to the end, which is -1."""
        alpha = self.alphas[timestep]
        aim = self.alphas[following] if following >= 0 else 1.0
        kept = f32(alpha / aim)
        beta = f32(1 - kept)
        noise, noise_aim = f32(1 - alpha), f32(1 - aim)
        image_factor = f32(f32(f32(math.sqrt(aim)) * beta) / noise)
        sample_factor = f32(f32(f32(math.sqrt(kept)) * noise_aim) / noise)
        least = max(f32(f32(noise_aim / noise) * beta), _LEAST)
        factors = (image_factor, sample_factor, least, beta)
        return place(self, timestep, alpha, aim, last=following < 0, coefficients=factors)

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[None]:
        """Draw from the posterior of the next sample, given this one and the predicted image."""
        mean, learned = self.split(prediction, sample)
        image_factor, sample_factor, _, _ = step.coefficients
        image = self.denoised(mean, step, sample)
        moved = combined((image_factor, image), (sample_factor, sample))
        if step.timestep > 0:
            fresh, rng = draw(rng, mean, self)
            moved = moved + fresh * self.deviation(step, learned)
        return Stepped(moved, None, rng)

    def split(self, prediction: Tensor, sample: Tensor) -> tuple[Tensor, Tensor | None]:
        """Part a model's output from the variance that it may have learned in as many channels."""
        channels = sample.shape[1]
        if (
            self.variance_type in ("learned", "learned_range")
            and prediction.shape[1] == 2 * channels
        ):
            return prediction[:, :channels], prediction[:, channels:]
        return prediction, None

    def deviation(self, step: Step, learned: Tensor | None) -> float | Tensor:
        """Give the deviation of the fresh noise.

        Raises:
            ValueError: The variance is learned, but the model does not give it.
        """
        _, _, least, most = step.coefficients
        if self.variance_type in ("fixed_small", "fixed_small_log", None):
            return math.sqrt(least)
        if self.variance_type in ("fixed_large", "fixed_large_log"):
            return math.sqrt(most)
        if learned is None:
            raise ValueError(
                f"{self.name}: variance_type is {self.variance_type!r}, so the model must give "
                "twice the sample's channels, but it gives as many; use 'fixed_small' for it"
            )
        if self.variance_type == "learned":
            return learned.sqrt()
        share = (learned + 1) / 2
        return ((share * math.log(most) + (1 - share) * math.log(least)) / 2).exp()


def descending(name: str, timesteps: Sequence[float], total: int) -> tuple[int, ...]:
    """Check timesteps of the user's own.

    Raises:
        ValueError: They do not fall, or one is outside the training timesteps.
    """
    whole = tuple(int(t) for t in timesteps)
    if not whole:
        raise ValueError(f"{name}: timesteps is empty")
    for before, after in pairwise(whole):
        if after >= before:
            raise ValueError(f"{name}: timesteps must fall, but {after} follows {before}")
    if whole[0] >= total or whole[-1] < 0:
        raise ValueError(f"{name}: timesteps must be from {total - 1} to 0, but they are {whole}")
    return whole

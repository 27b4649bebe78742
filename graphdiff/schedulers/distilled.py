"""Samplers of models distilled to few steps: LCM, arXiv:2310.04378, and TCD, arXiv:2402.19159."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphdiff.schedulers.betas import BetaSchedule
from graphdiff.schedulers.ddpm import descending
from graphdiff.schedulers.float32 import f32
from graphdiff.schedulers.predictions import denoised, predicted_noise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped, draw
from graphdiff.schedulers.variance_preserving import ClippedRule, place
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor

_SIGMA_DATA = 0.5


@dataclass(frozen=True, kw_only=True)
class DistilledRule(ClippedRule[None]):
    """A rule whose timesteps are chosen among those that the model was distilled at."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: BetaSchedule = "scaled_linear"
    original_inference_steps: int = 50
    clip_sample: bool = False
    set_alpha_to_one: bool = True
    timestep_scaling: float = 10.0
    grid_strength: float = field(default=1.0, metadata={"option": True})

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps evenly among the model's own, or take the user's."""
        self.refuse(sigmas=sigmas, mu=mu)
        self.take_one(steps=steps, timesteps=timesteps)
        total, original = self.num_train_timesteps, self.original_inference_steps
        if original > total:
            raise ValueError(
                f"{self.name}: original_inference_steps is {original}, but it must be at most "
                f"num_train_timesteps, {total}"
            )
        if timesteps is not None:
            own = descending(self.name, timesteps, total)
            taken = min(int(len(own) * self.grid_strength), len(own))
            return Grid(own[len(own) - taken :], (), len(own))
        steps, learned = steps or 0, self.learned()
        if not 1 <= steps <= min(len(learned), original):
            raise ValueError(
                f"{steps} steps are asked for, but the model was distilled to "
                f"{len(learned)} timesteps: ask for 1 to {len(learned)}"
            )
        picked = [math.floor(i * (len(learned) / steps)) for i in range(steps)]
        return Grid(tuple(learned[i] for i in picked), (), steps)

    def learned(self) -> tuple[int, ...]:
        """Give the timesteps that the model was distilled at, from high to low."""
        stride = self.num_train_timesteps // self.original_inference_steps
        count = int(self.original_inference_steps * self.grid_strength)
        return tuple(i * stride - 1 for i in range(count, 0, -1))

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step at each timestep."""
        following = (*grid.timesteps[1:], None)
        return tuple(
            place(
                self,
                int(timestep),
                self.alphas[int(timestep)],
                1.0 if after is None else self.alphas[int(after)],
                last=after is None,
                coefficients=self.coefficients(
                    int(timestep), None if after is None else int(after)
                ),
            )
            for timestep, after in zip(grid.timesteps, following, strict=True)
        )

    @abstractmethod
    def coefficients(self, timestep: int, following: int | None) -> tuple[float, ...]:
        """Prepare what the arithmetic of a step needs beside the levels."""


@dataclass(frozen=True, kw_only=True)
class LCM(DistilledRule):
    """Multistep consistency sampling. Luo et al. 2023, arXiv:2310.04378, algorithm 3.

    What LCM's own picture-to-picture pipeline calls strength is the option `grid_strength`, which
    shortens the range of timesteps to choose from; `schedule`'s `strength` drops steps.

    `Step.coefficients` holds the factors of the sample and of the image in the consistency
    function.
    """

    name = "LCMScheduler"

    @property
    def stochastic(self) -> bool:
        """Every step but the last draws noise."""
        return True

    def coefficients(self, timestep: int, following: int | None) -> tuple[float, ...]:
        """The boundary condition's factors, which make the function the identity at timestep 0."""
        scaled, data = timestep * self.timestep_scaling, _SIGMA_DATA
        return data**2 / (scaled**2 + data**2), scaled / math.sqrt(scaled**2 + data**2)

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[None]:
        """Jump to the image, and noise it as far as the next step wants it."""
        image = self.consistent(prediction, step, sample)
        if step.last:
            return Stepped(image, None, rng)
        fresh, rng = draw(rng, image, self)
        moved = combined((step.signal_next, image), (step.noise_next, fresh))
        return Stepped(moved, None, rng)

    def consistent(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the consistency function's image."""
        skip, out = step.coefficients
        return combined((out, self.denoised(prediction, step, sample)), (skip, sample))


@dataclass(frozen=True, kw_only=True)
class TCD(DistilledRule):
    """Strategic stochastic sampling. Zheng et al. 2024, arXiv:2402.19159, algorithm 4.

    `Step.coefficients` holds the signal's share of the variance where the trajectory is left, and
    where the step leads. The image is not clipped, whatever the configuration says, as diffusers
    has it.
    """

    name = "TCDScheduler"

    eta: float = field(default=0.3, metadata={"option": True})
    every_timestep: bool = field(default=False, metadata={"option": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"{self.name}: eta is {self.eta}, but it must be from 0 to 1")

    @property
    def stochastic(self) -> bool:
        """Every step but the last draws noise, where eta is above zero."""
        return self.eta > 0

    def learned(self) -> tuple[int, ...]:
        """Give the timesteps that the model was distilled at, or every one."""
        if self.every_timestep:
            return tuple(range(int(self.num_train_timesteps * self.grid_strength)))[::-1]
        return super().learned()

    def coefficients(self, timestep: int, following: int | None) -> tuple[float, ...]:
        """Where the trajectory is left, and where the step leads; the last leads to timestep 0."""
        after = following or 0
        left = math.floor(f32(f32(1 - self.eta) * after))
        return self.alphas[left], self.alphas[after]

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[None]:
        """Follow the trajectory beyond the next timestep, and add noise back up to it."""
        moved = self.noised(prediction, step, sample)
        if step.last or self.eta == 0:
            return Stepped(moved, None, rng)
        left, aim = step.coefficients
        fresh, rng = draw(rng, moved, self)
        kept = aim / left
        moved = combined((math.sqrt(kept), moved), (math.sqrt(1 - kept), fresh))
        return Stepped(moved, None, rng)

    def noised(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the sample where the trajectory is left."""
        left, _ = step.coefficients
        place = (step.signal, step.noise)
        image = denoised(self.prediction_type, prediction, sample, *place)
        noise = predicted_noise(self.prediction_type, prediction, sample, *place)
        return combined((math.sqrt(left), image), (math.sqrt(1 - left), noise))

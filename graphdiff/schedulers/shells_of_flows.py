"""Schedulers of flow models with diffusers' names."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor

from graphdiff.schedulers.float32 import f32
from graphdiff.schedulers.flow import FlowEuler, FlowHeun, FlowRule
from graphdiff.schedulers.output import SchedulerOutput
from graphdiff.schedulers.schedule import Grid
from graphdiff.schedulers.shell import Scheduler, Timestep, column
from graphdiff.schedulers.sigmas import shifted
from graphdiff.schedulers.torch_noise import Generators, TorchNoise
from graphdiff.schedulers.variance_exploding import doubled

_NEAR = 1e-6


F = TypeVar("F", bound=FlowRule[Any])


class FlowScheduler(Scheduler[F]):
    """A scheduler of a flow, whose noise levels go from 1 to 0."""

    refuses_indices = True

    @property
    def shift(self) -> float:
        """How far the schedule is moved towards noise."""
        return self.rule.shift

    @property
    def sigma_max(self) -> float:
        """The highest training noise level."""
        return self._ends()[0]

    @property
    def sigma_min(self) -> float:
        """The lowest training noise level."""
        return self._ends()[1]

    def _ends(self) -> tuple[float, float]:
        return self.rule.ends(self.config["shift"])

    def _training_grid(self) -> Grid:
        total, shift = self.rule.num_train_timesteps, self._training_shift()
        levels = [f32(shifted(f32(t / total), shift)) for t in range(total, 0, -1)]
        return Grid(tuple(f32(sigma * total) for sigma in levels), (*levels, 0.0), total)

    def _training_shift(self) -> float:
        return self.rule.shift


class FlowMatchEulerDiscreteScheduler(FlowScheduler[FlowEuler]):
    """Euler's method along a flow; see `FlowEuler`."""

    def set_shift(self, shift: float) -> None:
        """Move the next schedules towards noise by so much, whatever the configuration says."""
        self.rule = replace(self.rule, shift=shift)

    def _training_shift(self) -> float:
        return 1.0 if self.rule.use_dynamic_shifting else self.rule.shift

    def _ends(self) -> tuple[float, float]:
        return self.rule.ends(1.0 if self.rule.use_dynamic_shifting else self.config["shift"])

    def time_shift(self, mu: float, sigma: float, t: Tensor) -> Tensor:
        """Shift noise levels by a measure of the picture's size."""
        factor = math.exp(mu) if self.rule.time_shift_type == "exponential" else mu
        return factor / (factor + (1 / t - 1) ** sigma)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor | None = None) -> Tensor:
        """Noise images, each as far as it is at its timestep.

        Raises:
            ValueError: There is no noise.
        """
        if noise is None:
            raise ValueError("scale_noise needs the noise to mix in")
        return self.add_noise(sample, noise, timestep)

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
        generator: Generators | None = None,
        per_token_timesteps: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go to the next noise level; the four about churn have no effect, as in diffusers.

        Raises:
            ValueError: The timestep is an index.
        """
        if per_token_timesteps is None:
            return self._taken(model_output, timestep, sample, generator)
        self._here(timestep)
        moved = self._by_token(model_output, per_token_timesteps, sample.float(), generator)
        self._step_index = self._place(timestep) + 1
        return SchedulerOutput(moved)

    def _by_token(
        self, output: Tensor, timesteps: Tensor, sample: Tensor, generator: Generators | None
    ) -> Tensor:
        """Take each token from its own noise level to the schedule's next below."""
        levels = timesteps / self.rule.num_train_timesteps
        grid = self.sigmas.to(levels.device)[:, None, None]
        below = (grid * (grid < levels[None] - _NEAR)).amax(dim=0)[..., None]
        levels = levels[..., None]
        if not self.rule.stochastic_sampling:
            return sample + (levels - below) * output
        image = sample - levels * output
        noise, _ = TorchNoise(generator).normal(
            sample.shape, dtype=sample.dtype, device=sample.device
        )
        return (1 - below) * image + below * noise


class FlowMatchHeunDiscreteScheduler(FlowScheduler[FlowHeun]):
    """Heun's method along a flow; see `FlowHeun`."""

    order = 2

    @property
    def state_in_first_order(self) -> bool:
        """Whether the next call of the model begins a step."""
        return self._history is None

    def _training_grid(self) -> Grid:
        grid = super()._training_grid()
        return replace(grid, timesteps=doubled(grid.timesteps))

    def _sigma_entries(self) -> tuple[float, ...]:
        *levels, end = self.grid.sigmas
        return (*doubled(levels), end)

    def scale_noise(self, sample: Tensor, timestep: Timestep, noise: Tensor) -> Tensor:
        """Noise images as far as they are at the run's place, or at a timestep where it starts."""
        level = column([self.schedule[self._place(timestep)].noise], sample)
        return level * noise + (1 - level) * sample

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
        generator: Generators | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Take one stage.

        Raises:
            ValueError: The timestep is an index, or churn is asked for.
        """
        if s_churn > 0:
            raise ValueError(
                f"{type(self).__name__}: s_churn is {s_churn}, but a flow's samples "
                "cannot be churned: noise added to them changes the signal's share; leave it at 0"
            )
        return self._taken(model_output, timestep, sample)

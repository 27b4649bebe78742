"""Schedulers with diffusers' names that go by noise levels, of the k-diffusion family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from graphdiff.schedulers.dpm_sde import DPMSolverSDE
from graphdiff.schedulers.edm import EDMEuler, EDMRule
from graphdiff.schedulers.euler import Euler, EulerAncestral, churned
from graphdiff.schedulers.heun import Heun
from graphdiff.schedulers.kdpm2 import KDPM2, KDPM2Ancestral
from graphdiff.schedulers.lms import LMS
from graphdiff.schedulers.output import SchedulerOutput
from graphdiff.schedulers.schedule import Grid, Step
from graphdiff.schedulers.shell import (
    DrawingScheduler,
    PlainScheduler,
    Scheduler,
    Timestep,
    changed,
    column,
    floats,
)
from graphdiff.schedulers.shells_by_timestep import TrainedScheduler
from graphdiff.schedulers.torch_noise import Generators, TorchNoise
from graphdiff.schedulers.trained import SigmaRule
from graphdiff.schedulers.variance_exploding import doubled

S = TypeVar("S", bound=SigmaRule[Any])
E = TypeVar("E", bound=EDMRule[Any])


class SigmaScheduler(TrainedScheduler[S]):
    """A scheduler whose samples have unit signal, so that models see them scaled down."""

    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """Scale a sample down to the variance that the model was trained to see."""
        return self._scaled(sample, timestep)

    @property
    def init_noise_sigma(self) -> Tensor:
        """What standard normal noise is multiplied by to start a run."""
        return torch.tensor(self.rule.init_noise_sigma(self.grid))

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noise images, each as far as it is at its timestep."""
        levels = [step.noise for step in self._levels_at(timesteps)]
        return original_samples + noise * column(levels, original_samples)

    def _beside(self, output: Tensor, place: Step, sample: Tensor) -> dict[str, Tensor]:
        return {"pred_original_sample": self.rule.denoised(output, place, sample)}


class WholeTableScheduler(SigmaScheduler[S]):
    """A scheduler that stands at every training timestep before `set_timesteps`."""

    def _training_grid(self) -> Grid:
        rule = self.rule
        times = [float(t) for t in range(rule.num_train_timesteps - 1, -1, -1)]
        return Grid(tuple(times), (*rule.levels(times), 0.0), len(times))


class EulerDiscreteScheduler(WholeTableScheduler[Euler]):
    """Euler's method; see `Euler`."""

    refuses_indices = True

    def _training_grid(self) -> Grid:
        grid = super()._training_grid()
        if self.rule.timestep_type == "continuous" and self.rule.prediction_type == "v_prediction":
            logs = tuple(0.25 * math.log(sigma) for sigma in grid.sigmas[:-1])
            return replace(grid, timesteps=logs)
        return grid

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
        """Go to the next noise level; gives the image that the prediction points to as well.

        Raises:
            ValueError: The timestep is an index.
        """
        rule = changed(self.rule, s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise)
        place, sample = _churned(
            self._here(timestep, rule), sample, s_noise, model_output, generator
        )
        image = self.rule.denoised(model_output, place, sample)
        moved = self._advance(model_output, place, sample)
        return SchedulerOutput(moved, pred_original_sample=image)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Give what a model of v-prediction should predict of images and noise."""
        # By the entry's index, as in diffusers, although the table is by timestep.
        indices = [self.index_for_timestep(t) for t in floats(timesteps)]
        alphas = [self.rule.alphas[index] for index in indices]
        signal = column([math.sqrt(alpha) for alpha in alphas], sample)
        return signal * noise - column([math.sqrt(1 - alpha) for alpha in alphas], sample) * sample


class EulerAncestralDiscreteScheduler(
    WholeTableScheduler[EulerAncestral], DrawingScheduler[EulerAncestral]
):
    """Euler's method with fresh noise; see `EulerAncestral`."""

    refuses_indices = True

    def _beside(self, output: Tensor, place: Step, sample: Tensor) -> dict[str, Tensor]:
        return super()._beside(output, place, sample.float())


class LMSDiscreteScheduler(SigmaScheduler[LMS]):
    """Linear multistep method; see `LMS`."""

    @property
    def derivatives(self) -> list[Tensor]:
        """The slopes that the next step extrapolates from."""
        return list(self._history.slopes) if self._history else []

    def get_lms_coefficient(self, order: int, t: int, current_order: int) -> float:
        """Give the weight of an earlier slope at an entry."""
        rule = changed(self.rule, max_order=order)
        return rule.places(self.grid)[t].coefficients[current_order]

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        order: int = 4,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go to the next noise level; gives the image that the prediction points to as well."""
        rule = changed(self.rule, max_order=order)
        return self._taken(model_output, timestep, sample, rule=rule)


class TwoStageScheduler(SigmaScheduler[S]):
    """A scheduler that calls the model twice a step."""

    order = 2

    @property
    def state_in_first_order(self) -> bool:
        """Whether the next call of the model begins a step."""
        return self._history is None

    def _sigma_entries(self) -> Sequence[float]:
        *levels, end = self.grid.sigmas
        return (*doubled(levels), end)


class HeunDiscreteScheduler(TwoStageScheduler[Heun], PlainScheduler[Heun]):
    """Heun's method; see `Heun`."""


class MidpointScheduler(TwoStageScheduler[S]):
    """A scheduler whose second stage stands in the middle of the step."""

    def _sigma_entries(self) -> Sequence[float]:
        return (*doubled(self.grid.sigmas), self.grid.sigmas[-1])

    def _levels_at(self, timesteps: Tensor) -> list[Step]:
        return [
            place if place.stage == 0 else replace(place, noise=place.noise_next)
            for place in super()._levels_at(timesteps)
        ]


class KDPM2DiscreteScheduler(MidpointScheduler[KDPM2], PlainScheduler[KDPM2]):
    """DPM-Solver-2; see `KDPM2`."""


class KDPM2AncestralDiscreteScheduler(
    MidpointScheduler[KDPM2Ancestral], DrawingScheduler[KDPM2Ancestral]
):
    """DPM-Solver-2 with fresh noise; see `KDPM2Ancestral`."""


class DPMSolverSDEScheduler(TwoStageScheduler[DPMSolverSDE]):
    """DPM-Solver++ (2S) of the stochastic equation; see `DPMSolverSDE`."""

    @property
    def state_in_first_order(self) -> bool:
        """Whether the next call of the model begins a step."""
        return self._history is None or self._history.sample is None

    def _timestep_dtype(self) -> torch.dtype:
        return torch.float64

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        return_dict: bool = True,
        s_noise: float = 1.0,
    ) -> SchedulerOutput:
        """Take one stage; gives the image that the prediction points to as well."""
        rule = changed(self.rule, s_noise=s_noise)
        return self._taken(model_output, timestep, sample, rule=rule)


class EDMScheduler(Scheduler[E]):
    """A scheduler of models that were trained by noise level."""

    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """Scale a sample to what the model was trained to see."""
        return self._scaled(sample, timestep)

    def precondition_inputs(self, sample: Tensor, sigma: float | Tensor) -> Tensor:
        """Scale a sample to what the model sees."""
        return sample / math.sqrt(float(sigma) ** 2 + self.rule.sigma_data**2)

    def precondition_outputs(
        self, sample: Tensor, model_output: Tensor, sigma: float | Tensor
    ) -> Tensor:
        """Give the image that a model's output points to."""
        place = Step(self.rule, 0.0, 1.0, float(sigma), 1.0, 0.0)
        return self.rule.denoised(model_output, place, sample)

    def precondition_noise(self, sigma: float | Tensor) -> Tensor:
        """Give what the model is told of a noise level."""
        return 0.25 * torch.as_tensor(sigma).log()


class EDMEulerScheduler(EDMScheduler[EDMEuler]):
    """Euler's method for models that were trained by noise level; see `EDMEuler`."""

    refuses_indices = True

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        mu: float | None = None,
    ) -> None:
        """Lay out a run and stand at its start.

        Args:
            num_inference_steps: How many steps to take.
            device: Where `timesteps` should be.
            timesteps: Refused; these follow from the noise levels.
            sigmas: The ranks of the noise levels instead, from 0, the highest, to 1; the name is
                diffusers'.
            mu: Refused; this is no flow.
        """
        if sigmas is None:
            super().set_timesteps(num_inference_steps, device, timesteps=timesteps, mu=mu)
        else:
            self._set(self.rule.ranked([float(rank) for rank in sigmas]), device)

    def _training_grid(self) -> Grid:
        total = self.rule.num_train_timesteps
        return self.rule.ranked([i / total for i in range(total + 1)])

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
        pred_original_sample: Tensor | None = None,
    ) -> SchedulerOutput:
        """Go to the next noise level; gives the image that the prediction points to as well.

        Raises:
            ValueError: The timestep is an index.
        """
        rule = changed(self.rule, s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise)
        place, sample = _churned(
            self._here(timestep, rule), sample, s_noise, model_output, generator
        )
        if pred_original_sample is not None:  # the image itself, in place of what points to it
            moved = sample + (sample - pred_original_sample) * (place.noise_next / place.noise - 1)
            self._step_index = self._place(timestep) + 1
            moved = moved.to(model_output.dtype)
            return SchedulerOutput(moved, pred_original_sample=pred_original_sample)
        image = self.rule.denoised(model_output, place, sample)
        moved = self._advance(model_output, place, sample)
        return SchedulerOutput(moved, pred_original_sample=image)


def _churned(
    place: Step, sample: Tensor, s_noise: float, like: Tensor, generator: Generators | None
) -> tuple[Step, Tensor]:
    sample = sample.float()
    for churn in place.coefficients:
        place, sample, _ = churned(place, sample, churn, s_noise, like, TorchNoise(generator))
    return place, sample

"""Schedulers with diffusers' names that go by training timesteps: DDPM, DDIM, PNDM, LCM, TCD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from graphdiff.schedulers.betas import beta_table
from graphdiff.schedulers.ddim import DDIM
from graphdiff.schedulers.ddpm import DDPM
from graphdiff.schedulers.distilled import LCM, TCD, DistilledRule
from graphdiff.schedulers.output import SchedulerOutput
from graphdiff.schedulers.pndm import MULTISTEP, PNDM, PNDMHistory
from graphdiff.schedulers.schedule import Grid, Step
from graphdiff.schedulers.shell import (
    DrawingScheduler,
    Scheduler,
    Timestep,
    changed,
    column,
    floats,
)
from graphdiff.schedulers.torch_noise import Generators
from graphdiff.schedulers.trained import TrainedRule

T = TypeVar("T", bound=TrainedRule[Any])
D = TypeVar("D", bound=DistilledRule)


class TrainedScheduler(Scheduler[T]):
    """A scheduler that goes by a table of betas."""

    @property
    def betas(self) -> Tensor:
        """How much noise each training timestep adds."""
        return torch.tensor(beta_table(self.rule.alphas))

    @property
    def alphas_cumprod(self) -> Tensor:
        """The share of the signal's variance that is left at each training timestep."""
        return torch.tensor(self.rule.alphas)

    @property
    def alphas(self) -> Tensor:
        """What each training timestep leaves of the signal's variance."""
        return 1 - self.betas


class TimestepScheduler(TrainedScheduler[T]):
    """A scheduler whose noise levels are those of training timesteps."""

    @property
    def final_alpha_cumprod(self) -> Tensor:
        """The share of the signal's variance where a run ends."""
        to_one = bool(self.config.get("set_alpha_to_one", True))
        return torch.tensor(1.0 if to_one else self.rule.alphas[0])

    def _training_grid(self) -> Grid:
        total = self.rule.num_train_timesteps
        return Grid(tuple(range(total - 1, -1, -1)), (), total)

    def _factors(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        # In the dtype of the sample from here on, as in diffusers.
        alphas = floats(self.alphas_cumprod.to(like.dtype)[timesteps.cpu()])
        signal, noise = [a**0.5 for a in alphas], [(1 - a) ** 0.5 for a in alphas]
        return column(signal, like), column(noise, like)

    def previous_timestep(self, timestep: int) -> int | Tensor:
        """Give the timestep that a step from another leads to; -1 for the end."""
        if self.num_inference_steps is None:
            return timestep - 1
        index = self.index_for_timestep(timestep)
        after = self.grid.timesteps[index + 1 : index + 2]
        return torch.tensor(int(after[0]) if after else -1)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noise images, each as far as it is at its timestep."""
        signal, level = self._factors(timesteps, original_samples)
        return signal * original_samples + level * noise

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Give what a model of v-prediction should predict of images and noise."""
        signal, level = self._factors(timesteps, sample)
        return signal * noise - level * sample


class DDPMScheduler(TimestepScheduler[DDPM]):
    """The ancestral sampler; see `DDPM`."""

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go from a timestep to the next; gives the image that the prediction points to as well."""
        place = self.rule.place(int(timestep), int(self.previous_timestep(int(timestep))))
        mean, _ = self.rule.split(model_output, sample)
        image = self.rule.denoised(mean, place, sample)
        moved = self._advance(model_output, place, sample, generator)
        return SchedulerOutput(moved, pred_original_sample=image)


class DDIMScheduler(TimestepScheduler[DDIM]):
    """The deterministic sampler; see `DDIM`."""

    needs_steps = True

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators | None = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go from a timestep a stride down; gives the image that the prediction points to as well.

        Raises:
            ValueError: Both noise and a generator are given, or `set_timesteps` was not called.
        """
        self._ready()
        if variance_noise is not None and generator is not None:
            raise ValueError("give either generator or variance_noise, not both")
        options = {"eta": eta, "use_clipped_model_output": use_clipped_model_output}
        rule = changed(self.rule, **options)
        place = rule.place(int(timestep), None, self.num_inference_steps or 1)
        image = rule.denoised(model_output, place, sample)
        moved = self._advance(model_output, place, sample, generator, variance_noise)
        return SchedulerOutput(moved, pred_original_sample=image)


class PNDMScheduler(TimestepScheduler[PNDM]):
    """The pseudo linear multistep sampler; see `PNDM`."""

    needs_steps = True

    @property
    def counter(self) -> int:
        """How many steps the run has taken."""
        return self._step_index or 0

    @property
    def ets(self) -> list[Tensor]:
        """The predictions that the next step extrapolates from."""
        return list(self._history.predictions) if self._history else []

    @property
    def prk_timesteps(self) -> list[int]:
        """The timesteps of the Runge-Kutta warm-up."""
        times = [int(t) for t in self.grid.timesteps]
        return [] if self.rule.skip_prk_steps else times[: len(times) - max(self.grid.count - 3, 0)]

    @property
    def plms_timesteps(self) -> list[int]:
        """The timesteps of the linear multistep method."""
        return [int(t) for t in self.grid.timesteps[len(self.prk_timesteps) :]]

    def step(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput:
        """Go on by the method that the run has come to."""
        self._ready()
        warming_up = self.counter < len(self.prk_timesteps)
        take = self.step_prk if warming_up else self.step_plms
        return take(model_output, timestep, sample)

    def step_prk(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput:
        """Take one of the four trial steps of the Runge-Kutta method."""
        self._ready()
        counter = self.counter
        begun = self.prk_timesteps[counter // 4 * 4]
        return self._take(model_output, int(timestep), begun, counter % 4, sample)

    def step_plms(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput:
        """Take a step of the linear multistep method.

        Raises:
            ValueError: The Runge-Kutta warm-up is wanted, but has not been taken.
        """
        self._ready()
        if not self.rule.skip_prk_steps and len(self.ets) < 3:
            raise ValueError(
                "PNDMScheduler.step_plms comes after the Runge-Kutta warm-up of 12 evaluations; "
                "use step, or set skip_prk_steps"
            )
        t = int(timestep)
        return self._take(model_output, t, t, MULTISTEP, sample)

    def _take(
        self, output: Tensor, timestep: int, begun: int, stage: int, sample: Tensor
    ) -> SchedulerOutput:
        self._step_index = self.counter
        self._history = self._history or PNDMHistory()
        place = self.rule.place(timestep, begun, stage, self.num_inference_steps or 1)
        return SchedulerOutput(self._advance(output, place, sample))


class DistilledScheduler(TimestepScheduler[D]):
    """A sampler of models that were distilled to few steps."""

    needs_steps = True

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        mu: float | None = None,
        original_inference_steps: int | None = None,
        strength: float = 1.0,
    ) -> None:
        """Lay out a run and stand at its start.

        Args:
            num_inference_steps: How many steps to take.
            device: Where `timesteps` should be.
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Refused; these schedulers go by timesteps.
            mu: Refused; they are no flows.
            original_inference_steps: How many timesteps the model was distilled at.
            strength: The share of the model's timesteps to choose among, from the lowest.

        Raises:
            ValueError: A number is out of its range.
        """
        original = self._original(original_inference_steps)
        rule = changed(self.rule, grid_strength=strength, **original)
        rule.refuse(sigmas=sigmas, mu=mu)
        grid = rule.grid(num_inference_steps, timesteps=timesteps)
        self._set(grid, device)

    def _original(self, steps: int | None) -> dict[str, int]:
        return {} if steps is None else {"original_inference_steps": steps}


class LCMScheduler(DistilledScheduler[LCM], DrawingScheduler[LCM]):
    """Multistep consistency sampling; see `LCM`."""

    def _beside(self, output: Tensor, place: Step, sample: Tensor) -> dict[str, Tensor]:
        return {"denoised": self.rule.consistent(output, place, sample)}


class TCDScheduler(DistilledScheduler[TCD]):
    """Strategic stochastic sampling; see `TCD`."""

    def _original(self, steps: int | None) -> dict[str, int]:
        return {} if steps is None else {"every_timestep": True}

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        eta: float = 0.3,
        generator: Generators | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Follow the trajectory and noise it again; gives where it was left, too."""
        rule = changed(self.rule, eta=eta)
        return self._taken(model_output, timestep, sample, generator, rule=rule)

    def _beside(self, output: Tensor, place: Step, sample: Tensor) -> dict[str, Tensor]:
        return {"pred_noised_sample": self.rule.noised(output, place, sample)}

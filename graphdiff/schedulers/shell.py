"""What the diffusers-named scheduler classes share: one run's state around a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from graphdiff.schedulers.configured import Configured, R
from graphdiff.schedulers.output import SchedulerOutput
from graphdiff.schedulers.schedule import Grid, Rule, Schedule, Step
from graphdiff.schedulers.torch_noise import Generators, TorchNoise

Timestep = int | float | Tensor


class Scheduler(Configured[R]):
    """A noise schedule and its solver in one run: a rule, a place and a history.

    The classes with diffusers' names derive from this one. A `Rule` does the work and can be had as
    `scheduler.rule`; it has no state and serves any number of runs.
    """

    order: ClassVar[int] = 1
    needs_steps: ClassVar[bool] = False
    """Whether `step` is refused before `set_timesteps`."""
    refuses_indices: ClassVar[bool] = False
    """Whether `step` refuses whole numbers, which may be indices, as timesteps."""

    num_inference_steps: int | None

    def _begin(self) -> None:
        self.num_inference_steps = None
        self._start(None)

    def _start(self, grid: Grid | None, device: torch.device | str | None = None) -> None:
        self._grid = grid
        self._device = device
        self._step_index: int | None = None
        self._begin_index: int | None = None
        self._history: Any = None
        for name in ("timesteps", "sigmas", "schedule"):
            self.__dict__.pop(name, None)

    def __len__(self) -> int:
        return self.rule.num_train_timesteps

    # ------------------------------------------------------------------------ the schedule

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
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Noise levels to visit instead, from high to low.
            mu: How far a flow schedule is shifted.

        Raises:
            ValueError: The scheduler does not take one of these, or a number is out of its range.
        """
        own = None if timesteps is None else [float(t) for t in timesteps]
        levels = None if sigmas is None else [float(sigma) for sigma in sigmas]
        self._set(self.rule.grid(num_inference_steps, timesteps=own, sigmas=levels, mu=mu), device)

    def _set(self, grid: Grid, device: torch.device | str | None) -> None:
        self.num_inference_steps = grid.count
        self._start(grid, device)

    def _training_grid(self) -> Grid:
        """Where a scheduler stands before `set_timesteps`: every training timestep."""
        return self.rule.grid(self.rule.num_train_timesteps)

    @property
    def grid(self) -> Grid:
        """The run's timesteps and noise levels, as plain numbers."""
        if self._grid is None:
            self._grid = self._training_grid()
        return self._grid

    @cached_property
    def schedule(self) -> Schedule:
        """The run's steps."""
        return Schedule(self.rule.places(self.grid), self.rule.init_noise_sigma(self.grid))

    @cached_property
    def timesteps(self) -> Tensor:
        """What the model is told at each evaluation."""
        return torch.tensor(self.grid.timesteps, dtype=self._timestep_dtype(), device=self._device)

    def _timestep_dtype(self) -> torch.dtype:
        whole = all(isinstance(t, int) for t in self.grid.timesteps)
        return torch.int64 if whole else torch.float32

    @cached_property
    def sigmas(self) -> Tensor:
        """The noise level of each entry of `timesteps`, and that where the run ends."""
        return torch.tensor(self._sigma_entries(), dtype=torch.float32)

    def _sigma_entries(self) -> Sequence[float]:
        return self.grid.sigmas

    @property
    def init_noise_sigma(self) -> float | Tensor:
        """What standard normal noise is multiplied by to start a run."""
        return self.rule.init_noise_sigma(self.grid)

    # ------------------------------------------------------------------------ the place

    @property
    def step_index(self) -> int | None:
        """The entry that the next step is taken from; None before the first step of a run."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """The entry that a run starts from, where that was set."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start the run from an entry, whatever timestep the first step is given."""
        self._begin_index = begin_index

    def index_for_timestep(
        self, timestep: Timestep, schedule_timesteps: Tensor | None = None
    ) -> int:
        """Find a timestep's entry; the second one where there are several.

        Raises:
            ValueError: It is none of `timesteps`.
        """
        times = self.grid.timesteps if schedule_timesteps is None else floats(schedule_timesteps)
        wanted = float(timestep)
        found = [i for i, t in enumerate(times) if t == wanted]
        return self._missing(wanted) if not found else found[1] if len(found) > 1 else found[0]

    def _missing(self, timestep: float) -> int:
        raise ValueError(
            f"timestep {timestep} is not in the schedule of {type(self).__name__}; "
            "pass one of its timesteps"
        )

    def _place(self, timestep: Timestep) -> int:
        if self._step_index is None:
            begin = self._begin_index
            self._step_index = self.index_for_timestep(timestep) if begin is None else begin
        return self._step_index

    def _ready(self) -> None:
        if self.needs_steps and self.num_inference_steps is None:
            raise ValueError(
                f"{type(self).__name__} does not know the number of steps: call set_timesteps first"
            )

    def _here(self, timestep: Timestep, rule: Rule[Any] | None = None) -> Step:
        """Give the step of the place, by another rule where an argument of `step` asks for one."""
        if self.refuses_indices:
            _refuse_index(type(self).__name__, timestep)
        self._ready()
        index = self._place(timestep)
        if rule is None or rule == self.rule:
            return self.schedule[index]
        return rule.places(self.grid)[index]

    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """Scale a sample to what the model was trained to see."""
        return sample

    def _scaled(self, sample: Tensor, timestep: Timestep | None) -> Tensor:
        if timestep is None:
            raise ValueError(f"{type(self).__name__}.scale_model_input needs the timestep")
        return self.schedule[self._place(timestep)].scale_input(sample)

    def _taken(
        self,
        output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators | None = None,
        noise: Tensor | None = None,
        rule: Rule[Any] | None = None,
    ) -> SchedulerOutput:
        """Take the step at a timestep, and give what belongs beside the sample."""
        place = self._here(timestep, rule)
        beside = self._beside(output, place, sample)
        return SchedulerOutput(self._advance(output, place, sample, generator, noise), **beside)

    def _beside(self, output: Tensor, place: Step, sample: Tensor) -> dict[str, Tensor]:
        """Give what a step says beside the less noisy sample, by name."""
        return {}

    def _advance(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        generator: Generators | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        source = TorchNoise(generator, noise)
        stepped = step.rule.step(prediction, step, sample, self._history, source)
        self._history = stepped.history
        if self._step_index is not None:
            self._step_index += 1
        return stepped.sample

    def _levels_at(self, timesteps: Tensor) -> list[Step]:
        """Give the steps whose noise levels `add_noise` takes: the run's place, if known."""
        if self._begin_index is None:
            return [self.schedule[self.index_for_timestep(t)] for t in floats(timesteps)]
        at = self._begin_index if self._step_index is None else self._step_index
        return [self.schedule[min(at, len(self.schedule) - 1)]] * timesteps.shape[0]

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noise images, each as far as it is at its timestep."""
        steps = self._levels_at(timesteps)
        signals = column([step.signal for step in steps], original_samples)
        return signals * original_samples + column([step.noise for step in steps], noise) * noise


class PlainScheduler(Scheduler[R]):
    """A scheduler that draws no noise."""

    def step(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput:
        """Go on to the next entry; gives what the scheduler says of the image as well."""
        return self._taken(model_output, timestep, sample)


class DrawingScheduler(Scheduler[R]):
    """A scheduler that may draw noise."""

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go on to the next entry; gives what the scheduler says of the image as well."""
        return self._taken(model_output, timestep, sample, generator)


def column(values: Sequence[float], like: Tensor) -> Tensor:
    """Put one number for each picture of a batch where it broadcasts."""
    flat = torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)
    return flat.reshape(-1, *[1] * (like.dim() - 1))


def floats(values: Tensor) -> list[float]:
    """Give a tensor's numbers."""
    return [float(value) for value in values.flatten()]


def _refuse_index(name: str, timestep: Timestep) -> None:
    """Refuse an index where a timestep belongs.

    Raises:
        ValueError: The timestep is a whole number by type.
    """
    whole = isinstance(timestep, int)
    if isinstance(timestep, Tensor):
        whole = timestep.dtype in (torch.int32, torch.int64)
    if whole:
        raise ValueError(
            f"{name}.step was given {timestep!r}, which looks like an index, as from "
            "enumerate(timesteps): pass one of scheduler.timesteps instead"
        )


def changed(rule: R, **options: Any) -> R:  # noqa: ANN401 - fields of the rule
    """Give a rule with other options, or itself where they are the same."""
    same = all(getattr(rule, key) == value for key, value in options.items())
    return rule if same else replace(rule, **options)

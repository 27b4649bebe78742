"""What a noise schedule is: steps that know their place, and the rules that take them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    Protocol,
    Self,
    TypeVar,
    overload,
)

from graphdiff.schedulers.legal import check_fields
from graphdiff.schedulers.predictions import Prediction, denoised

if TYPE_CHECKING:
    import torch
    from torch import Tensor

H = TypeVar("H")


class NoiseSource(Protocol):
    """What a stochastic rule draws from: an `Rng`, or a shell's torch generator."""

    def normal(
        self, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, Self]:
        """Draw standard normal numbers, and give what to draw from next."""
        ...

    def entropy(self) -> tuple[tuple[int, ...], Self]:
        """Draw seeds for other generators, and give what to draw from next."""
        ...


class Stepped(NamedTuple, Generic[H]):
    """Where a step leads.

    Attributes:
        sample: The less noisy sample.
        history: What the rule remembers for its next step; None where it remembers nothing.
        rng: What to draw from next.
    """

    sample: Tensor
    history: H | None
    rng: NoiseSource | None


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a schedule: all that a rule and a model need to know about the place.

    A sample at this place is `signal * image + noise * gaussian`. Steps are plain data: equal
    places of different runs are equal, whatever comes after them.

    Attributes:
        rule: What takes the step.
        timestep: What the model is told; an int where the scheduler counts in whole timesteps.
        signal: The image's factor in the sample.
        noise: The gaussian's factor in the sample.
        signal_next: The image's factor at the next entry or, after the last one, at the end.
        noise_next: The gaussian's factor there.
        input_scale: What the sample is multiplied by before the model sees it.
        order: The highest order that a solver may use here.
        stage: Which evaluation of the model this is, where a rule's step takes several.
        last: Whether the schedule ends with this entry.
        coefficients: Numbers that the rule prepares for its arithmetic; each rule says which.
    """

    rule: Rule[Any]
    timestep: float
    signal: float
    noise: float
    signal_next: float
    noise_next: float
    input_scale: float = 1.0
    order: int = 1
    stage: int = 0
    last: bool = False
    coefficients: tuple[float, ...] = ()

    @property
    def sigma(self) -> float:
        """The noise level in units of the signal; infinite where there is no signal."""
        return self.noise / self.signal if self.signal else math.inf

    @property
    def sigma_next(self) -> float:
        """The noise level where the step leads."""
        return self.noise_next / self.signal_next if self.signal_next else math.inf

    def scale_input(self, sample: Tensor) -> Tensor:
        """Scale the sample to what the model was trained to see."""
        return sample if self.input_scale == 1.0 else sample * self.input_scale


@dataclass(frozen=True, slots=True)
class Schedule(Sequence[Step]):
    """The steps of a run, in order; a slice is a schedule too.

    Attributes:
        steps: The entries.
        init_noise_sigma: What standard normal noise is multiplied by to start at the first entry of
            the whole schedule.
    """

    steps: tuple[Step, ...]
    init_noise_sigma: float = 1.0

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> Schedule: ...
    def __getitem__(self, index: int | slice) -> Step | Schedule:
        if isinstance(index, slice):
            return Schedule(self.steps[index], self.init_noise_sigma)
        return self.steps[index]


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a schedule stops: what rules make their steps from.

    Attributes:
        timesteps: What the model is told at each evaluation.
        sigmas: The noise levels, one more than there are steps, or none where a rule goes by
            timesteps.
        count: How many steps the user asked for.
    """

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class Rule(ABC, Generic[H]):
    """A noise schedule and the solver that follows it: frozen configuration and pure functions.

    Fields are the configuration keys of the diffusers class `name`, but for those marked as
    options, which diffusers takes as arguments of `step`.
    """

    name: ClassVar[str]
    evaluations: ClassVar[int] = 1
    """How many times a step calls the model."""
    replaced: ClassVar[dict[str, dict[str, str]]] = {}
    """Values that arrive with another scheduler's configuration, and what they become."""
    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields that diffusers reads from the configuration although its class does not list them."""
    foreign: ClassVar[frozenset[str]] = frozenset()
    """Fields that are out of a configuration's reach: the diffusers class has no such keys."""

    num_train_timesteps: int = 1000
    prediction_type: Prediction = "epsilon"

    def __post_init__(self) -> None:
        for key, values in self.replaced.items():
            value = getattr(self, key)
            if value in values:
                object.__setattr__(self, key, values[value])
        check_fields(self)

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise, so that a run needs an rng."""
        return False

    @abstractmethod
    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps and noise levels; see `schedule`."""

    @abstractmethod
    def places(self, grid: Grid) -> tuple[Step, ...]:
        """Make the steps of a grid."""

    def init_noise_sigma(self, grid: Grid) -> float:
        """Give what standard normal noise is multiplied by to be a sample at the grid's start."""
        return 1.0

    def skipped(self, count: int, strength: float) -> int:
        """Give how many of `count` steps are left out at a strength, as picture-to-picture does."""
        return count - min(int(count * strength), count)

    def schedule(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        strength: float = 1.0,
        start: float = 0.0,
        end: float = 1.0,
        mu: float | None = None,
    ) -> Schedule:
        """Lay out a run.

        Args:
            steps: How many steps to take.
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Noise levels to visit instead, from high to low.
            strength: The share of the steps to take, counted from the end.
            start: The share of the training timesteps to leave out at the noisy end.
            end: The share of the training timesteps after which to stop.
            mu: How far a flow schedule is shifted towards noise, where it depends on the picture's
                size.

        Raises:
            ValueError: A number is out of its range, or the rule does not take one of these.
        """
        for name, share in (("strength", strength), ("start", start), ("end", end)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}, but it must be from 0 to 1")
        if start >= end:
            raise ValueError(f"start is {start} and end is {end}: start must be below end")
        grid = self.grid(steps, timesteps=timesteps, sigmas=sigmas, mu=mu)
        schedule = Schedule(self.places(grid), self.init_noise_sigma(grid))
        first = self.skipped(grid.count, strength) * self.evaluations
        if start > 0:
            first = max(first, self._first_below(schedule, start))
        if end < 1:
            cutoff = round(self.num_train_timesteps * (1 - end))
            return schedule[first : sum(step.timestep >= cutoff for step in schedule)]
        return schedule[first:]

    def _first_below(self, schedule: Schedule, start: float) -> int:
        cutoff = round(self.num_train_timesteps * (1 - start))
        left = sum(step.timestep < cutoff for step in schedule)
        if self.evaluations == 2 and left % 2 == 0:  # begin with a whole step
            left += 1
        return max(len(schedule) - left, 0)

    @abstractmethod
    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: H | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[H]:
        """Go from one noise level to the next.

        Args:
            prediction: What the model gave, of the sample's shape.
            step: The place.
            sample: The sample at the place, before `scale_input`.
            history: What the step before gave; None at the start of a run, wherever that is.
            rng: What a stochastic rule draws from.
        """

    def denoised(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the image that the prediction points to."""
        return denoised(self.prediction_type, prediction, sample, step.signal, step.noise)

    def add_noise(self, original: Tensor, noise: Tensor, step: Step) -> Tensor:
        """Noise an image as far as it is at the place."""
        return original * step.signal + noise * step.noise

    def add_noise_after(self, original: Tensor, noise: Tensor, step: Step) -> Tensor:
        """Noise an image as far as it is after the step; after the last one, not at all."""
        return original if step.last else original * step.signal_next + noise * step.noise_next


def draw(rng: NoiseSource | None, like: Tensor, rule: Rule[Any]) -> tuple[Tensor, NoiseSource]:
    """Draw standard normal noise of a tensor's shape, dtype and device.

    Raises:
        ValueError: There is nothing to draw from.
    """
    return _given(rng, rule).normal(like.shape, dtype=like.dtype, device=like.device)


def seeds_from(
    rng: NoiseSource | None, rule: Rule[Any]
) -> tuple[tuple[int, ...], NoiseSource | None]:
    """Draw seeds for other generators.

    Raises:
        ValueError: There is nothing to draw from.
    """
    return _given(rng, rule).entropy()


def _given(rng: NoiseSource | None, rule: Rule[Any]) -> NoiseSource:
    if rng is None:
        raise ValueError(f"{rule.name} draws noise: give step() an rng")
    return rng

"""PNDM: pseudo linear multistep and Runge-Kutta methods. arXiv:2202.09778."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from graphdiff.schedulers.predictions import predicted_noise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped
from graphdiff.schedulers.spacing import spaced
from graphdiff.schedulers.trained import TrainedRule, counted
from graphdiff.schedulers.variance_preserving import place
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor

MULTISTEP = 4
"""The stage of a step of the linear multistep method; those below are of the Runge-Kutta method."""
_ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55, -59, 37, -9))
_RUNGE_KUTTA = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


@dataclass(frozen=True, slots=True)
class PNDMHistory:
    """What PNDM remembers.

    Attributes:
        predictions: The last predictions, the newest last.
        taken: How many multistep evaluations were made.
        sample: The sample that a step of several evaluations started from, in the midst of one.
        sum: What the evaluations of a Runge-Kutta step have given so far.
    """

    predictions: tuple[Tensor, ...] = ()
    taken: int = 0
    sample: Tensor | None = None
    sum: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class PNDM(TrainedRule[PNDMHistory]):
    """Liu et al. 2022, arXiv:2202.09778, algorithm 2; or without its Runge-Kutta steps.

    `Step.coefficients` holds the signal's share of the variance: where the method's step starts,
    where it leads and, for a run that starts here, where its second evaluation starts.
    """

    name = "PNDMScheduler"

    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
    skip_prk_steps: bool = False
    set_alpha_to_one: bool = False

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps by the spacing, and repeat those that are evaluated more than once."""
        self.refuse(timesteps=timesteps, sigmas=sigmas, mu=mu)
        steps = counted(self, steps)
        total = self.num_train_timesteps
        chosen = [round(t) for t in spaced(steps, total, self.timestep_spacing, self.steps_offset)]
        if self.skip_prk_steps:
            return Grid((*chosen[:1], *chosen[1:2], *chosen[1:]), (), steps)
        half = total // steps // 2
        points = [t + extra for t in chosen[:4] for extra in (half, 0)][1:]
        warm_up = [t for t in points for _ in range(2)][1:-1]
        return Grid((*warm_up, *chosen[3:]), (), steps)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step at each evaluation of the model."""
        warm_up = 0 if self.skip_prk_steps else len(grid.timesteps) - max(grid.count - 3, 0)
        times = [int(t) for t in grid.timesteps]
        following = [*(self.alphas[t] for t in times[1:]), 1.0]
        return tuple(
            replace(
                self.place(t, times[i // 4 * 4], i % 4, grid.count)
                if i < warm_up
                else self.place(t, t, MULTISTEP, grid.count),
                signal_next=math.sqrt(following[i]),
                noise_next=math.sqrt(1 - following[i]),
                last=i == len(times) - 1,
            )
            for i, t in enumerate(times)
        )

    def place(self, timestep: int, begun: int, stage: int, count: int) -> Step:
        """Make the step at a timestep, of one that began at another, in a run of `count` steps."""
        stride = self.num_train_timesteps // count
        target = timestep - (stride if stage == MULTISTEP else 0 if stage % 2 else stride // 2)
        before = timestep + stride
        aims = (
            self.alpha_at(begun),
            self.alpha_at(target),
            self.alpha_at(before) if before < len(self.alphas) else 0.0,
        )
        alpha = self.alpha_at(timestep)
        return place(self, timestep, alpha, alpha, last=False, stage=stage, coefficients=aims)

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
        history: PNDMHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[PNDMHistory]:
        """Follow the slope that past predictions extrapolate to, or trial steps' mean."""
        history = history or PNDMHistory()
        if step.stage == MULTISTEP:
            moved, history = self._multistep(prediction, step, sample, history)
        else:
            moved, history = self._runge_kutta(prediction, step, sample, history)
        return Stepped(moved, history, rng)

    def _multistep(
        self, prediction: Tensor, step: Step, sample: Tensor, history: PNDMHistory
    ) -> tuple[Tensor, PNDMHistory]:
        begun, aim, before = step.coefficients
        past = history.predictions
        if self.skip_prk_steps and history.taken == 1 and history.sample is not None:
            # The first step again, with the mean of the slopes at both of its ends.
            mean = (prediction + past[-1]) / 2
            moved = self._moved(history.sample, mean, before, begun)
            return moved, replace(history, taken=2, sample=None)
        past = (*past[-3:], prediction)
        slope = _extrapolated(past)
        kept = sample if history.taken == 0 else None
        moved = self._moved(sample, slope, begun, aim)
        return moved, PNDMHistory(past, history.taken + 1, kept)

    def _runge_kutta(
        self, prediction: Tensor, step: Step, sample: Tensor, history: PNDMHistory
    ) -> tuple[Tensor, PNDMHistory]:
        begun, aim, _ = step.coefficients
        start, total, past = history.sample, history.sum, history.predictions
        if step.stage == 0:
            start, total, past = sample, prediction * _RUNGE_KUTTA[0], (*past[-3:], prediction)
        elif start is None or total is None:  # a run that starts in the midst of a step
            return self._moved(sample, prediction, step.signal**2, aim), history
        else:
            total = total.add(prediction, alpha=_RUNGE_KUTTA[step.stage])
        if step.stage < 3:
            return self._moved(start, prediction, begun, aim), PNDMHistory(past, 0, start, total)
        return self._moved(start, total, begun, aim), PNDMHistory(past)

    def _moved(self, sample: Tensor, prediction: Tensor, alpha: float, aim: float) -> Tensor:
        """Transfer a sample by a prediction of the noise. Liu et al., equation 11."""
        signal, noise = math.sqrt(alpha), math.sqrt(1 - alpha)
        slope = predicted_noise(self.prediction_type, prediction, sample, signal, noise)
        share = alpha * math.sqrt(1 - aim) + math.sqrt(alpha * (1 - alpha) * aim)
        return combined((math.sqrt(aim / alpha), sample), ((alpha - aim) / share, slope))


def _extrapolated(past: tuple[Tensor, ...]) -> Tensor:
    weights = _ADAMS_BASHFORTH[len(past) - 1]
    scale = 1 / 24 if len(past) == 4 else 1.0
    terms = zip(weights, reversed(past), strict=True)
    return combined(*((weight * scale, each) for weight, each in terms))

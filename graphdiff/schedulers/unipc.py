"""UniPC: a predictor and a corrector for the cost of one model call. arXiv:2302.04867."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from graphdiff.schedulers.betas import log_sigma_table, sigma_table
from graphdiff.schedulers.float32 import linspace, rounded
from graphdiff.schedulers.predictions import predicted_noise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped
from graphdiff.schedulers.sigmas import shifted, spread_sigmas, stretched, timestep_of
from graphdiff.schedulers.solvers import (
    Level,
    SolverHistory,
    SolverRule,
    level,
    level_next,
)
from graphdiff.schedulers.trained import counted
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor

CORRECTS = 1
"""The stage of a step that corrects its sample first."""
_EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class UniPC(SolverRule):
    """Zhao et al. 2023, algorithms 5 to 8.

    `Step.stage` says whether the sample is corrected before it is moved on.
    """

    name = "UniPCMultistepScheduler"
    hidden = frozenset()
    replaced: ClassVar[dict[str, dict[str, str]]] = {
        "solver_type": dict.fromkeys(("midpoint", "heun", "logrho"), "bh2")
    }

    predict_x0: bool = True
    solver_type: Literal["bh1", "bh2"] = "bh2"
    disable_corrector: tuple[int, ...] = ()
    solver_p: None = None
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    shift_terminal: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift_terminal is not None and not self.use_flow_sigmas:
            raise ValueError(
                f"{self.name}: shift_terminal is {self.shift_terminal}, but it must be null where "
                "use_flow_sigmas is false"
            )

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps by the spacing, spread the levels, or take the user's own of either.

        A flow's own levels are shifted, and the level where the run ends is not among them.
        """
        if self.use_dynamic_shifting and mu is None:
            raise ValueError(f"{self.name} needs mu where use_dynamic_shifting is true")
        if not self.use_flow_sigmas or timesteps is not None:
            return super().grid(steps, timesteps=timesteps, sigmas=sigmas, mu=mu)
        self.take_one(steps=steps, sigmas=sigmas)
        steps = len(sigmas) if sigmas is not None else counted(self, steps)
        if self.spread is None:
            lowest = 1 / self.num_train_timesteps
            even = linspace(1, lowest, steps + 1)[:-1] if sigmas is None else list(sigmas)
            levels = self.shifted_flow(even, mu)
            return self.of_levels(levels, [int(s * self.num_train_timesteps) for s in levels])
        own = tuple(sigmas) if sigmas is not None else sigma_table(self.alphas)
        levels = spread_sigmas(self.spread, steps, *self.bounds(own[0], own[-1]))
        if self.spread == "karras":
            levels = [sigma / (sigma + 1) for sigma in levels]
            return self.of_levels(levels, [int(s * self.num_train_timesteps) for s in levels])
        logs = log_sigma_table(self.alphas) if sigmas is None else rounded(map(math.log, own))
        return self.of_levels(levels, [int(timestep_of(sigma, logs)) for sigma in levels])

    def shifted_flow(self, sigmas: Sequence[float], mu: float | None) -> list[float]:
        """Move a flow's noise levels towards noise, and keep the first below pure noise."""
        shift = self.shift_at(mu)
        levels = [shifted(sigma, shift) for sigma in sigmas]
        if self.shift_terminal:
            levels = stretched(levels, self.shift_terminal)
        if abs(levels[0] - 1) < _EPSILON:
            levels[0] -= _EPSILON
        return levels

    def end_sigma(self, lowest: float) -> float:
        """Zero, the training table's lowest level or, where levels are spread, theirs."""
        if self.final_sigmas_type == "zero":
            return 0.0
        table = sigma_table(self.alphas)
        return lowest if self.spread or self.use_flow_sigmas else table[0]

    def stage_at(self, index: int) -> int:
        """The first step has nothing to correct, nor those that the configuration excepts."""
        return CORRECTS if index > 0 and index - 1 not in self.disable_corrector else 0

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: SolverHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[SolverHistory]:
        """Correct the last step by what the model says where it led, then predict the next."""
        past = history or SolverHistory()
        output = self.converted(prediction, step, sample)
        if step.stage == CORRECTS and past.sample is not None:
            sample = self._corrected(output, step, past, past.sample)
        outputs, levels = (*past.outputs, output), (*past.levels, level(step))
        order = min(step.order, len(outputs))
        newest, places = outputs[: -order - 1 : -1], levels[: -order - 1 : -1]
        form = self._form(places, level_next(step))
        weights = [0.5] if order == 2 else _solved(form.ratios, form.moments[: order - 1])
        moved = _moved(form, sample, newest, weights, form.ratios)
        kept = self.solver_order
        return Stepped(moved, SolverHistory(outputs[-kept:], levels[-kept:], sample, order), rng)

    def converted(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give what the solver integrates: images or noise."""
        if self.predict_x0:
            return self.denoised(prediction, step, sample)
        kind = self.prediction_type  # thresholds do not apply to noise, as diffusers has it
        return predicted_noise(kind, prediction, sample, step.signal, step.noise)

    def _corrected(self, output: Tensor, step: Step, past: SolverHistory, sample: Tensor) -> Tensor:
        order = past.order
        newest, places = past.outputs[: -order - 1 : -1], past.levels[: -order - 1 : -1]
        form = self._form(places, level(step))
        ratios = [*form.ratios, 1.0]
        weights = [0.5] if order == 1 else _solved(ratios, form.moments)
        return _moved(form, sample, (*newest, output), weights, ratios)

    def _form(self, places: Sequence[Level], end: Level) -> _Form:
        """Prepare a step from the first of the places, the newest, to the end."""
        begin = places[0]
        h = end.log_snr - begin.log_snr
        signed = -h if self.predict_x0 else h
        if self.predict_x0:
            sample, factor = end.noise / begin.noise, -end.signal
            constant = factor * math.expm1(signed)
        else:  # the product of a vanishing factor and what grows without bound, as its limit
            sample, factor = end.signal / begin.signal, -end.noise
            constant = end.noise - begin.noise * sample
        if not h or math.isinf(h):  # the same level again, or the end: older outputs do not count
            return _Form(sample, constant, 0.0, [1.0] * (len(places) - 1), [])
        ratios = [(each.log_snr - begin.log_snr) / h for each in places[1:]]
        scale = signed if self.solver_type == "bh1" else math.expm1(signed)
        moments, phi, factorial = list[float](), math.expm1(signed) / signed - 1, 1
        for i in range(1, len(places) + 1):
            moments.append(phi * factorial / scale)
            factorial *= i + 1
            phi = phi / signed - 1 / factorial
        return _Form(sample, constant, factor * scale, ratios, moments)


class _Form(NamedTuple):
    """A step in UniPC's notation.

    Attributes:
        sample: The weight of the sample that the step starts from.
        constant: The weight of the newest output.
        factor: The factor of all differences.
        ratios: Where the older outputs were made, in units of the step.
        moments: The right side of the equations that the differences' weights solve.
    """

    sample: float
    constant: float
    factor: float
    ratios: list[float]
    moments: list[float]


def _moved(
    form: _Form,
    sample: Tensor,
    outputs: Sequence[Tensor],
    weights: Sequence[float],
    ratios: Sequence[float],
) -> Tensor:
    shares = [form.factor * w / r for w, r in zip(weights, ratios, strict=False)]
    newest, *others = outputs
    terms = zip(shares, others, strict=False)
    return combined((form.sample, sample), (form.constant - sum(shares), newest), *terms)


def _solved(ratios: Sequence[float], moments: Sequence[float]) -> list[float]:
    """Solve for weights whose moments at the ratios are those given, by elimination."""
    size = len(moments)
    rows = [[ratio**power for ratio in ratios] + [moments[power]] for power in range(size)]
    for k in range(size):
        pivot = max(range(k, size), key=lambda i: abs(rows[i][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        for i in range(size):
            if i != k:
                share = rows[i][k] / rows[k][k]
                rows[i] = [a - share * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [rows[k][-1] / rows[k][k] for k in range(size)]

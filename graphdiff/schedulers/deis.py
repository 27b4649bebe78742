"""DEIS: the exponential integrator in log rho. Zhang and Chen 2022, arXiv:2204.13902."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, ClassVar, Literal

from graphdiff.schedulers.betas import sigma_table
from graphdiff.schedulers.schedule import NoiseSource, Step, Stepped
from graphdiff.schedulers.solvers import (
    SolverHistory,
    SolverRule,
    level,
    level_next,
    lower_at_the_end,
)
from graphdiff.schedulers.weighted import combined, difference

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DEIS(SolverRule):
    """One model call a step, of order 1 to 3. Zhang and Chen 2022, equation 15.

    A run ends at the training table's lowest noise level or, where levels are spread, repeats the
    last.
    """

    name = "DEISMultistepScheduler"
    foreign = frozenset({"rescale_betas_zero_snr"})
    replaced: ClassVar[dict[str, dict[str, str]]] = {
        "algorithm_type": {"dpmsolver": "deis", "dpmsolver++": "deis"},
        "solver_type": dict.fromkeys(("midpoint", "heun", "bh1", "bh2"), "logrho"),
    }

    algorithm_type: Literal["deis"] = "deis"
    solver_type: Literal["logrho"] = "logrho"

    def end_sigma(self, lowest: float) -> float:
        """The table's lowest level, or once more the schedule's."""
        return lowest if self.spread or self.use_flow_sigmas else sigma_table(self.alphas)[0]

    def order_at(self, index: int, count: int) -> int:
        """Give the highest order at one of `count` steps."""
        few = self.lower_order_final
        return lower_at_the_end(self.solver_order, index, count, last=False, few=few)

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: SolverHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[SolverHistory]:
        """Integrate the polynomial through the last predictions of the noise."""
        past = history or SolverHistory()
        image = self.denoised(prediction, step, sample)
        output = difference(sample, image, step.signal, step.noise)
        outputs, levels = (*past.outputs, output), (*past.levels, level(step))
        order = min(step.order, len(outputs))
        rhos = [each.noise / each.signal for each in levels[: -order - 1 : -1]]
        end = level_next(step)
        weights = _integrals(rhos, end.noise / end.signal)
        terms = [(end.signal * w, m) for w, m in zip(weights, reversed(outputs), strict=False)]
        moved = combined((end.signal / step.signal, sample), *terms)
        kept = self.solver_order - 1
        history = SolverHistory(outputs[-kept:] if kept else (), levels[-kept:] if kept else ())
        return Stepped(moved, history, rng)


def _integrals(rhos: Sequence[float], end: float) -> list[float]:
    """Integrate, from the first rho to the end, the Lagrange polynomials through log rho."""
    if len(rhos) == 1:
        return [end - rhos[0]]
    weights = list[float]()
    for k, rho in enumerate(rhos):
        others = [log(other) for i, other in enumerate(rhos) if i != k]
        scale = 1.0
        for other in others:
            scale *= log(rho) - other
        weights.append((_antiderivative(end, others) - _antiderivative(rhos[0], others)) / scale)
    return weights


def _antiderivative(rho: float, roots: Sequence[float]) -> float:
    """Integrate the product of (log rho - root) over one or two roots."""
    x = log(rho)
    if len(roots) == 1:
        return rho * (x - 1 - roots[0])
    a, b = roots
    return rho * (x * x - 2 * x + 2 - (a + b) * (x - 1) + a * b)

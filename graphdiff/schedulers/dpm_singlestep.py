"""DPM-Solver and DPM-Solver++ in their singlestep forms. arXiv:2206.00927, arXiv:2211.01095."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphdiff.schedulers.dpm_formulas import growth, singlestep_weights
from graphdiff.schedulers.dpm_multistep import DPMRule
from graphdiff.schedulers.schedule import NoiseSource, Step, Stepped, draw
from graphdiff.schedulers.solvers import SolverHistory, level, level_next
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DPMSolverSinglestep(DPMRule):
    """Steps of 1 to 3 model calls, each of which starts afresh. Lu et al. 2022, arXiv:2206.00927.

    `Step.order` is 1 where a whole step starts and counts up within it. A run that starts within
    one goes on with lower orders until there are outputs enough.
    """

    name = "DPMSolverSinglestepScheduler"
    foreign = frozenset({"timestep_spacing", "steps_offset", "rescale_betas_zero_snr"})

    lower_order_final: bool = False

    def order_at(self, index: int, count: int) -> int:
        """Give the order at one of `count` steps, which are all used up."""
        order = self.solver_order
        whole = count % order == 0
        to_zero = self.final_sigmas_type == "zero"
        if index == count - 1 and (to_zero or (whole and self.lower_order_final)):
            return 1
        return index % order + 1

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: SolverHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[SolverHistory]:
        """Integrate from where the whole step started, by the outputs since then."""
        past = history or SolverHistory()
        output = self.converted(prediction, step, sample)
        outputs, levels = (*past.outputs, output), (*past.levels, level(step))
        order = min(step.order, len(outputs))
        start = sample if order == 1 or past.sample is None else past.sample
        end = level_next(step)
        grown = growth(self.algorithm_type, levels[-order], end)
        weights = singlestep_weights(grown, self.solver_type, end, levels[: -order - 1 : -1])
        terms = [(grown.outputs * w, m) for w, m in zip(weights, reversed(outputs), strict=False)]
        moved = combined((grown.sample, start), *terms)
        if self.stochastic:
            fresh, rng = draw(rng, output, self)
            moved = moved.add(fresh, alpha=grown.fresh)
        kept = self.solver_order - 1
        history = SolverHistory(
            outputs[-kept:] if kept else (), levels[-kept:] if kept else (), start
        )
        return Stepped(moved, history, rng)

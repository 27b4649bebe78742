"""Linear multistep method along the noise levels. Katherine Crowson's k-diffusion, `sample_lms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from graphdiff.schedulers.predictions import OfNoise
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped
from graphdiff.schedulers.trained import SpreadRule
from graphdiff.schedulers.variance_exploding import first_order_places
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LMSHistory:
    """What the method remembers.

    Attributes:
        slopes: The last slopes, the newest last.
    """

    slopes: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LMS(SpreadRule[LMSHistory]):
    """Adams-Bashforth with steps of uneven length, of order 4.

    `Step.coefficients` holds the integrals of the polynomials through the last slopes, the newest
    first. They go by the place: a run that starts in the middle has fewer slopes than coefficients
    and leaves the rest out, as it does in diffusers.
    """

    name = "LMSDiscreteScheduler"

    prediction_type: OfNoise = "epsilon"
    max_order: int = field(default=4, metadata={"option": True})

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Give the ends between which levels are spread; karras has no ends of its own here."""
        return (low, high) if self.use_karras_sigmas else super().bounds(low, high)

    def places(self, grid: Grid) -> tuple[Step, ...]:
        """One step from each noise level to the next."""
        steps = first_order_places(self, grid)
        return tuple(
            replace(step, coefficients=_integrals(grid.sigmas, i, min(i + 1, self.max_order)))
            for i, step in enumerate(steps)
        )

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: LMSHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[LMSHistory]:
        """Integrate the polynomial through the last slopes."""
        slope = self.slope(prediction, step, sample)
        past = history.slopes if history else ()
        slopes = (*past, slope)[-self.max_order :]
        moved = combined((1.0, sample), *zip(step.coefficients, reversed(slopes), strict=False))
        return Stepped(moved, LMSHistory(slopes), rng)


def _integrals(sigmas: Sequence[float], index: int, order: int) -> tuple[float, ...]:
    """Integrate each Lagrange polynomial over the step, exactly, in units from the step's start."""
    start, length = sigmas[index], sigmas[index + 1] - sigmas[index]
    nodes = [sigmas[index - k] - start for k in range(order)]
    return tuple(_integral(nodes, k, length) for k in range(order))


def _integral(nodes: Sequence[float], chosen: int, length: float) -> float:
    polynomial = [1.0]  # by rising power
    for k, node in enumerate(nodes):
        if k != chosen:
            scale = nodes[chosen] - node
            shifted, lowered = [0.0, *polynomial], [*polynomial, 0.0]
            polynomial = [(a - node * b) / scale for a, b in zip(shifted, lowered, strict=True)]
    return sum(c * length ** (power + 1) / (power + 1) for power, c in enumerate(polynomial))

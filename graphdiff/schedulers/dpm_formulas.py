"""The update formulas of DPM-Solver, as weights of the sample, the model outputs and the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from graphdiff.schedulers.solvers import Level

Algorithm = Literal["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"]
Method = Literal["midpoint", "heun"]


class Growth(NamedTuple):
    """How a polynomial through the model outputs is integrated over a step.

    Attributes:
        sample: The weight of the sample that the step starts from.
        outputs: The factor of all that follows.
        constant: The weight of the value at the start.
        half: The weight of the slope by the midpoint rule.
        linear: The exact weight of the slope.
        quadratic: The weight of the curvature.
        fresh: The weight of the noise that is drawn anew.
    """

    sample: float
    outputs: float
    constant: float
    half: float
    linear: float
    quadratic: float
    fresh: float


def growth(algorithm: Algorithm, begin: Level, end: Level) -> Growth:
    """Integrate from one level to another. Lu et al. 2022, arXiv:2206.00927 and arXiv:2211.01095.

    Where the end has no noise, only the constant is of use.
    """
    h = end.log_snr - begin.log_snr
    stochastic = algorithm.startswith("sde-")
    if algorithm.endswith("++"):
        width = 2 * h if stochastic else h
        constant = -math.expm1(-width)
        linear, quadratic = 1.0, 0.0
        if h and math.isfinite(h):
            linear = 1 - constant / width
            # The sign of the half is diffusers' for the stochastic form; users' pictures have it.
            quadratic = (constant - width) / width**2 + (-0.5 if stochastic else 0.5)
        sample = end.noise / begin.noise * (math.exp(-h) if stochastic else 1)
        fresh = end.noise * math.sqrt(-math.expm1(-2 * h)) if stochastic else 0.0
        return Growth(sample, end.signal, constant, constant / 2, linear, quadratic, fresh)
    constant = math.expm1(h)
    linear = constant / h - 1 if h else 0.0
    quadratic = (constant - h) / h**2 - 0.5 if h else 0.0
    factor = -end.noise * (2 if stochastic else 1)
    fresh = end.noise * math.sqrt(math.expm1(2 * h)) if stochastic else 0.0
    ratio = end.signal / begin.signal
    return Growth(ratio, factor, constant, constant / 2, linear, quadratic, fresh)


def multistep_weights(
    grown: Growth, method: Method, end: Level, levels: Sequence[Level]
) -> list[float]:
    """Weigh the outputs at the last levels, newest first, by differences that look back.

    Args:
        grown: The step's integrals, from the newest level to the end.
        method: How the slope of two outputs is weighed.
        end: Where the step leads.
        levels: Where the one to three outputs were made, the newest first.
    """
    h = end.log_snr - levels[0].log_snr
    if len(levels) == 1 or not h:
        return [grown.constant]
    r0 = (levels[0].log_snr - levels[1].log_snr) / h
    if len(levels) == 2:
        slope = (grown.half if method == "midpoint" else grown.linear) / r0
        return [grown.constant + slope, -slope]
    r1 = (levels[1].log_snr - levels[2].log_snr) / h
    curved = (grown.linear * r0 + grown.quadratic) / (r0 + r1)
    newer, older = (grown.linear + curved) / r0, -curved / r1
    return [grown.constant + newer, older - newer, -older]


def singlestep_weights(
    grown: Growth, method: Method, end: Level, levels: Sequence[Level]
) -> list[float]:
    """Weigh the outputs at the levels within a step, newest first, by differences from its start.

    Arguments are those of `multistep_weights`, but that the integrals are from the oldest level.
    """
    if len(levels) == 1:
        return [grown.constant]
    start = levels[-1].log_snr
    h = end.log_snr - start
    r0 = (levels[0].log_snr - start) / h
    if len(levels) == 2:
        slope = (grown.half if method == "midpoint" else grown.linear) / r0
        return [slope, grown.constant - slope]
    r1 = (levels[1].log_snr - start) / h
    if method == "midpoint":
        slope = grown.linear / r0
        return [slope, 0.0, grown.constant - slope]
    inner = (grown.linear * r0 - 2 * grown.quadratic) / (r0 - r1) / r1
    outer = (2 * grown.quadratic - grown.linear * r1) / (r0 - r1) / r0
    return [outer, inner, grown.constant - inner - outer]

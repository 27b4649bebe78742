"""Solvers against the exact solution for normally distributed data."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from graphdiff.schedulers import (
    DEIS,
    LMS,
    DPMSolverMultistep,
    DPMSolverSinglestep,
    Euler,
    Grid,
    Heun,
    Rule,
    UniPC,
)

MEAN, DEVIATION = 0.7, 0.5
FROM, TO = 10.0, 0.5


def best_image(sample: torch.Tensor, signal: float, noise: float) -> torch.Tensor:
    """Give the mean of the images that a sample may come from."""
    trust = signal * DEVIATION**2 / (signal**2 * DEVIATION**2 + noise**2)
    return MEAN + trust * (sample - signal * MEAN)


def exact(
    sample: torch.Tensor, begin: tuple[float, float], end: tuple[float, float]
) -> torch.Tensor:
    """Move a sample along the probability flow: its rank among all samples stays the same."""
    spreads = [math.hypot(signal * DEVIATION, noise) for signal, noise in (begin, end)]
    return MEAN * end[0] + (sample - MEAN * begin[0]) * spreads[1] / spreads[0]


def end_error(rule: Rule[Any], count: int, ends: tuple[float, float]) -> float:
    """Solve from one noise level to another in even ratios, and give the largest error."""
    ratio = (ends[1] / ends[0]) ** (1 / count)
    sigmas = tuple(ends[0] * ratio**i for i in range(count + 1))
    calls = count if rule.evaluations == 1 else 2 * count
    schedule = rule.places(Grid((0.0,) * calls, sigmas, count))
    sample = torch.linspace(-3, 3, 32, dtype=torch.float64).reshape(1, 2, 4, 4) * ends[0]
    begin = (schedule[0].signal, schedule[0].noise)
    expected = exact(sample, begin, (schedule[-1].signal_next, schedule[-1].noise_next))
    history = None
    for step in schedule:
        image = best_image(sample, step.signal, step.noise)
        output = image
        if rule.prediction_type == "flow_prediction":
            output = (sample - image) / step.noise
        elif rule.prediction_type == "epsilon":
            output = (sample - step.signal * image) / step.noise
        sample, history, _ = step.rule.step(output, step, sample, history, None)
    return float((sample - expected).abs().max())


SOLVERS = [
    (Euler(prediction_type="sample"), 1),
    (Heun(prediction_type="sample"), 2),
    (LMS(prediction_type="sample", max_order=1), 1),
    (LMS(prediction_type="sample", max_order=2), 2),
    (DPMSolverMultistep(prediction_type="sample", solver_order=1), 1),
    (DPMSolverMultistep(prediction_type="sample", final_sigmas_type="sigma_min"), 2),
    (
        DPMSolverMultistep(
            prediction_type="sample", final_sigmas_type="sigma_min", solver_type="heun"
        ),
        2,
    ),
    (
        DPMSolverMultistep(algorithm_type="dpmsolver", final_sigmas_type="sigma_min"),
        2,
    ),
    (DPMSolverSinglestep(prediction_type="sample", final_sigmas_type="sigma_min"), 2),
    (DEIS(prediction_type="sample", solver_order=1), 1),
    (DEIS(prediction_type="sample"), 2),
    (UniPC(prediction_type="sample", final_sigmas_type="sigma_min"), 2),
    (UniPC(predict_x0=False, final_sigmas_type="sigma_min"), 2),
]


@pytest.mark.parametrize(
    ("rule", "order"), SOLVERS, ids=lambda value: getattr(value, "name", value)
)
def test_halving_the_step_divides_the_error_by_two_to_the_order(
    rule: Rule[Any], order: int
) -> None:
    coarse, fine = (end_error(rule, count, (FROM, TO)) for count in (64, 128))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)

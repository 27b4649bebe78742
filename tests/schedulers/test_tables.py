from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from graphdiff.schedulers.beta_quantile import beta_quantile, regularized_beta
from graphdiff.schedulers.betas import alphas_cumprod, sigma_table
from graphdiff.schedulers.float32 import f32, linspace, linspace32
from graphdiff.schedulers.lms import LMS
from graphdiff.schedulers.sigmas import beta_sigmas, interpolated, karras_sigmas, timestep_of
from graphdiff.schedulers.spacing import spaced, spaced_above_zero
from tests.schedulers.oracle import IGNORED, reference

pytestmark = [pytest.mark.filterwarnings(each) for each in IGNORED]


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_tables_are_those_of_torch_to_the_last_bits(schedule: str, zero_snr: bool) -> None:
    theirs = reference("DDPMScheduler", beta_schedule=schedule, rescale_betas_zero_snr=zero_snr)
    ours = alphas_cumprod(1000, 0.0001, 0.02, schedule, zero_snr=zero_snr)
    expected = theirs.alphas_cumprod.double().numpy()
    assert np.allclose(ours, expected, rtol=5e-7, atol=1e-12)
    if schedule in ("linear", "scaled_linear", "squaredcos_cap_v2") and not zero_snr:
        assert list(ours) == expected.tolist()


def test_a_table_without_signal_at_its_end_can_be_divided_by() -> None:
    arguments = (1000, 0.00085, 0.012, "scaled_linear")
    assert alphas_cumprod(*arguments, zero_snr=True)[-1] == 0
    table = alphas_cumprod(*arguments, zero_snr=True, divisible=True)
    assert sigma_table(table)[-1] == pytest.approx(4096, rel=1e-6)


def test_single_precision_is_rounded_to_nearest() -> None:
    for value in (0.1, 1 / 3, 1e-40, 3.4e38, -2.5):
        assert f32(value) == float(np.float32(value))
    assert f32(1e39) == math.inf
    assert f32(-1e39) == -math.inf


@pytest.mark.parametrize(("low", "high"), [(0.0001, 0.02), (0.03, 0.11), (-6.0, 6.0)])
def test_even_spacing_is_torchs_and_numpys_bit_for_bit(low: float, high: float) -> None:
    for count in (1, 2, 7, 1000):
        single = torch.linspace(low, high, count, dtype=torch.float32).tolist()
        assert linspace32(low, high, count) == single
        assert linspace(low, high, count) == np.linspace(low, high, count).tolist()


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (2.0, 5.0), (0.8, 3.0), (1.0, 1.0)])
def test_beta_quantiles_are_scipys(a: float, b: float) -> None:
    for share in (0.0, 1e-9, 1e-3, 0.1, 0.37, 0.5, 0.9, 0.999999, 1.0):
        expected = scipy.stats.beta.ppf(share, a, b)
        assert beta_quantile(share, a, b) == pytest.approx(expected, rel=1e-9, abs=1e-15)
        if 0 < expected < 1:
            assert regularized_beta(expected, a, b) == pytest.approx(share, rel=1e-9)


def test_spread_levels_fall_from_the_highest_to_the_lowest() -> None:
    for levels in (karras_sigmas(9, 0.03, 14.6), beta_sigmas(9, 0.03, 14.6)):
        assert levels == sorted(levels, reverse=True)
        assert levels[0] == pytest.approx(14.6)
        assert levels[-1] == pytest.approx(0.03)


def test_the_timestep_of_a_level_undoes_the_level_of_a_timestep() -> None:
    table = sigma_table(alphas_cumprod(1000, 0.00085, 0.012, "scaled_linear"))
    logs = [math.log(sigma) for sigma in table]
    for t in (0, 1, 17, 500, 998, 999):
        (level,) = interpolated([t], table)
        assert timestep_of(level, logs) == pytest.approx(t, abs=1e-6)
    assert timestep_of(1e6, logs) == 999
    assert timestep_of(0.0, logs) == 0


def test_a_last_level_below_those_before_it_is_the_last_timestep() -> None:
    logs = [0.0, 1.0, 3.0, 2.0]  # as where the terminal's signal is set to the least there is
    assert timestep_of(math.exp(2.0), logs) == 3
    assert timestep_of(math.exp(1.5), logs) == 1.25


@pytest.mark.parametrize("steps", [1, 3, 7, 13, 50, 999, 1000])
def test_spacings_are_numpys(steps: int) -> None:
    ratio = 1000 // steps
    assert spaced(steps, 1000, "linspace") == np.linspace(0, 999, steps)[::-1].tolist()
    leading = (np.arange(steps) * ratio)[::-1] + 1
    assert spaced(steps, 1000, "leading", 1) == leading.tolist()
    trailing = np.round(np.arange(1000, 0, -1000 / steps)) - 1
    assert spaced(steps, 1000, "trailing") == trailing.tolist()
    if steps < 1000:
        upper = np.linspace(0, 999, steps + 1).round()[::-1][:-1]
        assert spaced_above_zero(steps, 1000, "linspace") == upper.tolist()


def test_a_number_of_steps_that_the_table_cannot_give_is_refused() -> None:
    for steps in (0, 1001):
        with pytest.raises(ValueError, match="ask for 1 to 1000"):
            spaced(steps, 1000, "linspace")


def test_lms_coefficients_integrate_polynomials_exactly() -> None:
    rule = LMS()
    schedule = rule.schedule(8)
    sigmas = [step.noise for step in schedule]
    step = schedule[5]
    for power in range(4):  # order 4 is exact for cubics
        slopes = [sigmas[5 - k] ** power for k in range(4)]
        got = sum(c * slope for c, slope in zip(step.coefficients, slopes, strict=True))
        whole = (step.noise_next ** (power + 1) - step.noise ** (power + 1)) / (power + 1)
        assert got == pytest.approx(whole, rel=1e-9)

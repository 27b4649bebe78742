"""How noise levels are spread between the highest and the lowest."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from graphdiff.schedulers.beta_quantile import beta_quantile
from graphdiff.schedulers.float32 import linspace, linspace32

Spread = Literal["karras", "exponential", "beta"]

_RHO = 7.0
_BETA_SHAPE = 0.6


def spread_sigmas(spread: Spread, steps: int, low: float, high: float) -> list[float]:
    """Give `steps` noise levels from `high` down to `low`, in the spread's way."""
    match spread:
        case "karras":
            return karras_sigmas(steps, low, high)
        case "exponential":
            return exponential_sigmas(steps, low, high)
        case "beta":
            return beta_sigmas(steps, low, high)


def karras_sigmas(steps: int, low: float, high: float, rho: float = _RHO) -> list[float]:
    """Space levels evenly in sigma^(1/rho). Karras et al. 2022, arXiv:2206.00364, equation 5."""
    first, last = high ** (1 / rho), low ** (1 / rho)
    return [(first + ramp * (last - first)) ** rho for ramp in linspace(0, 1, steps)]


def exponential_sigmas(steps: int, low: float, high: float) -> list[float]:
    """Space levels evenly in log(sigma)."""
    return [math.exp(log) for log in linspace(math.log(high), math.log(low), steps)]


def beta_sigmas(steps: int, low: float, high: float) -> list[float]:
    """Space levels by a beta distribution's quantiles. Lee et al. 2024, arXiv:2407.12173."""
    shares = [beta_quantile(1 - ramp, _BETA_SHAPE, _BETA_SHAPE) for ramp in linspace(0, 1, steps)]
    return [low + share * (high - low) for share in shares]


def lu_sigmas(steps: int, log_low: float, log_high: float) -> list[float]:
    """Space levels evenly in the log of the signal-to-noise ratio. arXiv:2206.00927."""
    ramp = linspace(0, 1, steps)
    return [math.exp(log_high + share * (log_low - log_high)) for share in ramp]


def log_linear_sigmas(steps: int, low: float, high: float) -> list[float]:
    """Space levels evenly in log(sigma), the lowest being one step beyond the last."""
    return [math.exp(log) for log in linspace32(math.log(high), math.log(low), steps + 1)]


def interpolated(timesteps: Sequence[float], table: Sequence[float]) -> list[float]:
    """Look timesteps up in a table of training timesteps, linearly in between."""
    last = len(table) - 1
    levels = list[float]()
    for t in timesteps:
        below = min(max(math.floor(t), 0), last - 1)
        share = min(max(t - below, 0.0), 1.0)
        levels.append(table[below] + (table[below + 1] - table[below]) * share)
    return levels


def timestep_of(sigma: float, log_table: Sequence[float]) -> float:
    """Give the timestep of a noise level, between those of the table by its logarithm.

    The table rises, but for its last entry, which may be lower where the terminal has no signal.
    """
    log = math.log(max(sigma, 1e-10))
    top = len(log_table) - 1
    beyond = log >= log_table[top]
    below = top - 1 if beyond else min(max(bisect_right(log_table, log, hi=top) - 1, 0), top - 1)
    low, high = log_table[below], log_table[below + 1]
    share = min(max((low - log) / (low - high), 0.0), 1.0)
    return (1 - share) * below + share * (below + 1)


def shifted(sigma: float, shift: float) -> float:
    """Move a flow's noise level towards noise. Esser et al. 2024, arXiv:2403.03206, equation 23."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def stretched(sigmas: Sequence[float], terminal: float) -> list[float]:
    """Stretch a flow's noise levels so that the last one is `terminal`."""
    factor = (1 - sigmas[-1]) / (1 - terminal)
    return [1 - (1 - sigma) / factor for sigma in sigmas]

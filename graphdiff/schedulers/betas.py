"""The noise that a model was trained with: tables of betas and of what is left of the signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from graphdiff.schedulers.float32 import f32, linspace32, rounded

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"]

_TINY = 2.0**-24  # what stands for a signal of zero where one must divide by it
_MAX_BETA = 0.999


@lru_cache(maxsize=64)
def alphas_cumprod(
    count: int,
    start: float,
    end: float,
    schedule: BetaSchedule,
    trained: tuple[float, ...] | None = None,
    *,
    zero_snr: bool = False,
    divisible: bool = False,
) -> tuple[float, ...]:
    """Give the share of the signal's variance that is left at each training timestep.

    Every value is a single precision number, rounded where torch rounds.

    Args:
        count: The number of training timesteps.
        start: The first beta.
        end: The last beta.
        schedule: How betas grow in between.
        trained: Betas that replace all this.
        zero_snr: Whether the last timestep is rescaled to hold no signal. Lin et al. 2023,
            arXiv:2305.08891, algorithm 1.
        divisible: Whether that zero is replaced by a tiny number.
    """
    betas = rounded(trained) if trained is not None else _betas(count, start, end, schedule)
    if zero_snr:
        betas = _without_signal_at_the_end(betas)
    products = _products([f32(1 - beta) for beta in betas])
    if zero_snr and divisible:
        products[-1] = _TINY
    return tuple(products)


@lru_cache(maxsize=64)
def sigma_table(alphas: tuple[float, ...]) -> tuple[float, ...]:
    """Give the noise level of each training timestep, in units of the signal; ascending."""
    return tuple(
        f32(math.sqrt(f32(f32(1 - alpha) / alpha))) if alpha else math.inf for alpha in alphas
    )


@lru_cache(maxsize=64)
def log_sigma_table(alphas: tuple[float, ...]) -> tuple[float, ...]:
    """Give the natural logarithm of each level of `sigma_table`."""
    return tuple(f32(math.log(sigma)) for sigma in sigma_table(alphas))


def beta_table(alphas: tuple[float, ...]) -> tuple[float, ...]:
    """Give the beta of each training timestep from what is left of the signal."""
    return tuple(1 - after / before for before, after in pairwise((1.0, *alphas)))


def _betas(count: int, start: float, end: float, schedule: BetaSchedule) -> list[float]:
    match schedule:
        case "linear":
            return linspace32(start, end, count)
        case "scaled_linear":
            return [f32(root * root) for root in linspace32(start**0.5, end**0.5, count)]
        case "sigmoid":
            levels = [f32(1 / (1 + math.exp(-x))) for x in linspace32(-6, 6, count)]
            return [f32(f32(level * f32(end - start)) + f32(start)) for level in levels]
        case "squaredcos_cap_v2":
            return _betas_of(lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2, count)
        case "exp":
            return _betas_of(lambda t: math.exp(-12.0 * t), count)
        case "laplace":
            return _betas_of(_laplace, count)


def _laplace(t: float) -> float:
    log_snr = -0.5 * math.copysign(1, 0.5 - t) * math.log(1 - 2 * math.fabs(0.5 - t) + 1e-6)
    snr = math.exp(log_snr)
    return math.sqrt(snr / (1 + snr))


def _betas_of(signal: Callable[[float], float], count: int) -> list[float]:
    levels = [signal(i / count) for i in range(count + 1)]
    return [f32(min(1 - after / before, _MAX_BETA)) for before, after in pairwise(levels)]


def _products(alphas: Sequence[float]) -> list[float]:
    product, products = 1.0, list[float]()
    for alpha in alphas:
        product *= alpha
        products.append(f32(product))
    return products


def _without_signal_at_the_end(betas: list[float]) -> list[float]:
    roots = [f32(math.sqrt(product)) for product in _products([f32(1 - beta) for beta in betas])]
    first, last = roots[0], roots[-1]
    stretch = f32(first / f32(first - last))
    levels = [f32(f32(f32(root - last) * stretch) ** 2) for root in roots]
    alphas = [levels[0], *(f32(after / before) for before, after in pairwise(levels))]
    return [f32(1 - alpha) for alpha in alphas]

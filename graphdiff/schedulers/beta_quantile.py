"""The inverse of the regularised incomplete beta function, without scipy."""

from __future__ import annotations

import math

_TERMS = 300
_EXACT = 1e-16


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Give x such that a beta-distributed number is below it with the given probability.

    Args:
        probability: From 0 to 1.
        a: The distribution's first shape parameter, above 0.
        b: The second.
    """
    if probability <= 0 or probability >= 1:
        return float(probability >= 1)
    low, high = 0.0, 1.0
    x = 0.5
    for _ in range(200):  # Newton's steps, halving where they leave the bracket
        excess = regularized_beta(x, a, b) - probability
        low, high = (low, x) if excess > 0 else (x, high)
        slope = math.exp((a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - _log_beta(a, b))
        following = x - excess / slope
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - x) <= _EXACT * x:
            break
        x = following
    return x


def regularized_beta(x: float, a: float, b: float) -> float:
    """Give the probability that a beta-distributed number is below x, for 0 < x < 1.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22, by Lentz's method.
    """
    if x > (a + 1) / (a + b + 2):  # where the fraction converges fast
        return 1 - regularized_beta(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / (1 + even * d), 1 + even / c
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / (1 + odd * d), 1 + odd / c
        fraction *= c * d
        if abs(c * d - 1) < _EXACT:
            break
    return front * fraction


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

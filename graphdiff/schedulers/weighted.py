"""The arithmetic of steps: sums of tensors, each times a number, one pass over memory for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


_MOST = 65504.0
"""The largest factor that torch's fused addition takes in half precision."""


def combined(*terms: tuple[float, Tensor]) -> Tensor:
    """Add tensors up, each times its factor."""
    (factor, first), *others = terms
    total = first if factor == 1 else first * factor
    for factor, term in others:
        if -_MOST <= factor <= _MOST:
            total = total.add(term, alpha=factor)
        else:
            total = total + term * factor
    return total


def difference(tensor: Tensor, other: Tensor, share: float, divisor: float) -> Tensor:
    """Give `(tensor - share * other) / divisor`, which is not finite where the divisor is 0."""
    left = tensor.add(other, alpha=-share)
    if divisor == 1:
        return left
    return left * (1 / divisor) if divisor else left / divisor

"""Noise that is an increment of a Brownian path, the same however finely the path is cut."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_DIGITS = 6
"""Decimals that levels are rounded to, so that halving comes to an end."""

_POOL = 24
"""Words of entropy that seeds are mixed in."""

_KEPT = 64
"""Draws that are remembered: those on the way to two levels."""


class _Part(NamedTuple):
    """A part of a path that repeated halving leads to.

    Attributes:
        start: The noise level where it starts.
        end: The level where it ends.
        depth: How often the path was halved.
        place: How many parts of this depth lie before it.
    """

    start: float
    end: float
    depth: int = 0
    place: int = 0

    def halves(self) -> tuple[_Part, _Part]:
        """Both halves; where they meet is rounded."""
        middle, depth, place = self.middle, self.depth + 1, 2 * self.place
        return (
            _Part(self.start, middle, depth, place),
            _Part(middle, self.end, depth, place + 1),
        )

    @property
    def middle(self) -> float:
        """The level where its halves meet."""
        return round(0.5 * (self.start + self.end), _DIGITS)


@dataclass(frozen=True, slots=True)
class _Path:
    """A path, or several of one span, each for a picture of a batch.

    What happens on a part is drawn for that part alone, so that a path has no history: it is
    halved until a level is reached, and what a half has of its whole's increment is drawn by a
    generator of its own.

    Attributes:
        seeds: One seed for the whole batch, or one for each picture.
        shape: The shape of an increment, of the whole batch in any case.
        dtype: What it is drawn in.
    """

    seeds: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype

    def increment(self, span: tuple[float, float], low: float, high: float) -> Tensor:
        """The path's increment from one level to another, both within its span; on the CPU."""
        import torch

        whole = drawn(self, None, 0) * math.sqrt(span[1] - span[0])
        root = _Part(round(span[0], _DIGITS), round(span[1], _DIGITS))
        low = round(min(max(low, root.start), root.end), _DIGITS)
        high = round(min(max(high, root.start), root.end), _DIGITS)
        total: Tensor | None = None
        for increment in self._covering(root, whole, low, high):
            total = increment if total is None else total + increment
        return torch.zeros_like(whole) if total is None else total

    def _covering(self, part: _Part, whole: Tensor, low: float, high: float) -> Iterator[Tensor]:
        """The increments of the largest parts that low..high is made of, in their order.

        Args:
            part: A part that has some of them in it.
            whole: Its own increment.
            low: Where they start.
            high: Where they end.
        """
        if part.end <= low or high <= part.start:
            return
        if low <= part.start and part.end <= high:
            yield whole
            return
        length, (left, right) = part.end - part.start, part.halves()
        before, after = left.end - left.start, right.end - right.start
        spread = math.sqrt(before * after * (1 / length))
        first = (whole * before).mul_(1 / length)
        first.add_(drawn(self, part.place, part.depth) * spread)
        yield from self._covering(left, first, low, high)
        if right.start < high:
            yield from self._covering(right, whole - first, low, high)


@lru_cache(_KEPT)
def drawn(path: _Path, place: int | None, depth: int) -> Tensor:
    """Standard normal numbers of a part; without a place, those of the whole path.

    They are drawn on the CPU, so that a seed means the same path wherever the sample is.

    A step starts where another ended, so that half of what it needs was drawn just before.
    """
    import torch
    from numpy.random import SeedSequence

    key = () if place is None else (place, depth)
    rows = path.shape if len(path.seeds) == 1 else path.shape[1:]
    each: list[Tensor] = []
    for seed in path.seeds:
        state = SeedSequence(seed, spawn_key=key, pool_size=_POOL).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        each.append(torch.randn(rows, dtype=path.dtype, generator=generator))
    return each[0] if len(path.seeds) == 1 else torch.stack(each)


def brownian_noise(
    seeds: tuple[int, ...],
    like: Tensor,
    span: tuple[float, float],
    ends: tuple[float, float],
    halves: tuple[bool, bool],
) -> Tensor:
    """Give a path's increment over a part of a step, scaled to unit variance.

    It depends on its arguments alone: a path is made of its seed. Li et al. 2020,
    arXiv:2001.01328, section 4; the same numbers as the package torchsde gives, and so diffusers.

    Args:
        seeds: One seed for the whole batch, or one for each picture.
        like: A tensor with the shape, dtype and device that the noise should have.
        span: The lowest and the highest noise level of the path.
        ends: The noise levels that the step starts from and leads to.
        halves: Whether the part starts, and whether it ends, in the middle of the step by the
            logarithm.
    """
    import torch

    # Levels are rounded as diffusers rounds them: on a path, which is rough, a last bit shows.
    times = [-torch.tensor(end, dtype=torch.float32).log() for end in ends]
    middle = times[0] + (times[1] - times[0]) * 0.5
    begin, end = (
        (-(middle if half else time)).exp() for half, time in zip(halves, times, strict=True)
    )
    low, high = sorted((float(begin), float(end)))
    lowest, highest = (float(torch.tensor(end, dtype=torch.float32)) for end in span)
    path = _Path(seeds, tuple(like.shape), like.dtype)
    increment = path.increment((lowest, highest), low, high)
    unit = increment * (1 if begin < end else -1) / (end - begin).abs().sqrt()
    return unit.to(like.device, non_blocking=True)

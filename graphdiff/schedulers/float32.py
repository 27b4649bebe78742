"""Single precision on Python floats, for where diffusers' float32 tables decide a timestep."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

_SINGLE = Struct("f")


def f32(value: float) -> float:
    """Round to the nearest single precision number; what is too large becomes an infinity."""
    try:
        single: float = _SINGLE.unpack(_SINGLE.pack(value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return single


def rounded(values: Iterable[float]) -> list[float]:
    """Round each value to single precision."""
    return [f32(value) for value in values]


def linspace(start: float, stop: float, count: int) -> list[float]:
    """Space numbers evenly in double precision, both ends included; one is the start."""
    if count == 1:
        return [start]
    stride = (stop - start) / (count - 1)
    return [start + stride * i for i in range(count - 1)] + [stop]


def linspace32(start: float, stop: float, count: int) -> list[float]:
    """Space numbers evenly in single precision, counting from the nearer end as torch does."""
    if count == 1:
        return [f32(start)]
    start, stop = f32(start), f32(stop)
    stride = f32(f32(stop - start) / f32(count - 1))
    half = count // 2
    rising = [f32(start + stride * i) for i in range(half)]
    return rising + [f32(stop - stride * (count - 1 - i)) for i in range(half, count)]

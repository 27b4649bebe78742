"""Noise that is an increment of a Brownian path, the same however finely the path is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 1e-6
_DIGITS = 6
_POOL = 24


def brownian_noise(
    seeds: tuple[int, ...],
    like: Tensor,
    span: tuple[float, float],
    ends: tuple[float, float],
    halves: tuple[bool, bool],
) -> Tensor:
    """Give a path's increment over a part of a step, scaled to unit variance.

    A path is made anew from its seed for each increment, so that nothing outlives the call. Li et
    al. 2020, arXiv:2001.01328, section 4.

    Args:
        seeds: One seed for the whole batch, or one for each picture.
        like: A tensor with the shape, dtype and device that the noise should have.
        span: The lowest and the highest noise level of the path.
        ends: The noise levels that the step starts from and leads to.
        halves: Whether the part starts, and whether it ends, in the middle of the step by the
            logarithm.
    """
    import torch
    import torchsde  # pyright: ignore[reportMissingTypeStubs]

    # Levels are rounded as diffusers rounds them: on a path, which is rough, a last bit shows.
    times = [-torch.tensor(end, dtype=torch.float32).log() for end in ends]
    middle = times[0] + (times[1] - times[0]) * 0.5
    begin, end = (
        (-(middle if half else time)).exp() for half, time in zip(halves, times, strict=True)
    )
    low, high = sorted((float(begin), float(end)))
    first, last = (round(level, _DIGITS) for level in span)  # as the path rounds its own ends
    rows = like.shape if len(seeds) == 1 else like.shape[1:]
    increments = [
        cast(
            "Tensor",
            torchsde.BrownianInterval(
                t0=torch.tensor(span[0]),
                t1=torch.tensor(span[1]),
                size=rows,
                dtype=like.dtype,
                device=like.device,
                entropy=seed,
                tol=_TOLERANCE,
                pool_size=_POOL,
                halfway_tree=True,
            )(min(max(low, first), last), min(max(high, first), last)),
        )
        for seed in seeds
    ]
    noise = increments[0] if len(seeds) == 1 else torch.stack(increments)
    return noise * (1 if begin < end else -1) / (end - begin).abs().sqrt()

"""A Brownian path has the increments that torchsde gives it, whatever was asked before."""

from __future__ import annotations

from itertools import pairwise
from threading import Thread
from typing import Any

import pytest
import torch
import torchsde  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from graphdiff.schedulers.brownian import brownian_noise, drawn

SPAN = (0.029, 14.615)
LEVELS = (14.615, 9.3, 9.1, 2.5, 0.51, 0.029)


def noise(seeds: tuple[int, ...], like: Tensor, begin: float, end: float) -> Tensor:
    return brownian_noise(seeds, like, SPAN, (begin, end), (False, False))


def reference(seed: int, size: tuple[int, ...], like: Tensor) -> Any:
    low, high = torch.tensor(SPAN)
    return torchsde.BrownianInterval(
        t0=low,
        t1=high,
        size=size,
        dtype=like.dtype,
        device=like.device,
        entropy=seed,
        tol=1e-6,
        pool_size=24,
        halfway_tree=True,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("seeds", [(5,), (3, 2**62 + 1)])
def test_increments_are_those_of_torchsde_bit_by_bit(
    seeds: tuple[int, ...], dtype: torch.dtype
) -> None:
    like = torch.zeros(2, 3, 4, dtype=dtype)
    rows = like.shape if len(seeds) == 1 else like.shape[1:]
    paths = [reference(seed, tuple(rows), like) for seed in seeds]
    levels = (-torch.tensor(LEVELS).log()).neg().exp()  # rounded as noise rounds them
    first, last = (round(float(torch.tensor(end)), 6) for end in SPAN)
    for (begin, end), (high, low) in zip(pairwise(LEVELS), pairwise(levels), strict=True):
        increments: list[Tensor] = [
            path(max(float(low), first), min(float(high), last)) for path in paths
        ]
        whole = increments[0] if len(seeds) == 1 else torch.stack(increments)
        wanted = -whole / (low - high).abs().sqrt()
        assert torch.equal(noise(seeds, like, begin, end), wanted)


def test_an_increment_is_the_same_whatever_was_asked_before() -> None:
    like = torch.zeros(1, 4, 2, 2)
    fresh: list[Tensor] = []
    for begin, end in pairwise(LEVELS):
        drawn.cache_clear()
        fresh.append(noise((7,), like, begin, end))
    again = [noise((7,), like, begin, end) for begin, end in pairwise(LEVELS)]
    backwards = [-noise((7,), like, begin, end) for begin, end in pairwise(LEVELS[::-1])][::-1]
    for one, other, third in zip(fresh, again, backwards, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_what_is_given_may_be_changed_without_changing_the_path() -> None:
    like = torch.zeros(1, 4, 2, 2)
    for begin, end in ((SPAN[1], SPAN[0]), (9.3, 2.5)):
        first = noise((7,), like, begin, end)
        kept = first.clone()
        first.zero_()
        assert torch.equal(noise((7,), like, begin, end), kept)


def test_a_part_of_a_path_and_the_rest_add_up_to_the_whole() -> None:
    like = torch.zeros(1, 4, 8, 8, dtype=torch.float64)
    parts = sum(
        noise((7,), like, begin, end) * (begin - end) ** 0.5 for begin, end in pairwise(LEVELS)
    )
    whole = noise((7,), like, LEVELS[0], LEVELS[-1]) * (LEVELS[0] - LEVELS[-1]) ** 0.5
    assert torch.allclose(torch.as_tensor(parts), whole, atol=1e-5)


def test_a_path_way_back_has_the_opposite_sign() -> None:
    like = torch.zeros(1, 4, 2, 2)
    assert torch.equal(noise((7,), like, 9.3, 2.5), -noise((7,), like, 2.5, 9.3))


def test_a_path_rests_beyond_its_ends() -> None:
    assert not noise((7,), torch.zeros(1, 4, 2, 2), 0.02, 0.01).any()
    assert not noise((7,), torch.zeros(1, 4, 2, 2), 30.0, 20.0).any()


def test_noise_has_unit_variance_and_pictures_have_paths_of_their_own() -> None:
    like = torch.zeros(2, 4, 32, 32)
    both = noise((7, 8), like, 9.3, 9.1)
    assert both.std() == pytest.approx(1, abs=0.03)
    assert (both[0] * both[1]).mean() == pytest.approx(0, abs=0.05)
    assert torch.equal(both[1:], noise((8,), like[:1], 9.3, 9.1))


def test_a_step_draws_less_where_another_ended_and_little_is_remembered() -> None:
    like = torch.zeros(1, 4, 2, 2)
    drawn.cache_clear()
    noise((7,), like, 9.3, 9.1)
    first = drawn.cache_info().misses
    noise((7,), like, 9.1, 8.9)
    told = drawn.cache_info()
    assert told.misses - first < 0.7 * first
    for begin, end in pairwise(LEVELS):
        noise((7,), like, begin, end)
    assert drawn.cache_info().currsize <= 64


def test_threads_draw_the_same() -> None:
    like = torch.zeros(1, 4, 8, 8)
    drawn.cache_clear()
    found: list[Tensor] = []
    threads = [Thread(target=lambda: found.append(noise((7,), like, 9.3, 2.5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(torch.equal(found[0], one) for one in found)

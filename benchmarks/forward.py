"""One pass of a UNet, and of a decoder, against diffusers' eager float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.models import Pair, bundled_unet, bundled_vae, stable_diffusion_unet
from benchmarks.rounds import Row, cpu_seconds, interleaved
from graphdiff.models.compiled import compiled

_COMPILED = ("bundled UNet, batch 2", "SD 1.5 UNet, whole width, 32x32, batch 2")
"""Minutes each, less when the cache folder knows it."""

Make = Callable[[torch.dtype], Pair]


@torch.no_grad()
def measure(rounds: int, full: bool) -> list[Row]:
    """The bundled model in float32 and bfloat16, and Stable Diffusion 1.5's shape.

    The latter at half its width unless `full`, on latents of half the side in any case.
    """
    torch.set_num_threads(1)
    rows: list[Row] = []
    cases: list[tuple[str, Make, float, float]] = [
        ("bundled UNet, batch 2", partial(bundled_unet, batch=2), 1.2, 1.3),
        ("bundled UNet, batch 1", partial(bundled_unet, batch=1), 1.2, 1.3),
        ("bundled VAE decoder", bundled_vae, 1.0, 1.3),
    ]
    width, wide = (1.0, "whole") if full else (0.5, "half")
    for batch in (2, 1):
        case = f"SD 1.5 UNet, {wide} width, 32x32, batch {batch}"
        made = partial(stable_diffusion_unet, batch=batch, side=32, width=width)
        cases.append((case, made, 1.05, 1.3))
    for case, make, *goals in cases:
        rows += _eager(case, make, rounds, *goals)
        if case in _COMPILED:
            for dtype, at_least in ((torch.float32, 1.18), (torch.bfloat16, 1.7)):
                rows.append(_compiled(case, make, dtype, rounds, at_least))
    return rows


def _eager(case: str, make: Make, rounds: int, at_least: float, at_least_half: float) -> list[Row]:
    whole, half = make(torch.float32), make(torch.bfloat16)
    calls = {
        "packed": _call(whole.ours, whole),
        "plain": _call(whole.plain, whole),
        "bfloat16": _call(half.ours, half),
        "diffusers": _call(whole.theirs, whole),
        "diffusers bfloat16": _call(half.theirs, half),
    }
    found = interleaved(calls, rounds, repeat=_repeat(case))
    return [
        found.row("forward", f"{case}, f32", "packed", "diffusers", at_least=at_least),
        found.row("forward", f"{case}, f32, not packed", "plain", "diffusers"),
        found.row(
            "forward", f"{case}, bf16 / f32", "bfloat16", "diffusers", at_least=at_least_half
        ),
        found.row("forward", f"{case}, bf16 / bf16", "bfloat16", "diffusers bfloat16"),
    ]


def _compiled(case: str, make: Make, dtype: torch.dtype, rounds: int, at_least: float) -> Row:
    """One dtype at a time, since what is compiled holds its weights twice."""
    theirs = make(torch.float32)
    ours = theirs if dtype == torch.float32 else make(dtype)
    call = _call(compiled(ours.plain), ours)
    spent = -cpu_seconds()
    call()
    spent += cpu_seconds()
    found = interleaved(
        {"ours": call, "diffusers": _call(theirs.theirs, theirs)}, rounds, repeat=_repeat(case)
    )
    return found.row(
        "forward",
        f"{case}, {'f32' if dtype == torch.float32 else 'bf16'} compiled / f32",
        "ours",
        "diffusers",
        at_least=at_least,
        note=f"{spent:.0f} s of CPU before the first",
    )


def _repeat(case: str) -> int:
    return 3 if "bundled" in case else 1


def _call(model: nn.Module, pair: Pair) -> Callable[[], object]:
    apply: Callable[..., object] = getattr(model, "decode", model)
    return lambda: apply(*pair.inputs)

"""One pass of a UNet, and of a decoder, against diffusers' eager float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.models import Pair, bundled_unet, bundled_vae, stable_diffusion_unet
from benchmarks.rounds import Row, cpu_seconds, interleaved
from graphdiff.models.compiled import compiled

COMPILED = ("bundled UNet, batch 2",)  # a minute each, less when the cache folder knows it


@torch.no_grad()
def measure(rounds: int, full: bool) -> list[Row]:
    """The bundled model in float32 and bfloat16, and Stable Diffusion 1.5's shape.

    The latter at half its width unless `full`, on latents of half the side in any case.
    """
    torch.set_num_threads(1)
    rows: list[Row] = []
    warm_up: dict[str, float] = {}
    cases: list[tuple[str, Callable[[torch.dtype], Pair], float, float]] = [
        ("bundled UNet, batch 2", partial(bundled_unet, batch=2), 1.2, 1.3),
        ("bundled UNet, batch 1", partial(bundled_unet, batch=1), 1.2, 1.3),
        ("bundled VAE decoder", bundled_vae, 1.0, 1.3),
    ]
    width, wide = (1.0, "whole") if full else (0.5, "half")
    for batch in (2, 1):
        case = f"SD 1.5 UNet, {wide} width, 32x32, batch {batch}"
        made = partial(stable_diffusion_unet, batch=batch, side=32, width=width)
        cases.append((case, made, 1.05, 1.3))
    for case, make, at_least, at_least_half in cases:
        whole, half = make(torch.float32), make(torch.bfloat16)
        calls = {
            "packed": _call(whole.ours, whole),
            "plain": _call(whole.plain, whole),
            "bfloat16": _call(half.ours, half),
            "diffusers": _call(whole.theirs, whole),
            "diffusers bfloat16": _call(half.theirs, half),
        }
        repeat = 3 if "bundled" in case else 1
        if case in COMPILED:
            for name, pair in (("compiled", whole), ("compiled bfloat16", half)):
                spent = -cpu_seconds()
                model = compiled(pair.plain)
                calls[name] = _call(model, pair)
                calls[name]()
                warm_up[name] = spent + cpu_seconds()
        found = interleaved(calls, rounds, repeat=repeat)
        rows += [
            found.row("forward", f"{case}, f32", "packed", "diffusers", at_least=at_least),
            found.row("forward", f"{case}, f32, not packed", "plain", "diffusers"),
            found.row(
                "forward", f"{case}, bf16 / f32", "bfloat16", "diffusers", at_least=at_least_half
            ),
            found.row("forward", f"{case}, bf16 / bf16", "bfloat16", "diffusers bfloat16"),
        ]
        if case in COMPILED:
            rows += [
                found.row(
                    "forward",
                    f"{case}, {said} compiled / f32",
                    name,
                    "diffusers",
                    at_least=goal,
                    note=f"{warm_up[name]:.0f} s of CPU before the first",
                )
                for name, said, goal in (
                    ("compiled", "f32", 1.18),
                    ("compiled bfloat16", "bf16", 1.7),
                )
            ]
    return rows


def _call(model: nn.Module, pair: Pair) -> Callable[[], object]:
    apply: Callable[..., object] = getattr(model, "decode", model)
    return lambda: apply(*pair.inputs)

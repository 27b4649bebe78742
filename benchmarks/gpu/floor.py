"""The least time that a picture can take: its arithmetic, at the rate that matrices reach here."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.checkpoint import without_memory
from benchmarks.gpu.device import Device
from benchmarks.gpu.families import Family

_TOKENS = 77
_ROUNDS, _REPEATS = 7, 10


@dataclass(frozen=True)
class Work:
    """The floating point operations of a family, two for a product and a sum.

    Args:
        step: Of one row of one pass of the UNet.
        decode: Of one picture decoded.
    """

    step: float
    decode: float

    def picture(self, steps: int) -> float:
        """Those of one picture, guided: two rows a step."""
        return 2 * steps * self.step + self.decode


@torch.no_grad()
def work(family: Family) -> Work:
    """Count what a family computes; nothing is computed."""
    unet, vae = without_memory(family.parts["unet"]), without_memory(family.parts["vae"])
    config, side = family.parts["unet"], family.side
    with torch.device("meta"):
        sample = torch.empty(1, config.get("in_channels", 4), side, side)
        text = torch.empty(1, _TOKENS, config["cross_attention_dim"])
        added = None
        if family.is_xl:
            width = family.parts["text_encoder_2"]["projection_dim"]
            added = {"text_embeds": torch.empty(1, width), "time_ids": torch.empty(1, 6)}
        with FlopCounterMode(display=False) as step:
            unet(sample, torch.empty(1), text, added_cond_kwargs=added)
        with FlopCounterMode(display=False) as decode:
            vae.decode(sample)  # type: ignore[operator]
    return Work(step.get_total_flops(), decode.get_total_flops())


@torch.no_grad()
def matrix_rate(device: Device, dtype: torch.dtype, *, side: int = 8192) -> float:
    """Floating point operations a second of a large product of random matrices.

    Args:
        device: Where.
        dtype: Of the matrices.
        side: Their side.
    """
    a, b = (torch.randn(side, side, device=device.kind).to(dtype) for _ in range(2))
    seconds: list[float] = []
    for _ in range(_ROUNDS + 1):  # the first warms up
        device.synchronise()
        start = time.perf_counter()
        for _ in range(_REPEATS):
            torch.mm(a, b)
        device.synchronise()
        seconds.append((time.perf_counter() - start) / _REPEATS)
    return 2 * side**3 / statistics.median(seconds[1:])

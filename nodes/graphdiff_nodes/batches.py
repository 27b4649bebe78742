"""How many calls of a model pay as one: by what its maps take, in caches and in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphdiff.checkpoints.handles import DeviceKind, Dtype

_CACHED = 6 << 20
"""Bytes of the widest map of a batch up to which a processor gains by more rows: measured."""
_SHARE = 0.5
"""The share of the free memory that a batch may take."""
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_MEMORY_INFO = Path("/proc/meminfo")


def rows_that_pay(
    numbers: int, alive: int, *, dtype: Dtype, device: DeviceKind, least: int = 1
) -> int:
    """Give how many rows a batch of a model should have.

    On a processor small maps gain by company, since calls cost more than arithmetic; large ones
    push each other out of the caches, and lose. On an accelerator memory alone is the bound.

    Args:
        numbers: How many numbers the model's widest map has for one row.
        alive: How many such maps a row needs at the same time, at most.
        dtype: What the model computes in.
        device: Where.
        least: How many rows always pay, if there is memory for them.
    """
    size = numbers * _BYTES[dtype]
    pays = max(least, _CACHED // size) if device == "cpu" else sys.maxsize
    free = free_memory(device)
    return pays if free is None else max(1, min(pays, int(free * _SHARE) // (size * alive)))


def free_memory(device: DeviceKind) -> int | None:
    """Give how many bytes are free on a device; None where that cannot be told."""
    if device == "cpu":
        return _available(_MEMORY_INFO)
    if device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        # All of torch's statistics by their names would take longer than to launch a step.
        held: Any = torch.cuda.memory_stats_as_nested_dict()
        kept, used = (held[f"{kind}_bytes"]["all"]["current"] for kind in ("reserved", "allocated"))
        return int(free + kept - used)
    return None


def _available(info: Path) -> int | None:
    try:
        lines = info.read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux
        return None
    for line in lines:
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) << 10
    return None

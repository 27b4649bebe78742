"""The most memory that processes take on the device and on the host, with and without a bound."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.child import Reported
from benchmarks.gpu.first import child
from benchmarks.gpu.trial import Trial
from benchmarks.rounds import Row

_AT_MOST = {"sdxl": 0.85}


def measure(trial: Trial) -> Iterator[Row]:
    """Ours against diffusers; then ours within a budget of weights."""
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        theirs = child(trial, "diffusers", cache=cache)
        yield from _rows(trial, "graphdiff", child(trial, "graphdiff", cache=cache), theirs)
        if trial.deadline.left <= 0:
            return
        try:
            bounded = child(trial, "graphdiff", cache=cache, looks=True, budget=trial.budget)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"{error}\n")
            case = f"{trial.task.case}: within {_said(trial.budget)}"
            yield Row("memory", case, "MiB", 0.0, note="failed")
            return
        yield from _rows(trial, f"within {_said(trial.budget)}", bounded, theirs)
        yield from _held(trial, bounded)


def _rows(trial: Trial, name: str, ours: Reported, theirs: Reported) -> Iterator[Row]:
    most = _AT_MOST.get(trial.task.name)
    for what, mine, other in (
        ("tensors on the device", ours.peak, theirs.peak),
        ("kept for them by torch", ours.reserved, theirs.reserved),
        ("memory of the process", ours.host, theirs.host),
    ):
        ratio = other / mine
        yield Row(
            "memory",
            f"{trial.task.case}: {name}, {what}",
            "MiB",
            mine / 2**20,
            other / 2**20,
            ratio,
            ratio,
            ratio,
            ("ratio", ">=", 1 / most) if most and what.startswith("tensors") else None,
            f"{ours.third:.3g} s a picture, diffusers {theirs.third:.3g} s",
        )


def _held(trial: Trial, bounded: Reported) -> Iterator[Row]:
    """Whether the bound holds: by the pool's account, and by what torch has between calls."""
    budget = trial.budget / 2**20
    for what, held in (("as counted", bounded.counted), ("between calls", bounded.held)):
        yield Row(
            "memory",
            f"{trial.task.case}: weights within {_said(trial.budget)}, {what}",
            "MiB",
            held / 2**20,
            goal=("ours", "<=", budget if what == "as counted" else 1.02 * budget),
            note="" if what == "as counted" else "latents and texts with them",
        )


def _said(size: int) -> str:
    return f"{size / 1e9:g} GB"

"""The most memory that a process holds, and what loading takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.pipelines import command, diffusers_process, inputs
from benchmarks.rounds import Paired, Row, process

_STEPS = 4


def measure(rounds: int, full: bool) -> list[Row]:
    """Peak of a whole run by the command line, against the diffusers script."""
    peaks: dict[str, list[float]] = {"ours": [], "theirs": [], "torch": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(rounds):
            given = inputs(steps=_STEPS, scales=[5.0] * _STEPS)
            ours = command(given, cache=folder / f"cache{i}", folder=folder)
            torch = process(["-c", "import torch"], cache=folder / "unused", folder=folder)
            peaks["ours"].append(ours.peak)
            peaks["theirs"].append(diffusers_process(folder, _STEPS).peak)
            peaks["torch"].append(torch.peak)
    found = Paired(peaks)
    alone = found.median("torch") / 2**20
    return [
        found.row(
            "memory",
            "peak of the process",
            "ours",
            "theirs",
            unit="MiB",
            scale=2**-20,
            at_least=1 / 0.75,
            note=f"importing torch alone takes {alone:.0f}",
        )
    ]

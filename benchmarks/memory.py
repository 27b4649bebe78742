"""The most memory that a process holds, and what loading takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.models import save_unet
from benchmarks.pipelines import command, diffusers_process, inputs
from benchmarks.rounds import Paired, Row, process

_STEPS = 4
_IMPORTS = "import torch, graphdiff.models.unet_2d_condition"
_OURS = f"""
{_IMPORTS}
from graphdiff.checkpoints.open import open_unet
from graphdiff.checkpoints.pool import WeightsPool
WeightsPool(packs=True).module(open_unet("unet", dtype="float32", device="cpu"))
"""
_THEIRS = """
import torch, diffusers
diffusers.UNet2DConditionModel.from_pretrained("unet", torch_dtype=torch.float32)
"""


def measure(rounds: int, full: bool) -> list[Row]:
    """Peak of a whole run by the command line and of loading, against diffusers."""
    with tempfile.TemporaryDirectory() as name:
        return [_run(rounds, Path(name)), _load(rounds, Path(name), 1.0 if full else 0.5)]


def _run(rounds: int, folder: Path) -> Row:
    peaks: dict[str, list[float]] = {"ours": [], "theirs": [], "torch": []}
    for i in range(rounds):
        given = inputs(steps=_STEPS, scales=[5.0] * _STEPS)
        ours = command(given, cache=folder / f"cache{i}", folder=folder)
        torch = process(["-c", "import torch"], cache=folder / "unused", folder=folder)
        peaks["ours"].append(ours.peak)
        peaks["theirs"].append(diffusers_process(folder, _STEPS).peak)
        peaks["torch"].append(torch.peak)
    found = Paired(peaks)
    alone = found.median("torch") / 2**20
    return found.row(
        "memory",
        "peak of the process",
        "ours",
        "theirs",
        unit="MiB",
        scale=2**-20,
        at_least=1 / 0.75,
        note=f"importing torch alone takes {alone:.0f}",
    )


def _load(rounds: int, folder: Path, width: float) -> Row:
    """Reading a float16 file into a float32 UNet of Stable Diffusion 1.5's shape."""
    size = save_unet(folder / "unet", width=width)
    programs = {"ours": _OURS, "theirs": _THEIRS}
    empty = {"ours": _IMPORTS, "theirs": "import torch, diffusers; diffusers.UNet2DConditionModel"}
    peaks: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            alone = process(["-c", empty[name]], cache=folder / "cache", folder=folder).peak
            peak = process(["-c", program], cache=folder / "cache", folder=folder).peak
            peaks[name].append(peak - alone)
    return Paired(peaks).row(
        "memory",
        f"loading a UNet, f16 file to f32, {'whole' if width == 1 else 'half'} width",
        "ours",
        "theirs",
        unit="MiB",
        scale=2**-20,
        note=f"its weights take {size / 2**20:.0f}",
    )

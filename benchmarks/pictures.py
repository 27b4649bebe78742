"""A whole picture of the bundled model: in a process that is warm, and from a cold one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmarks.pipelines import (
    STEPS,
    WORKFLOW,
    command,
    diffusers_pipeline,
    diffusers_process,
    inputs,
)
from benchmarks.rounds import Paired, Row, interleaved


def measure(rounds: int, full: bool) -> list[Row]:
    """Warm runs in turns, then cold processes in turns; the pictures must be equal."""
    return [_warm(rounds), *_cold(rounds)]


def _warm(rounds: int) -> Row:
    import graphdiff

    torch.set_num_threads(1)
    theirs = diffusers_pipeline()
    with tempfile.TemporaryDirectory() as folder:
        session = graphdiff.Session(cache=None, output_dir=folder)
        found = interleaved(
            {"ours": lambda: session.run(WORKFLOW, inputs()), "theirs": theirs}, rounds
        )
        far = _difference(Path(folder) / "picture.png", theirs())
    return found.row(
        "pictures",
        f"warm, {STEPS} steps",
        "ours",
        "theirs",
        unit="s",
        scale=1,
        at_least=1.0,
        note=f"pictures differ by at most {far} of 255",
    )


def _cold(rounds: int) -> list[Row]:
    times: dict[str, list[float]] = {"ours": [], "theirs": [], "again": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(-1, rounds):  # the first fills the caches of bytecode and files
            cache = folder / f"cache{i}"
            spent = {
                "ours": command(inputs(), cache=cache, folder=folder),
                "theirs": diffusers_process(folder),
                "again": command(inputs(), cache=cache, folder=folder),
            }
            if i >= 0:
                for way, one in spent.items():
                    times[way].append(one.cpu)
    found = Paired(times)
    rows = [
        found.row(
            "pictures",
            f"cold process, {STEPS} steps",
            "ours",
            "theirs",
            unit="s CPU",
            scale=1,
            at_least=1 / 0.6,
        ),
        found.row("pictures", "the same command again", "again", "theirs", unit="s CPU", scale=1),
    ]
    return rows


def _difference(file: Path, theirs: object) -> int:
    """The largest difference of two pictures, in steps of 8 bits."""
    from PIL import Image, ImageChops

    assert isinstance(theirs, Image.Image)
    with Image.open(file) as ours:
        extremes = ImageChops.difference(ours.convert("RGB"), theirs.convert("RGB")).getextrema()
    return max(high for _, high in extremes)  # type: ignore[misc]

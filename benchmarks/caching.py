"""What the cache costs a run that finds nothing in it, as a share of the run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from benchmarks.gpu.checkpoint import written
from benchmarks.gpu.families import family
from benchmarks.models import BUNDLED
from benchmarks.rounds import ROOT, Row, interleaved

if TYPE_CHECKING:
    from torch import Tensor

_WORKFLOW = ROOT / "benchmarks" / "workflows" / "pictures.yaml"
_LONGEST = 0.5  # seconds that a pass is made to wait for, which is worth storing in any case


def measure(rounds: int, full: bool) -> list[Row]:
    """Stable Diffusion 1.5 on 32x32 latents if `full`, else the bundled model, in float32.

    The cost is lost in the noise of the runs themselves, so it is measured once more with models
    that wait as long, and compute nothing.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if full:
            checkpoint = written(family("sd15"), folder, dtype=torch.bfloat16, device="cpu")
            given: dict[str, Any] = {"size": 256, "steps": 4}
        else:
            checkpoint, given = BUNDLED, {"steps": 30}
        given |= {"checkpoint": str(checkpoint)}
        case = "SD 1.5, 256x256, 4 steps" if full else "bundled model, 30 steps"
        return measured(rounds, folder, given, case)


def measured(rounds: int, folder: Path, given: dict[str, Any], case: str) -> list[Row]:
    """Run with an empty cache and without one, in turns; then once more with idle models."""
    import graphdiff

    def run(cache: Path | None) -> None:
        with graphdiff.Session(cache=cache, device="cpu", metadata=False) as session:
            session.run(_WORKFLOW, given)

    def without() -> None:
        run(None)

    def within() -> None:
        run(Path(tempfile.mkdtemp(dir=folder)))

    start = time.perf_counter()
    without()
    pause = min(_LONGEST, (time.perf_counter() - start) / given["steps"])
    found = interleaved({"on": within, "off": without}, rounds)
    with _idle(pause):
        idle = interleaved({"on": within, "off": without}, max(rounds, 5))
    costs = [a - b for a, b in zip(idle.times["on"], idle.times["off"], strict=True)]
    cost, whole = statistics.median(costs), found.median("off")
    return [
        found.row(
            "caching", f"{case}, cache on / off", "on", "off", unit="s CPU", scale=1, note="noisy"
        ),
        Row(
            "caching",
            f"{case}, what the cache adds",
            "% of the run",
            100 * cost / whole,
            goal=("ours", "<=", 1.0),
            note=f"{cost * 1e3:.3g} ms of CPU ({min(costs) * 1e3:.3g} to {max(costs) * 1e3:.3g})",
        ),
    ]


@contextmanager
def _idle(pause: float) -> Generator[None]:
    """Models wait instead of computing; what they give has the shapes that it should have."""

    def predict(unet: object, jobs: list[Any]) -> list[Tensor]:
        time.sleep(pause)
        return [torch.randn(job.sample.shape) for job in jobs]

    def decode(vae: Any, samples: Tensor) -> Tensor:  # noqa: ANN401 - a handle
        time.sleep(pause)
        batch, _, *sides = samples.shape
        return torch.rand(batch, 3, *(side * vae.spatial_factor for side in sides))

    with (
        mock.patch("graphdiff_nodes.sampling.predict", predict),
        mock.patch("graphdiff_nodes.latents._decode", decode),
    ):
        yield

"""Small checkpoints of the families, and what is measured with them on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.checkpoint import written
from benchmarks.gpu.families import Name, family
from benchmarks.gpu.timing import Deadline
from benchmarks.gpu.trial import Trial
from benchmarks.gpu.ways import WAYS, Task

MakeTrial = Callable[..., Trial]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own; what diffusers and transformers say of themselves is not heard."""
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="diffusers|transformers")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        yield


@pytest.fixture
def trial(checkpoints: Path) -> MakeTrial:
    def make(name: Name = "tiny", *, steps: int = 2, batch: int = 1, minutes: float = 5.0) -> Trial:
        folder = written(family(name), checkpoints, dtype=torch.float32, device="cpu")
        task = Task(name, folder, steps, batch, "cpu", "float32")
        return Trial(
            task, WAYS[:2], 2, Deadline(60 * minutes), 1e-3, matrix=64, points=2, budget=6_600_000
        )

    return make

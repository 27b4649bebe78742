"""What is measured behind the sampler, and of the cache, is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import graphdiff
from benchmarks import after, caching
from benchmarks.gpu.checkpoint import written
from benchmarks.gpu.families import family
from benchmarks.gpu.ways import WORKFLOW


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "cache"))
    return written(family("tiny"), tmp_path, dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("workflow", [after.WORKFLOW, WORKFLOW])
def test_the_workflows_are_valid(workflow: Path) -> None:
    assert "steps" in graphdiff.load(workflow).graph.inputs


@pytest.mark.parametrize(
    ("name", "values", "ran"),
    [
        (
            "method",
            ("nearest", "bilinear", "bicubic"),
            ("ResizeLatents", "VAEDecode", "ResizeImage"),
        ),
        ("size", (64, 65, 66), ("ResizeImage",)),
    ],
)
def test_an_edit_computes_again_what_it_is_compared_with(
    checkpoint: Path, tmp_path: Path, name: str, values: tuple[object, ...], ran: tuple[str, ...]
) -> None:
    given = {"checkpoint": str(checkpoint), "side": 16, "steps": 2}
    edited = after.in_a_session(tmp_path, given, name, values)
    assert {*edited.ran} == {*ran, "SaveImage"}
    assert len(edited.whole) == len(edited.alone) == 2
    assert min(*edited.whole, *edited.alone) > 0


def test_what_the_cache_adds_is_measured_without_the_models(
    checkpoint: Path, tmp_path: Path
) -> None:
    given = {"checkpoint": str(checkpoint), "steps": 2}
    real, added = caching.measured(1, tmp_path, given, "tiny")
    assert real.ratio is not None
    assert added.unit == "% of the run"
    assert "ms of CPU" in added.note

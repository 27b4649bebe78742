"""The loop learns, resumes where it was and averages weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.card import loss_curve, read_log
from training.loop import Learner, Run, Weights, train


@dataclass(frozen=True, slots=True)
class Toy(Run):
    """A run of the toy task."""


class Line:
    """Learn y = 3x."""

    def __init__(self, run: Run) -> None:
        self.net = nn.Linear(1, 1)
        self.modules = [self.net]

    def loss(self, rng: np.random.Generator) -> Tensor:
        """The squared error on a batch."""
        x = torch.from_numpy(rng.standard_normal((64, 1))).to(torch.bfloat16)
        error: Tensor = self.net(x).float() - 3 * x.float()
        return error.square().mean()

    def save(self, weights: Weights, folder: Path) -> None:
        """Write the slope."""
        (folder / "slope.json").write_text(json.dumps(float(weights[0]["weight"])))


def toy(out: Path, minutes: float) -> Toy:
    return Toy(out=out, minutes=minutes, lr=0.05, processes=1, warmup=5, ema=0.9, decay=0.0)


def test_it_learns_and_logs(tmp_path: Path) -> None:
    train(toy(tmp_path, 0.05), Line)
    assert json.loads((tmp_path / "slope.json").read_text()) == pytest.approx(3, abs=0.1)
    points = read_log(tmp_path / "log.jsonl")
    assert points[-1][1] < points[0][1] / 10
    loss_curve(tmp_path / "log.jsonl", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    train(toy(tmp_path, 0.01), Line)
    lines = (tmp_path / "log.jsonl").read_text()
    train(toy(tmp_path, 0.01), Line)
    assert (tmp_path / "log.jsonl").read_text() == lines


def test_a_saved_state_is_taken_up_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = Learner([nn.Linear(3, 2)], lr=0.1, decay=0.0, ema=0.5)
    for _ in range(3):
        for parameter in first._parameters:
            parameter.grad = torch.ones_like(parameter)
        first.step(0.1)
        first.average(1)
    first.save(tmp_path / "state.safetensors", 1.5)
    second = Learner([nn.Linear(3, 2)], lr=0.1, decay=0.0, ema=0.5)
    assert second.load(tmp_path / "state.safetensors") == 1.5
    for learner in (first, second):
        for parameter in learner._parameters:
            parameter.grad = torch.ones_like(parameter)
        learner.step(0.1)
        learner.average(1)
    for a, b in zip(first.averaged()[0].values(), second.averaged()[0].values(), strict=True):
        assert torch.equal(a, b)
    assert second.steps == 4


def test_a_state_of_another_model_is_refused_with_both_sizes(tmp_path: Path) -> None:
    small = Learner([nn.Linear(2, 1)], lr=0.1, decay=0.0, ema=0.5)
    small._parameters[0].grad = torch.ones(1, 2, dtype=torch.bfloat16)
    small.step(0.1)
    small.save(tmp_path / "state.safetensors", 0.0)
    large = Learner([nn.Linear(5, 1)], lr=0.1, decay=0.0, ema=0.5)
    with pytest.raises(ValueError, match="holds 3 weights, the model has 6"):
        large.load(tmp_path / "state.safetensors")


def test_frozen_weights_stay_and_come_back_in_the_average() -> None:
    first = nn.Linear(2, 2).requires_grad_(False)
    layers = nn.Sequential(first, nn.Linear(2, 1))
    before = first.weight.clone()
    learner = Learner([layers], lr=0.1, decay=0.0, ema=0.0)
    layers(torch.ones(1, 2, dtype=torch.bfloat16)).sum().backward()
    learner.step(0.1)
    learner.average(1)
    weights = learner.averaged()[0]
    torch.testing.assert_close(weights["0.weight"], before, atol=0.01, rtol=0.01)
    assert set(weights) == set(layers.state_dict())

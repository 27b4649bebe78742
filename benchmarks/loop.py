"""What a step costs besides the model: the engine's share, and a scheduler's arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

import torch

from benchmarks.rounds import Row, interleaved

if TYPE_CHECKING:
    from graphdiff.schedulers.schedule import NoiseSource, Schedule

_PASSES = 1000
_STEPS = 50
_SHAPE = (1, 4, 64, 64)
_SDE = "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}


def measure(rounds: int, full: bool) -> list[Row]:
    """A loop around a node that computes nothing, then the steps of every scheduler."""
    from graphdiff.schedulers.rules import NAMES

    torch.set_num_threads(1)
    rows = [_engine(rounds)]
    for name, config in (*((name, {}) for name in NAMES), _SDE):
        rows += _steps(name, config, rounds)
    return rows


def _engine(rounds: int) -> Row:
    import graphdiff
    from graphdiff.graph.registry import Registry

    @graphdiff.node
    def Predict(sample: float, step: int) -> float:  # noqa: N802 - a node
        """Predict nothing."""
        return sample

    @graphdiff.node
    def Move(prediction: float, sample: float) -> float:  # noqa: N802 - a node
        """Stay."""
        return sample

    with graphdiff.Graph() as graph:
        with graphdiff.Loop(over=_PASSES, carry={"sample": 1.0}) as loop:
            predicted = Predict(loop.carry.sample, loop.item)
            loop.next(sample=Move(predicted, loop.carry.sample))
        graphdiff.output(sample=loop.outputs.sample)
    session = graphdiff.Session(cache=None, registry=Registry.of(Predict, Move), metadata=False)
    seconds: list[float] = []
    for _ in range(rounds + 1):
        start = time.process_time()
        session.run(graph)
        seconds.append(time.process_time() - start)
    return Row(
        "loop",
        "engine, a call",
        "us",
        sorted(seconds[1:])[rounds // 2] / (2 * _PASSES) * 1e6,
        goal=("ours", "<=", 30.0),
        note="plan and run of two calls a pass",
    )


def _steps(name: str, config: Mapping[str, Any], rounds: int) -> list[Row]:
    """Guidance apart, what SchedulerStep and scaling the input cost, against scheduler.step.

    Where noise is drawn, both draw it; the arithmetic is measured once more with noise at hand.
    """
    from graphdiff.rng import Rng
    from graphdiff.schedulers.rules import rule_from_config

    rule = rule_from_config({"_class_name": name, **config})
    steps = rule.schedule(_STEPS)
    ways = {"ours": _our_steps(steps, Rng.from_seed(0)), "theirs": _their_steps(name, config)}
    if rule.stochastic:
        ways["arithmetic"] = _without_drawing(_our_steps(steps, _Given(torch.randn(_SHAPE))))
    found = interleaved(ways, rounds, repeat=4)
    case, scale = " ".join((name, *config.values())), 1e6 / len(steps)
    rows = [found.row("loop", f"{case}, a step", "ours", "theirs", unit="us", scale=scale)]
    goal: tuple[Literal["ours"], Literal["<="], float] = ("ours", "<=", 60.0)
    if not rule.stochastic:
        return [replace(rows[0], goal=goal)]
    alone = Row("loop", f"{case}, arithmetic", "us", found.median("arithmetic") * scale, goal=goal)
    return [*rows, alone]


@dataclass(frozen=True)
class _Given:
    """Noise that was drawn before."""

    noise: torch.Tensor

    def normal(
        self, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> tuple[torch.Tensor, _Given]:
        return self.noise, self

    def entropy(self) -> tuple[tuple[int, ...], _Given]:
        return (0,), self


def _our_steps(steps: Schedule, source: NoiseSource) -> Callable[[], object]:
    prediction, start = torch.randn(_SHAPE), torch.randn(_SHAPE)

    @torch.no_grad()
    def take() -> None:
        sample, history = start, None
        rng: NoiseSource | None = source
        for step in steps:
            step.scale_input(sample)
            sample, history, rng = step.rule.step(prediction, step, sample, history, rng)

    return take


def _without_drawing(take: Callable[[], object]) -> Callable[[], object]:
    """Leave out the Brownian path too, which draws from generators of its own."""
    noise = torch.randn(_SHAPE)

    def patched() -> None:
        with mock.patch("graphdiff.schedulers.dpm_sde.brownian_noise", return_value=noise):
            take()

    return patched


def _their_steps(name: str, config: Mapping[str, Any]) -> Callable[[], object]:
    import diffusers

    scheduler = getattr(diffusers, name)(**config)
    prediction, start = torch.randn(_SHAPE), torch.randn(_SHAPE)
    scales = hasattr(scheduler, "scale_model_input")

    @torch.no_grad()
    def take() -> None:
        scheduler.set_timesteps(_STEPS)
        sample = start
        for time_step in scheduler.timesteps:
            if scales:
                scheduler.scale_model_input(sample, time_step)
            sample = scheduler.step(prediction, time_step, sample).prev_sample

    return take

"""What a step costs besides the model: the engine's share, and a scheduler's arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.rounds import Row, interleaved

_PASSES = 1000
_SCHEDULERS = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)


def measure(rounds: int, full: bool) -> list[Row]:
    """A loop around a node that computes nothing, then the steps of some schedulers."""
    torch.set_num_threads(1)
    return [_engine(rounds), *(_steps(name, rounds) for name in _SCHEDULERS)]


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


def _steps(name: str, rounds: int) -> Row:
    """Guidance apart, what SchedulerStep and scaling the input cost, against scheduler.step."""
    ours, theirs = _our_steps(name), _their_steps(name)
    found = interleaved({"ours": ours, "theirs": theirs}, rounds, repeat=4)
    row = found.row(
        "loop", f"{name}, a step", "ours", "theirs", unit="us", scale=1e6 / 50, at_least=1.0
    )
    return Row(
        **{
            **{field: getattr(row, field) for field in row.__dataclass_fields__},
            "goal": ("ours", "<=", 60.0),
        }
    )


def _our_steps(name: str) -> Callable[[], Any]:
    from graphdiff.rng import Rng
    from graphdiff.schedulers.rules import rule_from_config
    from graphdiff.schedulers.schedule import NoiseSource

    rule = rule_from_config({"_class_name": name})
    schedule = rule.schedule(50)
    prediction, start = torch.randn(1, 4, 64, 64), torch.randn(1, 4, 64, 64)

    @torch.no_grad()
    def steps() -> None:
        sample, history = start, None
        rng: NoiseSource | None = Rng.from_seed([0])
        for step in schedule:
            step.scale_input(sample)
            sample, history, rng = rule.step(prediction, step, sample, history, rng)

    return steps


def _their_steps(name: str) -> Callable[[], Any]:
    import diffusers

    scheduler = getattr(diffusers, name)()
    prediction, start = torch.randn(1, 4, 64, 64), torch.randn(1, 4, 64, 64)

    @torch.no_grad()
    def steps() -> None:
        scheduler.set_timesteps(50)
        sample = start
        for time_step in scheduler.timesteps:
            scheduler.scale_model_input(sample, time_step)
            sample = scheduler.step(prediction, time_step, sample).prev_sample

    return steps

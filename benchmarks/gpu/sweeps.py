"""Seeds as one sweep against runs of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch

from benchmarks.gpu import floor
from benchmarks.gpu.timing import wall_rounds
from benchmarks.gpu.trial import Trial
from benchmarks.gpu.ways import WORKFLOW, difference, theirs
from benchmarks.rounds import Paired, Row

_AT_LEAST = {"sd15": 3.0}


def measure(trial: Trial) -> Iterator[Row]:
    """One live session does both; diffusers draws seed by seed."""
    import graphdiff
    from graphdiff.engine.events import NodeFinished

    task = trial.task
    session = graphdiff.Session(cache=None, device=task.device, dtype=task.dtype, metadata=False)
    points = {f"seed={seed}": task.inputs(seed) for seed in range(trial.points)}
    counts: Counter[str] = Counter()

    def as_one() -> list[torch.Tensor]:
        results = session.run_many(WORKFLOW, points)
        counts.clear()
        counts.update(e.type for e in results.events if isinstance(e, NodeFinished))
        return [point.outputs["image"].pixels for point in results.points]

    def one_by_one() -> list[torch.Tensor]:
        return [session.run(WORKFLOW, p).outputs["image"].pixels for p in points.values()]

    together, apart = as_one(), one_by_one()
    far = max(difference(a, b) for a, b in zip(together, apart, strict=True))
    if far > trial.tolerance:
        yield Row("sweeps", task.case, "pictures/s", 0.0, note=f"other pictures: {far:.3f}")
        return
    note = f"texts encoded {counts['TextEncode']} times, pictures {far:.2g} apart"
    most = floor.matrix_rate(trial.device, task.torch_dtype, side=trial.matrix)
    most /= floor.work(task.family).picture(task.steps)
    ways = {"sweep": as_one, "one by one": one_by_one}
    found = wall_rounds(ways, trial.rounds, device=trial.device, deadline=trial.deadline)
    yield _row(trial, found, "one by one", most, note, _AT_LEAST.get(task.name))
    if "diffusers" not in trial.ways or trial.deadline.left <= 0:
        return
    draw = theirs(task)
    draw(0)
    ways = {"sweep": as_one, "diffusers": lambda: [draw(seed) for seed in range(trial.points)]}
    found = wall_rounds(ways, trial.rounds, device=trial.device, deadline=trial.deadline)
    yield _row(trial, found, "diffusers", most, "seed by seed", None)


def _row(
    trial: Trial, found: Paired, other: str, most: float, note: str, at_least: float | None
) -> Row:
    pictures = trial.points * trial.task.batch
    ratios = sorted(found.ratios("sweep", other))
    return Row(
        "sweeps",
        f"{trial.task.case}: {trial.points} seeds as one / {other}",
        "pictures/s",
        pictures / found.median("sweep"),
        pictures / found.median(other),
        ratios[len(ratios) // 2],
        ratios[0],
        ratios[-1],
        None if at_least is None else ("ratio", ">=", at_least),
        note,
        most,
    )

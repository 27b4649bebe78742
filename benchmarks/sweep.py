"""Sixteen seeds as one sweep, against one by one."""

from __future__ import annotations

import tempfile
from collections import Counter

import torch

from benchmarks.pipelines import WORKFLOW, diffusers_pipeline, inputs
from benchmarks.rounds import Row, interleaved

_SEEDS, _STEPS = 16, 8


def measure(rounds: int, full: bool) -> list[Row]:
    """A live session does both; diffusers draws them one by one too."""
    import graphdiff
    from graphdiff.engine.events import NodeFinished

    torch.set_num_threads(1)
    theirs = diffusers_pipeline()
    given = inputs(steps=_STEPS, scales=[5.0] * _STEPS)
    points = {f"seed={i}": {**given, "seed": i, "file": f"p{i}"} for i in range(_SEEDS)}
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        session = graphdiff.Session(cache=None, output_dir=folder)

        def as_one() -> None:
            events = session.run_many(WORKFLOW, points).events
            counts.clear()
            counts.update(e.type for e in events if isinstance(e, NodeFinished))

        def one_by_one() -> None:
            for point in points.values():
                session.run(WORKFLOW, point)

        def with_diffusers() -> None:
            for _ in points:
                theirs(steps=_STEPS)

        found = interleaved(
            {"sweep": as_one, "one by one": one_by_one, "theirs": with_diffusers}, rounds
        )
    note = f"texts encoded {counts['TextEncode']} times for {_SEEDS} pictures"
    case = f"{_SEEDS} seeds, {_STEPS} steps"
    return [
        found.row(
            "sweep",
            f"{case}, against one by one",
            "sweep",
            "one by one",
            unit="s",
            scale=1,
            at_least=1.0,
            note=note,
        ),
        found.row("sweep", f"{case}, against diffusers", "sweep", "theirs", unit="s", scale=1),
    ]

"""Seeds as one sweep against one by one: of the bundled model, and of a large one."""

from __future__ import annotations

import tempfile
from collections import Counter

import torch

from benchmarks.models import stable_diffusion_unet
from benchmarks.pipelines import WORKFLOW, diffusers_pipeline, inputs
from benchmarks.rounds import Row, interleaved

_SEEDS, _STEPS = 16, 8
_ROWS = 8  # of four seeds, with and without the prompt


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
        *(_large(side, rounds) for side in (32, 64)),
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


@torch.no_grad()
def _large(side: int, rounds: int) -> Row:
    """A step of four seeds: as many rows at a time as the limit says, against seed by seed."""
    from graphdiff_nodes.batches import rows_that_pay

    pair = stable_diffusion_unet(torch.float32, _ROWS, side, width=0.5)
    sample, timestep, text = pair.inputs
    numbers = int(0.5 * 320) * side * side
    paying = rows_that_pay(numbers, 1, dtype="float32", device="cpu", least=2)

    def by(rows: int) -> None:
        for one, words in zip(torch.split(sample, rows), torch.split(text, rows), strict=True):
            pair.ours(one, timestep, words)

    found = interleaved({"paying": lambda: by(paying), "pairs": lambda: by(2)}, rounds)
    return found.row(
        "sweep",
        f"SD 1.5 UNet, half width, {side}x{side}, {_ROWS // 2} seeds, against one by one",
        "paying",
        "pairs",
        unit="s",
        scale=1,
        at_least=1.0,
        note=f"{min(paying, _ROWS)} rows at a time",
    )

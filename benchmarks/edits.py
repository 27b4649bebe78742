"""Changes to a finished run: what is computed again, and how long it takes."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.pipelines import (
    STEPS,
    WORKFLOW,
    command,
    diffusers_pipeline,
    diffusers_process,
    inputs,
)
from benchmarks.rounds import Paired, Row

_LATE = 24  # the step from which the edited guidance list differs


@dataclass(frozen=True)
class Edit:
    """A change to the inputs.

    Args:
        name: What it is.
        changed: The inputs that differ.
        passes: How many passes of the loop it should cost.
    """

    name: str
    changed: Mapping[str, Any]
    passes: int


EDITS = (
    Edit("prompt", {"prompt": "a green apple"}, STEPS),
    Edit("scheduler", {"scheduler": "DDIMScheduler"}, STEPS),
    Edit(
        f"guidance from step {_LATE}",
        {"scales": [5.0] * _LATE + [2.0] * (STEPS - _LATE)},
        STEPS - _LATE,
    ),
    Edit("after the sampler", {"size": 128}, 0),
    Edit("file name", {"file": "another"}, 0),
    Edit("nothing", {}, 0),
)


def measure(rounds: int, full: bool) -> list[Row]:
    """Each edit in a new process, and in a live session, after the same run."""
    torch.set_num_threads(1)
    theirs = diffusers_pipeline()
    theirs()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finished = folder / "finished"
        command(inputs(), cache=finished, folder=folder)
        for edit in EDITS:
            rows += _measured(edit, rounds, folder, finished, theirs)
    return rows


def _measured(
    edit: Edit,
    rounds: int,
    folder: Path,
    finished: Path,
    theirs: Any,  # noqa: ANN401
) -> list[Row]:
    import graphdiff
    from graphdiff.engine.events import NodeFinished

    cold: dict[str, list[float]] = {"ours": [], "theirs": []}
    live: dict[str, list[float]] = {"ours": [], "theirs": []}
    ran: list[str] = []
    computed: list[str] = []
    for _ in range(rounds):
        cache = folder / "copy"
        shutil.copytree(finished, cache)
        edited = inputs(**edit.changed)
        spent = command(edited, cache=cache, folder=folder, options=("--json",))
        ran = _types(spent.output)
        cold["ours"].append(spent.cpu)
        cold["theirs"].append(diffusers_process(folder).cpu)
        shutil.rmtree(cache)
        with graphdiff.Session(cache=cache, output_dir=folder / "live") as session:
            session.run(WORKFLOW, inputs())
            start = time.process_time()
            results = session.run(WORKFLOW, edited)
            live["ours"].append(time.process_time() - start)
        computed = [e.type for e in results.events if isinstance(e, NodeFinished)]
        start = time.process_time()
        theirs()
        live["theirs"].append(time.process_time() - start)
        shutil.rmtree(cache)
    return [
        Paired(cold).row(
            "edits",
            f"{edit.name}, new process",
            "ours",
            "theirs",
            unit="s CPU",
            scale=1,
            note=_said(ran, edit),
        ),
        Paired(live).row(
            "edits", f"{edit.name}, live session", "ours", "theirs", note=_said(computed, edit)
        ),
    ]


def _types(output: str) -> list[str]:
    events = [json.loads(line) for line in output.splitlines()]
    return [e["type"] for e in events if e.get("status") == "finished"]


def _said(ran: list[str], edit: Edit) -> str:
    passes = ran.count("SchedulerStep")
    verdict = "" if passes == edit.passes else f", expected {edit.passes}"
    return f"ran {len(ran)} calls, {passes} of {STEPS} steps{verdict}"

"""A run that is killed at 80 % of its steps, and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.pipelines import WORKFLOW, inputs
from benchmarks.rounds import Row, environment

_STEPS = 100


def measure(rounds: int, full: bool) -> list[Row]:
    """Killed by Ctrl-C, and by a signal that cannot be caught; how much is computed again."""
    return [
        _interrupted(name, number)
        for name, number in (("Ctrl-C", signal.SIGINT), ("kill -9", signal.SIGKILL))
    ]


def _interrupted(name: str, number: signal.Signals) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        first = _steps(Path(folder), stop_at=int(0.8 * _STEPS), number=number)
        second = _steps(Path(folder))
    return Row(
        "resume",
        f"{name} at step {first} of {_STEPS}",
        "% of steps",
        100 * second / _STEPS,
        goal=("ours", "<=", 25.0),
        note=f"computed {second} when started again",
    )


def _steps(
    folder: Path, *, stop_at: int | None = None, number: signal.Signals | None = None
) -> int:
    """How many steps a run computes until its end, or until it is stopped."""
    given = inputs(steps=_STEPS, scales=[5.0] * _STEPS)
    arguments = [sys.executable, "-m", "graphdiff", "run", str(WORKFLOW), "--json"]
    for name, value in given.items():
        arguments += [f"--{name}", json.dumps(value) if isinstance(value, list) else str(value)]
    done = 0
    with subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment(folder / "cache"),
        text=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            event = json.loads(line)
            if event.get("type") == "SchedulerStep" and event.get("status") == "finished":
                done += 1
                if number is not None and done == stop_at:
                    running.send_signal(number)
    return done

"""The first pictures of a new process, and of the next, which finds what the first one kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.child import Reported, arguments
from benchmarks.gpu.trial import Trial
from benchmarks.rounds import ROOT, Goal, Row, environment

_WARM_UP: Goal = ("ours", "<=", 60.0)
_PAIRS = {"graphdiff": "diffusers", "graphdiff compiled": "diffusers compiled"}


def measure(trial: Trial) -> Iterator[Row]:
    """Two processes of each way, with a cache folder of their own."""
    for ours, theirs in _PAIRS.items():
        if ours not in trial.ways:
            continue
        with tempfile.TemporaryDirectory() as mine, tempfile.TemporaryDirectory() as its:
            for process in ("first", "second"):
                case = f"{trial.task.case}: {ours}, first picture of the {process} process"
                found, said = _tried(trial, ours, Path(mine))
                if found is None:
                    yield Row("first", case, "s", 0.0, note=said)
                    break
                against = _tried(trial, theirs, Path(its))[0] if theirs in trial.ways else None
                yield _row(case, found, against, said, _WARM_UP if "compiled" in ours else None)


def _row(case: str, ours: Reported, theirs: Reported | None, note: str, goal: Goal | None) -> Row:
    if theirs is None:
        return Row("first", case, "s", ours.first, goal=goal, note=note)
    ratio = theirs.first / ours.first
    return Row("first", case, "s", ours.first, theirs.first, ratio, ratio, ratio, goal, note)


def _tried(trial: Trial, name: str, cache: Path) -> tuple[Reported | None, str]:
    """What a process reported, and what to say of it."""
    if trial.deadline.left <= 0:
        return None, "no time was left"
    try:
        found = child(trial, name, cache=cache)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return None, f"failed: {type(error).__name__}"
    return found, f"then {found.second:.3g} s and {found.third:.3g} s"


def child(
    trial: Trial, name: str, *, cache: Path, looks: bool = False, budget: int | None = None
) -> Reported:
    """Draw three pictures in a process of its own.

    Args:
        trial: What is drawn.
        name: How.
        cache: Where it keeps what it compiles, and what it knows of files.
        looks: Whether it looks at the memory between calls.
        budget: The most bytes of weights to have on the device.

    Raises:
        RuntimeError: It failed.
        subprocess.TimeoutExpired: It was not done in time, and was killed.
    """
    told = arguments(trial.task, name, looks=looks, budget=budget)
    variables = environment(cache)
    for variable, kept in (
        ("TORCHINDUCTOR_CACHE_DIR", "compiled"),
        ("TRITON_CACHE_DIR", "kernels"),
    ):
        variables[variable] = str(cache / kept)
    if trial.device.is_gpu:  # the host's threads compile, and lay out what goes to the device
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            variables.pop(variable)
            if variable in os.environ:
                variables[variable] = os.environ[variable]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.child", told],
        capture_output=True,
        cwd=ROOT,
        env=variables,
        text=True,
        timeout=max(trial.deadline.left, 20.0),
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed in a process of its own:\n{done.stderr}")
    return Reported(**json.loads(done.stdout.splitlines()[-1]))

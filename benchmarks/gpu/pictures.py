"""Pictures a second, of ours and of diffusers, plain and compiled, in turns."""

from __future__ import annotations

import statistics
import sys
import traceback
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.gpu import floor
from benchmarks.gpu.timing import seconds, wall_rounds
from benchmarks.gpu.trial import Trial
from benchmarks.gpu.ways import OURS, THEIRS, Draw, difference, way
from benchmarks.rounds import Goal, Paired, Row

_CHECKED, _WARM = 3, 2  # the seed of the pictures that are compared; runs before any is timed
_SHARES: Mapping[tuple[str, int], float] = {
    ("sd15", 1): 0.45,
    ("sd15", 8): 0.55,
    ("sdxl", 1): 0.55,
    ("sdxl", 8): 0.60,
}
_RATIOS: Mapping[tuple[str, str], float] = {
    ("sd15", "diffusers"): 4.0,  # at batch 1, where launches bind it
    ("sdxl", "diffusers"): 2.0,
    ("sdxl", "diffusers compiled"): 1.1,
}


def measure(trial: Trial) -> Iterator[Row]:
    """Each way against those of the other side that are ready, as soon as it is ready itself."""
    task, deadline = trial.task, trial.deadline
    work = floor.work(task.family).picture(task.steps)
    rate = floor.matrix_rate(trial.device, task.torch_dtype, side=trial.matrix)
    yield Row("pictures", "a product of matrices", "TFLOP/s", rate / 1e12)
    ready: dict[str, Draw] = {}
    firsts: dict[str, float] = {}
    expected = None
    for name in trial.ways:
        if ready and deadline.left <= 0:
            yield _left_out(trial, name, "no time was left")
            continue
        try:
            draw = way(name, task)
            firsts[name] = seconds(partial(draw, 0), trial.device)
            picture = draw(_CHECKED)
            far = 0.0 if expected is None else difference(picture, expected)
            for _ in range(_WARM - 1):
                draw(0)
        except Exception as error:  # the others are measured all the same
            sys.stderr.write(traceback.format_exc())
            yield _left_out(trial, name, f"failed: {error}".splitlines()[0])
            continue
        if expected is None and name in THEIRS:
            expected = picture
        if far > trial.tolerance:
            yield _left_out(trial, name, f"another picture: {far:.3f} of its contrast away")
            continue
        ready[name] = draw
        others = [other for other in ready if (other in OURS) != (name in OURS)]
        if not others:
            continue
        ways = {each: partial(ready[each], 0) for each in (name, *others)}
        found = wall_rounds(ways, trial.rounds, device=trial.device, deadline=deadline)
        for other in others:
            mine, its = (name, other) if name in OURS else (other, name)
            note = f"the first after {firsts[mine]:.3g} s and {firsts[its]:.3g} s"
            note += f", {far:.2g} of the contrast apart"
            yield _compared(trial, found, mine, its, rate / work, note)
        if name in OURS:
            yield _of_the_floor(trial, found, name, rate / work)


def _compared(trial: Trial, found: Paired, ours: str, theirs: str, most: float, note: str) -> Row:
    task = trial.task
    ratios = found.ratios(ours, theirs)
    at_least = _RATIOS.get((task.name, theirs))
    if (task.name, task.batch > 1) == ("sd15", True):
        at_least = None
    return Row(
        "pictures",
        f"{task.case}: {ours} / {theirs}",
        "pictures/s",
        task.batch / found.median(ours),
        task.batch / found.median(theirs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        None if at_least is None else ("ratio", ">=", at_least),
        f"{len(ratios)} rounds, {note}",
        most,
    )


def _of_the_floor(trial: Trial, found: Paired, name: str, most: float) -> Row:
    task = trial.task
    share = _SHARES.get((task.name, task.batch))
    goal: Goal | None = None if share is None else ("share", ">=", share)
    rate = task.batch / found.median(name)
    return Row("pictures", f"{task.case}: {name}", "pictures/s", rate, goal=goal, floor=most)


def _left_out(trial: Trial, name: str, why: str) -> Row:
    return Row("pictures", f"{trial.task.case}: {name}", "pictures/s", 0.0, note=why)

"""Runs a workflow again whenever one of the files that it is made of is saved."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphdiff.engine.errors import RunError
from graphdiff.engine.events import Watcher
from graphdiff.engine.results import Results
from graphdiff.engine.run import Cancel
from graphdiff.engine.session import Session
from graphdiff.graph.spec import WorkflowError


def watch(
    file: Path,
    inputs: Mapping[str, Any] | None = None,
    *,
    session: Session,
    on_results: Callable[[Results], None],
    on_error: Callable[[WorkflowError | RunError], None],
    targets: Sequence[str] | None = None,
    on_event: Watcher | None = None,
    cancel: Cancel | None = None,
    interval: float = 0.3,
) -> None:
    """Run a workflow, and again on each save, until `cancel` is set.

    Args:
        file: The workflow.
        inputs: Values of its inputs.
        session: What keeps weights and results between the runs.
        on_results: Told what each run gave.
        on_error: Told what is wrong with the file, or that a node failed; the next save may mend
            it.
        targets: What to compute.
        on_event: Told what happens while it runs.
        cancel: Stops watching, and a run that is under way.
        interval: How often to look, in seconds.
    """
    stop = cancel or Cancel()
    while not stop.is_set():
        files = {file}
        before = _states(files)
        try:
            workflow, _ = session.load(file, targets)
            files |= {file.parent / name for name in workflow.sources}
            before = _states(files)
            results = session.run(workflow, inputs, targets=targets, on_event=on_event, cancel=stop)
            on_results(results)
        except (WorkflowError, RunError) as error:
            on_error(error)
        while _states(files) == before:
            if stop.is_set():
                return
            time.sleep(interval)


def _states(files: set[Path]) -> dict[Path, tuple[int, int, int] | None]:
    """What tells a saved file from what it was; None for a file that is being replaced."""
    states: dict[Path, tuple[int, int, int] | None] = {}
    for file in files:
        try:
            stat = os.stat(file)
            states[file] = stat.st_mtime_ns, stat.st_size, stat.st_ino
        except OSError:
            states[file] = None
    return states

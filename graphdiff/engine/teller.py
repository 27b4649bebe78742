"""Tells watchers what happens in a run, and counts it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from graphdiff.engine.calls import Calls
from graphdiff.engine.errors import NodeError
from graphdiff.engine.events import (
    Event,
    LoopProgress,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeSkipped,
    NodeStarted,
    RunFinished,
    RunStarted,
    Watcher,
)
from graphdiff.engine.job import Job, State
from graphdiff.engine.task import Task


class Teller:
    """What happened in a run, in order.

    Args:
        on_event: Told each event as it comes.
    """

    def __init__(self, on_event: Watcher | None) -> None:
        self.events: list[Event] = []
        self._on_event = on_event
        self._told = 0
        self._told_aliases = 0
        self._ran = self._cached = self._failed = self._skipped = 0

    def emit(self, event: Event) -> None:
        """Tell an event."""
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def begin(self, workflow: str, run: int, cached: int, points: int) -> None:
        """The run begins."""
        if not self.events:
            self.emit(RunStarted(workflow, run, cached, points))

    def started(self, job: Job, batch: int) -> None:
        """A call begins; if it is tried again, it has begun already."""
        if not job.started:
            job.started = True
            self.emit(NodeStarted(job.task.name, job.task.kind.node.name, batch))

    def finished(self, task: Task, seconds: float, batch: int) -> None:
        """A call is done."""
        self._ran += 1
        self.emit(NodeFinished(task.name, task.kind.node.name, seconds, batch))
        for name, number, count in task.steps:
            self.emit(LoopProgress(name, number, count))

    def cached(self, task: Task) -> None:
        """A call need not run."""
        self._cached += 1
        self.emit(NodeCached(task.name, task.kind.node.name))

    def again(self, job: Job) -> None:
        """What was told of a call does not count any more: it runs after all, or once more."""
        if job.state is State.FOUND:
            self._cached -= 1
        elif job.state is State.DONE:
            self._ran -= 1

    def needed(self, run: Iterable[Task]) -> None:
        """What was told of these calls does not count any more: they run, for what was lost."""
        if self._told:
            self._cached -= sum(task.number < self._told for task in run)

    def found(self, task: Task) -> None:
        """A call that is needed is in the store; it may have been told already."""
        if task.number >= self._told:
            self.cached(task)

    def failed(self, task: Task, error: NodeError, seconds: float) -> None:
        """A call raised an error."""
        self._failed += 1
        self.emit(NodeFailed(task.name, task.kind.node.name, error, seconds))

    def skipped(self, task: Task, cause: str) -> None:
        """A call cannot run."""
        self._skipped += 1
        self.emit(NodeSkipped(task.name, task.kind.node.name, cause))

    def unneeded(self, calls: Calls) -> None:
        """Tell of the calls that nothing needs to run, once nothing more will be linked."""
        if self._told < len(calls.linked):
            for task in calls.linked[self._told :]:
                if task.job is None:
                    self.cached(task)
            self._told = len(calls.linked)
        for _, scope, site, task in calls.aliases[self._told_aliases :]:
            self._cached += 1
            self.emit(NodeCached(scope.prefix + site.label, task.kind.node.name))
        self._told_aliases = len(calls.aliases)

    def end(self, seconds: float, files: tuple[Path, ...], *, interrupted: bool) -> RunFinished:
        """The run is over."""
        summary = RunFinished(
            self._ran,
            self._cached,
            self._failed,
            self._skipped,
            seconds,
            files,
            interrupted,
        )
        self.emit(summary)
        return summary

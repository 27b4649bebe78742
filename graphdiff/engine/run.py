"""Runs a program: what is ready is called, and what came of it is kept, told and handed on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphdiff.engine.agenda import Agenda
from graphdiff.engine.caller import Caller
from graphdiff.engine.errors import Interrupted, NodeError, RunError
from graphdiff.engine.events import Watcher
from graphdiff.engine.gradients import NoGradients
from graphdiff.engine.guard import SCALARS, MutationError, guards_of, holds_nan
from graphdiff.engine.holdings import Holdings
from graphdiff.engine.job import Job, State
from graphdiff.engine.jobs import Jobs
from graphdiff.engine.keep import Keeper
from graphdiff.engine.outputs import OutputFolder
from graphdiff.engine.plan import RECORD
from graphdiff.engine.program import (
    Point,
    PointInputs,
    Program,
    SetAside,
    forget,
)
from graphdiff.engine.relink import LinkedRuns
from graphdiff.engine.results import Results, gathered_results
from graphdiff.engine.store import Store
from graphdiff.engine.task import Task, Wire
from graphdiff.engine.teller import Teller
from graphdiff.graph.node import Settings
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Place
from graphdiff.graph.workflow import Workflow

WINDOW = 32
"""How many points of a sweep are under way at a time."""

ValueWatcher = Callable[[str, Mapping[str, Any]], None]
"""Told the name of each call that ran, and its outputs by port."""


class Cancel:
    """A flag that stops a run at its next call. Setting it is safe in a signal handler."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Stop."""
        self._set = True

    def is_set(self) -> bool:
        """Whether the run shall stop."""
        return self._set


class Runner:
    """One run, of one set of inputs or of several.

    What changes while it runs: `Task.job` of each call that is needed, the agenda (what is ready)
    and the points (which are under way, and what linking waits for). All of it happens in the
    thread that calls `run`.
    """

    def __init__(
        self,
        workflow: Workflow,
        points: Sequence[PointInputs],
        *,
        registry: Registry,
        settings: Settings,
        store: Store,
        output_dir: Path,
        targets: Sequence[str] | None = None,
        exact: bool = False,
        provenance: Callable[[Program, Point], Mapping[str, Any]] | None = None,
        on_event: Watcher | None = None,
        on_value: ValueWatcher | None = None,
        cancel: Cancel | None = None,
        window: int = WINDOW,
        runs: LinkedRuns | None = None,
    ) -> None:
        """Bind the inputs of a workflow that has passed the checker.

        Args:
            workflow: The workflow, its parts resolved.
            points: The sets of inputs.
            registry: The node types.
            settings: For nodes that ask for them.
            store: Where results are looked up and kept.
            output_dir: Where effects write.
            targets: What the run is for; None for the workflow's outputs and effects.
            exact: Whether calls are never batched.
            provenance: What pictures say about where they came from.
            on_event: Told what happens.
            on_value: Told the outputs of each call.
            cancel: Stops the run once it is set.
            window: How many points are under way at a time.
            runs: What earlier runs have linked.

        Raises:
            WorkflowError: an input or a target is wrong.
        """
        self.program = Program(
            workflow,
            points,
            registry=registry,
            settings=settings,
            value_of=self._value_of,
            targets=targets,
            exact=exact,
            runs=runs,
        )
        self._workflow = workflow
        self._store = store
        self._folder = output_dir
        self._on_value = on_value
        self._cancel = cancel

        def told(task: Task) -> Mapping[str, Any]:
            return provenance(self.program, self._point_of(task)) if provenance else {}

        self._holdings = Holdings(store)
        self._teller = Teller(on_event)
        self._agenda = Agenda()
        self._jobs = Jobs(
            self.program,
            agenda=self._agenda,
            teller=self._teller,
            holdings=self._holdings,
            store=store,
            folder=output_dir,
            window=window,
            told=told,
        )
        self._points = self._jobs.points
        self._keeper = Keeper(store, workflow.graph.name)
        self._caller = Caller(
            self,
            arguments=self._jobs.arguments,
            agenda=self._agenda,
            teller=self._teller,
            store=store,
            settings=settings,
            folder=output_dir,
            provenance=told,
            place_of=self._place_of,
        )
        self._failures: list[NodeError] = []
        self._changed: set[str] = set()  # calls whose outputs another call changed in place

    def _value_of(self, wire: Wire) -> Any:  # noqa: ANN401 - any value
        return self._jobs.value_of(wire)

    def run(self) -> Results:
        """Run, and give the results.

        Raises:
            WorkflowError: something is wrong with the workflow; nothing has run, unless it shows
                only by values of the run.
            RunError: calls failed.
            Interrupted: the run was stopped.
        """
        began = time.perf_counter()
        stopped = ended = False
        with NoGradients():
            try:
                self._jobs.admit()
                with SetAside(len(self._jobs.all)):
                    self._work()
                ended = True
            except KeyboardInterrupt:
                stopped = True
            finally:
                self._finish_up(complete=ended and not self._failures)
        self._teller.unneeded(self.program.linker.calls)
        files = tuple(dict.fromkeys(f for files in self._jobs.files.values() for f in files))
        summary = self._teller.end(time.perf_counter() - began, files, interrupted=stopped)
        results = gathered_results(
            self.program, self._holdings, self._jobs.files, tuple(self._teller.events), summary
        )
        if stopped:
            raise Interrupted(results)
        if self._failures:
            raise RunError(tuple(self._failures), results)
        return results

    def _work(self) -> None:
        agenda, caller, cancel = self._agenda, self._caller, self._cancel
        unbegun = self._keeper.unbegun
        while True:
            if cancel is not None and cancel.is_set():
                raise KeyboardInterrupt
            if caller.under_way:
                caller.take()
            batch = agenda.next()
            if unbegun and batch and (agenda.waits() or not batch[0].task.kind.effect):
                self._keeper.begin()  # beside a last effect, a thread takes longer than it saves
            if len(batch) > 1:
                batch = [job for job in batch if job.state is State.WAITING]
            if len(batch) == 1:
                if batch[0].state is State.WAITING:
                    caller.call(batch[0])
            elif batch:
                caller.call_batch(batch)
            elif agenda.waits():
                continue
            elif caller.under_way:
                caller.wait()
            else:
                self._points.window.give_up()
                if not self._jobs.admit():
                    return

    def _finish_up(self, *, complete: bool) -> None:
        """Wait for what is under way; of a run that ends early, keep what it has."""
        try:
            self._caller.close()
        finally:  # watchers are told of effects that end here, and may raise an error
            if not complete or self._agenda.waits():
                for job in self._jobs.all:
                    self._keeper.rescue(job)
            self._keeper.close()
            for key in self._changed:
                self._store.drop(key)

    # Outcomes

    def finish(self, job: Job, outputs: list[Any], seconds: float, batch: int) -> None:
        """A call gave its outputs."""
        task = job.task
        job.outputs = outputs
        job.state = State.DONE
        job.seconds = seconds
        most = 0.0
        for _, wire in task.wires:
            if wire.task.job.total > most:  # type: ignore[union-attr]
                most = wire.task.job.total  # type: ignore[union-attr]
        job.total = seconds + most
        if len(outputs) > 1 or outputs[0].__class__ not in SCALARS:
            job.guards = [guards_of(value) for value in outputs]
            job.nan = holds_nan(job.guards)
        if not task.kind.effect:
            wanted = self._keeper.lasts and (self._points.window.awaits(task) or job.feeds_effect)
            self._keeper.keep(job, outputs, job.content, wanted=wanted)
        self._teller.finished(task, seconds, batch)
        if self._on_value is not None:
            self._on_value(task.name, dict(zip(task.kind.ports, outputs, strict=True)))
        del outputs
        self._holdings.free_unread(job)
        self._jobs.settle(job)

    def wrote(self, job: Job, outputs: list[Any], folder: OutputFolder) -> None:
        """An effect wrote files."""
        task = job.task
        values = dict(zip(task.kind.ports, outputs, strict=True))
        values[RECORD] = [dict(file) for file in folder.written]
        self._jobs.files[task] = tuple(self._folder / file["path"] for file in folder.written)
        self._keeper.record(job, values, job.content)

    def fail(self, job: Job, error: NodeError, seconds: float) -> None:
        """A call failed; what depends on it cannot run, what does not goes on."""
        if isinstance(error.__cause__, MutationError):
            forget(self._workflow.graph)  # what was changed may be among what is remembered of it
            self._changed.update(wire.task.key for wire in job.task.sources())
        job.state = State.FAILED
        self._failures.append(error)
        self._teller.failed(job.task, error, seconds)
        self._holdings.release_sources(job.task)
        for dependent in job.take_dependents():
            self._jobs.skip(dependent, job.task.name)
        self._jobs.ended(job.task)

    # What is told

    def _point_of(self, task: Task) -> Point:
        return self.program.points[task.scope.point]

    def _place_of(self, task: Task) -> Place | None:
        return self._workflow.places.value(task.path)

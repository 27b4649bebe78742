"""Runs a program: what is needed is taken up, what is ready is called, the outcome handed on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphdiff.engine.agenda import Agenda
from graphdiff.engine.caller import Caller
from graphdiff.engine.cutoff import Cutoff
from graphdiff.engine.errors import Interrupted, NodeError, RunError
from graphdiff.engine.events import Watcher
from graphdiff.engine.gradients import NoGradients
from graphdiff.engine.guard import SCALARS, MutationError, guards_of, holds_nan, signature
from graphdiff.engine.holdings import Holdings
from graphdiff.engine.job import FREED, Job, State
from graphdiff.engine.keep import Keeper
from graphdiff.engine.outputs import OutputFolder
from graphdiff.engine.plan import RECORD, Finder, demand
from graphdiff.engine.points import Points
from graphdiff.engine.program import (
    Point,
    PointInputs,
    Program,
    SetAside,
    forget,
)
from graphdiff.engine.results import Results, gathered_results
from graphdiff.engine.store import Store
from graphdiff.engine.task import Task, Wire
from graphdiff.engine.teller import Teller
from graphdiff.graph.node import Settings
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import MISSING, Place
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
        )
        self._workflow = workflow
        self._store = store
        self._folder = output_dir
        self._on_value = on_value
        self._cancel = cancel

        self._finder = Finder(store, OutputFolder(output_dir))
        self._holdings = Holdings(store)
        self._teller = Teller(on_event)
        self._agenda = Agenda()
        self._cutoff = Cutoff(store, self.program.linker.calls.tasks)
        self._keeper = Keeper(store, workflow.graph.name)
        self._caller = Caller(
            self,
            agenda=self._agenda,
            teller=self._teller,
            store=store,
            settings=settings,
            folder=output_dir,
            provenance=lambda task: self._told_of(task, provenance),
            place_of=self._place_of,
        )
        self._jobs: list[Job] = []
        self._in_loops: list[Job] = []  # those in loops that carry something, but for the ended
        self._points = Points(self.program, self._holdings, window, self._take_up)
        self._loops_checked = False
        self._settling: deque[Job] = deque()
        self._failures: list[NodeError] = []
        self._changed: set[str] = set()  # calls whose outputs another call changed in place
        self._files: dict[Task, tuple[Path, ...]] = {}

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
                self._admit()
                with SetAside(len(self._jobs)):
                    self._work()
                ended = True
            except KeyboardInterrupt:
                stopped = True
            finally:
                self._finish_up(complete=ended and not self._failures)
        self._teller.unneeded(self.program.linker.calls)
        files = tuple(dict.fromkeys(f for files in self._files.values() for f in files))
        summary = self._teller.end(time.perf_counter() - began, files, interrupted=stopped)
        results = gathered_results(
            self.program, self._holdings, self._files, tuple(self._teller.events), summary
        )
        if stopped:
            raise Interrupted(results)
        if self._failures:
            raise RunError(tuple(self._failures), results)
        return results

    def _work(self) -> None:
        agenda, caller, cancel = self._agenda, self._caller, self._cancel
        while True:
            if cancel is not None and cancel.is_set():
                raise KeyboardInterrupt
            if caller.under_way:
                caller.take()
            batch = agenda.next()
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
                if not self._admit():
                    return

    def _finish_up(self, *, complete: bool) -> None:
        """Wait for what is under way; of a run that ends early, keep what it has."""
        self._caller.close()
        if not complete or self._agenda.waits():
            for job in self._jobs:
                self._keeper.rescue(job)
        self._keeper.close()
        for key in self._changed:
            self._store.drop(key)

    # Points

    def _admit(self) -> bool:
        """Take up more points, up to the window; whether there were any."""
        checked, self._loops_checked = self._loops_checked, False
        admitted = self._points.admit()
        if admitted:
            self._tell_unneeded()
        else:
            self._loops_checked = checked
        return admitted

    def _tell_unneeded(self) -> None:
        if self._points.complete:
            self._teller.unneeded(self.program.linker.calls)

    def _ended(self, task: Task) -> None:
        if self._points.window.ended(task):
            self._admit()

    # Jobs: taken up, waiting, ready

    def _take_up(self, needed: Iterable[Task], held: Iterable[Wire]) -> None:
        """Take up calls that are needed, and everything that they need."""
        run, cached = demand(needed, self._finder.found, _is_taken_up)
        self._teller.needed(run)
        for task in cached:
            task.job = Job(task, State.FOUND)
            self._jobs.append(task.job)
            if task.kind.effect:
                self._note_files(task)
        for task in run:
            task.job = Job(task, State.WAITING)
            self._jobs.append(task.job)
            if task.carried:
                self._in_loops.append(task.job)
        unneeded = len(self.program.linker.calls.linked) - len(run)
        self._teller.begin(self._workflow.graph.name, len(run), unneeded, len(self.program.points))
        for task in cached:
            self._teller.found(task)
        for wire in held:
            self._holdings.hold(wire)
        for task in run:
            assert task.job is not None
            self._enlist(task.job)

    def _enlist(self, job: Job) -> None:
        """Let a call wait for what it reads; it is ready if all of that is there."""
        task = job.task
        cause = ""
        for wire in task.sources() if task.nested else [wire for _, wire in task.wires]:
            source = wire.task.job
            assert source is not None
            source.readers[wire.port] += 1
            if source.under_way:
                job.await_source(source)
            elif source.state is State.FAILED or source.state is State.SKIPPED:
                cause = wire.task.name
        if cause:
            self._skip(job, cause)
        elif not job.waiting:
            self._ready(job)

    def _ready(self, job: Job) -> None:
        if self._cutoff.find(job) and self._finder.found(job.task):
            self._found(job)
            return
        if job.task.carried and not self._loops_checked:
            self._loops_checked = True
            self._cut_loops()
            if job.state is not State.WAITING:
                return
        kind = job.task.kind
        if kind.stacked is None:
            self._agenda.add(job)
            return
        args = self.arguments(job)
        if args is None:
            return
        tokens = job.task.tokens
        shared = b"".join([t for i, t in enumerate(tokens) if i not in kind.stacked])
        shape = tuple(signature(args[i]) for i in kind.stacked)
        self._agenda.add_batchable(job, shared, shape, args)

    def arguments(self, job: Job) -> list[Any] | None:
        """The arguments of a call; None if it has to wait again for one of them."""
        args = self._holdings.arguments(job.task)
        if args is None:
            self._postpone(job)
        return args

    def _postpone(self, job: Job) -> None:
        """Let a call wait for what was lost: a damaged entry, or one thrown out meanwhile."""
        for wire in job.task.sources():
            if self._holdings.get(wire) is not FREED:
                continue
            source = wire.task.job
            assert source is not None
            if source.state is State.FAILED or source.state is State.SKIPPED:
                self._skip(job, wire.task.name)
                return
            job.await_source(source)
            if not source.under_way:
                self._teller.again(source)
                source.begin_again()
                if source.task.carried:
                    self._in_loops.append(source)
                self._take_up([w.task for w in source.task.sources()], [])
                self._enlist(source)

    def _value_of(self, wire: Wire) -> Any:  # noqa: ANN401 - any value
        """The value of a wire for the linker: computed by now, or in the store; else MISSING."""
        job = wire.task.job
        if job is None:
            return self._finder.value_of(wire)
        value = self._holdings.get(wire)
        return MISSING if value is FREED else value

    # Found by content

    def _found(self, job: Job) -> None:
        """A call that was to run is in the store after all."""
        job.state = State.FOUND
        job.stored = True
        if job.task.kind.effect:
            self._note_files(job.task)
        self._teller.cached(job.task)
        self._settle(job)

    def _cut_loops(self) -> None:
        """Look the last passes of loops up by content, and spare what only they need."""
        self._in_loops = list(dict.fromkeys(job for job in self._in_loops if job.under_way))
        waiting = [job for job in self._in_loops if job.state is State.WAITING]
        waiting.sort(key=lambda job: job.task.number)
        found, spared = self._cutoff.cut_loops(waiting, self._points.needed)
        for job in found:
            self._teller.cached(job.task)
        for job in spared:
            self._teller.cached(job.task)
            self._holdings.release_sources(job.task)
        for job in found:
            self._settle(job)

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
        self._settle(job)

    def wrote(self, job: Job, outputs: list[Any], folder: OutputFolder) -> None:
        """An effect wrote files."""
        task = job.task
        values = dict(zip(task.kind.ports, outputs, strict=True))
        values[RECORD] = [dict(file) for file in folder.written]
        self._files[task] = tuple(self._folder / file["path"] for file in folder.written)
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
            self._skip(dependent, job.task.name)
        self._ended(job.task)

    def _settle(self, job: Job) -> None:
        """The outputs of a call are there: hand them on, one call after the other.

        What is handed on may be found to settle others at once, in a long chain.
        """
        settling = self._settling
        settling.append(job)
        if len(settling) > 1:
            return
        while settling:
            self._hand_on(settling[0])
            settling.popleft()

    def _hand_on(self, job: Job) -> None:
        task = job.task
        self._holdings.release_sources(task)
        for dependent in job.take_dependents():
            dependent.waiting -= 1
            if not dependent.waiting and dependent.state is State.WAITING:
                self._ready(dependent)
        if task in self._points.stuck:
            self._points.link()
            self._tell_unneeded()
        self._ended(task)

    def _skip(self, job: Job, cause: str) -> None:
        """A call cannot run, nor can what depends on it."""
        stack = [job]
        while stack:
            job = stack.pop()
            if job.state is not State.WAITING:
                continue
            job.state = State.SKIPPED
            self._teller.skipped(job.task, cause)
            self._holdings.release_sources(job.task)
            stack += job.take_dependents()
            self._ended(job.task)

    # What is told

    def _note_files(self, task: Task) -> None:
        entry = self._store.get(task.key)
        if entry is not None:
            records: Any = entry.values.get(RECORD, ())
            self._files[task] = tuple(self._folder / record["path"] for record in records)

    def _told_of(
        self, task: Task, provenance: Callable[[Program, Point], Mapping[str, Any]] | None
    ) -> Mapping[str, Any]:
        if provenance is None:
            return {}
        return provenance(self.program, self.program.points[task.scope.point])

    def _place_of(self, task: Task) -> Place | None:
        return self._workflow.places.value(task.path)


def _is_taken_up(task: Task) -> bool:
    return task.job is not None

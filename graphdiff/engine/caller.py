"""Makes calls: one, several as one, or an effect beside the run; and judges how they went."""

from __future__ import annotations

import queue
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from graphdiff.engine.agenda import Agenda
from graphdiff.engine.errors import NodeError, OutOfMemory
from graphdiff.engine.gradients import NoGradients, import_torch, loaded_torch
from graphdiff.engine.guard import Guard, MutationError, shapes
from graphdiff.engine.job import Job, State
from graphdiff.engine.mutation import ArgumentGuards, changed_before, first_changed
from graphdiff.engine.outputs import OutputFolder
from graphdiff.engine.store import Store
from graphdiff.engine.task import Task
from graphdiff.engine.teller import Teller
from graphdiff.engine.worker import Worker
from graphdiff.graph.node import Settings
from graphdiff.graph.spec import Place
from graphdiff.pressure import give_back, relieve

_AHEAD = 8  # effects that may wait for the worker, since they hold their pictures
_COPY = "a node gives new values and leaves its arguments as they are; copy it first"


class Outcomes(Protocol):
    """Who is told how calls went."""

    def finish(self, job: Job, outputs: list[Any], seconds: float, batch: int) -> None:
        """A call gave its outputs."""
        ...

    def wrote(self, job: Job, outputs: list[Any], folder: OutputFolder) -> None:
        """An effect wrote files; it is finished next."""
        ...

    def fail(self, job: Job, error: NodeError, seconds: float) -> None:
        """A call failed."""
        ...


class Caller:
    """Makes calls, in the thread of the run; effects in a worker's, one after the other.

    An effect that nothing else is to be done beside is called in the thread of the run too.

    Attributes:
        under_way: How many effects the worker has.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        *,
        arguments: Callable[[Job], list[Any] | None],
        agenda: Agenda,
        teller: Teller,
        store: Store,
        settings: Settings,
        folder: Path,
        provenance: Callable[[Task], Mapping[str, Any]],
        place_of: Callable[[Task], Place | None],
    ) -> None:
        """Start without any call made.

        Args:
            outcomes: Told how calls went.
            arguments: Those of a call; None if it has to wait again for one of them.
            agenda: Where calls go that have to be tried again.
            teller: Told when calls begin.
            store: Asked for memory where a call has too little.
            settings: For nodes that ask for them.
            folder: Where effects write.
            provenance: What pictures say about where they came from.
            place_of: Where a call is written.
        """
        self.under_way = 0
        self._outcomes = outcomes
        self._arguments = arguments
        self._agenda = agenda
        self._teller = teller
        self._store = store
        self._settings = settings
        self._folder = folder
        self._provenance = provenance
        self._place_of = place_of
        self._worker = Worker("graphdiff-files", ahead=_AHEAD)
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wary = False  # once something was changed in place, all that is read is looked at
        self._guards = ArgumentGuards()

    def call(self, job: Job) -> None:
        """Make one call."""
        task = job.task
        kind = task.kind
        args = self._arguments(job)
        if args is None:
            return
        guards = self._guards.of(task, args)
        if guards and (name := first_changed(guards, closely=self._wary)) is not None:
            self._fail(job, MutationError(changed_before(task, name)), 0.0)
            return
        job.state = State.RUNNING
        if kind.torch:
            import_torch()
        given = dict(zip(kind.names, args))  # noqa: B905 - of one length, and hot
        if kind.effect:
            self._hand_over(job, given)
            return
        if kind.injected:
            self._inject(task, given, None)
        self._teller.started(job, 1)
        began = time.perf_counter()
        try:
            result = kind.fn(**given)
        except (Exception, SystemExit) as error:  # whatever a node raises, the run goes on
            del given, args
            seconds = time.perf_counter() - began
            if guards and (name := first_changed(guards, closely=True)) is not None:
                said = f"failed: {error or type(error).__name__}"
                mutation = MutationError(f"it changed {name} in place, and then {said}; {_COPY}")
                mutation.__cause__ = error
                traceback.clear_frames(error.__traceback__)
                self._fail(job, mutation, seconds)
            else:
                self._failed(job, error, seconds)
            return
        seconds = time.perf_counter() - began
        del given, args
        if guards and (name := first_changed(guards, closely=True)) is not None:
            self._fail(job, MutationError(f"it changed {name} in place: {_COPY}"), seconds)
            return
        self._finish(job, result, seconds, 1)

    def call_batch(self, batch: list[Job]) -> None:
        """Make several calls of one node as one."""
        found = [(job, args) for job in batch if (args := self._arguments(job)) is not None]
        if len(found) < 2:
            for job, _ in found:
                self.call(job)
            return
        jobs = [job for job, _ in found]
        rows = [args for _, args in found]
        del found
        kind = jobs[0].task.kind
        assert kind.batch is not None
        assert kind.stacked is not None
        guards: dict[str, tuple[Guard, ...]] = {}
        for job, args in zip(jobs, rows, strict=True):
            for name, guarded in self._guards.of(job.task, args).items():
                guards[f"{name} of {job.task.name}"] = guarded
        if self._wary and first_changed(guards, closely=True) is not None:
            for job in jobs:  # so that each is told of what was changed before
                self.call(job)
            return
        if kind.torch:
            import_torch()
        given = dict(zip(kind.names, rows[0], strict=True))
        for i in kind.stacked:
            given[kind.names[i]] = [args[i] for args in rows]
        self._inject(jobs[0].task, given, None)
        for job in jobs:
            job.state = State.RUNNING
            self._teller.started(job, len(jobs))
        began = time.perf_counter()
        try:
            results = list(kind.batch(**given))
            if len(results) != len(jobs):
                raise TypeError(f"its batched form gave {len(results)} results for {len(jobs)}")
        except (Exception, SystemExit) as error:
            del given, rows, args
            self._failed_batch(jobs, error)
            return
        seconds = (time.perf_counter() - began) / len(jobs)
        del given, rows, args
        name = first_changed(guards, closely=True) or ""
        for job, result in zip(jobs, results, strict=True):
            if name:
                self._fail(job, MutationError(f"it changed {name} in place: {_COPY}"), seconds)
            else:
                self._finish(job, result, seconds, len(jobs))

    # Effects

    def wait(self) -> None:
        """Wait a little for an effect to be done."""
        try:
            self._done.get(timeout=0.1)()
            self.under_way -= 1
        except queue.Empty:
            pass

    def take(self) -> None:
        """Take what effects gave that are done."""
        while self.under_way:
            try:
                done = self._done.get_nowait()
            except queue.Empty:
                return
            done()
            self.under_way -= 1

    def close(self) -> None:
        """Wait for all effects."""
        self._worker.close()
        self.take()

    def _hand_over(self, job: Job, given: dict[str, Any]) -> None:
        """Let the worker call an effect, so that files are written beside the run."""
        task = job.task
        folder = OutputFolder(self._folder, self._provenance(task))
        self._inject(task, given, folder)
        self._teller.started(job, 1)
        fn = task.kind.fn

        def work() -> Callable[[], None]:
            began = time.perf_counter()
            try:
                with NoGradients():
                    result = fn(**given)
            except BaseException as error:  # even an exit must not be lost in a thread
                if isinstance(error, KeyboardInterrupt) and not beside:
                    raise
                spent, raised = time.perf_counter() - began, error
                return lambda: self._fail(job, raised, spent)
            seconds = time.perf_counter() - began
            given.clear()
            return lambda: self._finish(job, result, seconds, 1, folder)

        beside = self._agenda.waits() or self.under_way > 0
        if beside:
            self.under_way += 1
            self._worker.submit(lambda: self._done.put(work()))
            self._worker.start()
        else:
            work()()

    def _inject(self, task: Task, given: dict[str, Any], folder: OutputFolder | None) -> None:
        for name, wanted in task.kind.injected.items():
            if wanted is Settings:
                given[name] = self._settings
            else:
                given[name] = folder or OutputFolder(self._folder, self._provenance(task))

    # How calls went

    def _finish(
        self,
        job: Job,
        result: Any,  # noqa: ANN401 - what the node gave
        seconds: float,
        batch: int,
        folder: OutputFolder | None = None,
    ) -> None:
        kind = job.task.kind
        outputs: list[Any] = []
        if kind.single and kind.gives is not None and not isinstance(result, kind.gives):
            wanted = " or ".join(each.__name__ for each in kind.gives)
            given = type(result).__name__
            self._fail(job, TypeError(f"it gave {given}, but declares {wanted}"), seconds)
            return
        if kind.single:
            outputs = [result]
        elif _is_row(result):
            outputs = list(result)
        if len(outputs) != len(kind.ports):
            names = ", ".join(kind.ports)
            given = type(result).__name__
            self._fail(job, TypeError(f"it gave {given}, not ({names})"), seconds)
            return
        del result
        if folder is not None:
            job.seconds = seconds
            self._outcomes.wrote(job, outputs, folder)
        self._outcomes.finish(job, outputs, seconds, batch)

    def _failed_batch(self, jobs: list[Job], error: BaseException) -> None:
        """What to do when several calls failed as one: fewer at a time, or each by itself."""
        if is_out_of_memory(error) and not self._make_room():
            self._agenda.halve(jobs[0].task.kind, len(jobs))
        for job in jobs:
            job.state = State.WAITING
            if is_out_of_memory(error):
                self._agenda.again(job)
            else:  # so that only what is wrong fails
                self._agenda.add(job)

    def _failed(self, job: Job, error: BaseException, seconds: float) -> None:
        if not is_out_of_memory(error):
            self._fail(job, error, seconds)
            return
        self._make_room()
        if not job.retried:  # what the cache held may have been what was in the way
            job.retried = True
            job.state = State.WAITING
            self._agenda.add(job)
            return
        task = job.task
        said = shapes(self._arguments(job) or [])
        message = (
            f"out of memory{f' on {said}' if said else ''}: lower the size of the picture or the "
            "number of pictures, use a smaller dtype, or allow less memory for weights"
        )
        wrapped = OutOfMemory(task.name, task.kind.node.name, message, self._place_of(task))
        wrapped.__cause__ = error
        self._fail(job, wrapped, seconds)

    def _fail(self, job: Job, error: BaseException, seconds: float) -> None:
        traceback.clear_frames(error.__traceback__)  # they hold the arguments, which may be large
        if not isinstance(error, NodeError):
            task = job.task
            said = str(error)
            if isinstance(error, MutationError):
                self._wary = True
            else:
                said = f"{type(error).__name__}: {said}" if said else type(error).__name__
                said += _where_nan_began(task)
            wrapped = NodeError(task.name, task.kind.node.name, said, self._place_of(task))
            wrapped.__cause__ = error
            error = wrapped
        self._outcomes.fail(job, error, seconds)

    def _make_room(self) -> bool:
        """Let go of what the cache and others hold on devices; whether that was anything."""
        dropped = self._store.drop_device()
        gave = relieve()
        if loaded_torch() is not None:
            give_back()
        return dropped > 0 or gave


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full, on a device or on the host."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "can't allocate memory" in said
    )


def _is_row(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def _where_nan_began(task: Task) -> str:
    """The call that first gave what is no number, if something that a call was made of did."""
    first: Task | None = None
    seen: set[Task] = set()
    waiting = [wire.task for wire in task.sources()]
    while waiting:
        source = waiting.pop()
        if source in seen or source.job is None:
            continue
        seen.add(source)
        if source.job.nan and (first is None or source.number < first.number):
            first = source
        waiting += [wire.task for wire in source.sources()]
    if first is None:
        return ""
    return f" (the first value that is no number came from {first.name}, a {first.kind.node.name})"

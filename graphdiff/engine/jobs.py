"""The calls of a run on their way: taken up, waiting for what they read, ready, handing on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from graphdiff.engine.agenda import Agenda
from graphdiff.engine.cutoff import Cutoff
from graphdiff.engine.guard import signature
from graphdiff.engine.holdings import Holdings
from graphdiff.engine.job import FREED, Job, State
from graphdiff.engine.outputs import OutputFolder, refuse_unwritable
from graphdiff.engine.plan import RECORD, Finder, demand
from graphdiff.engine.points import Points
from graphdiff.engine.program import Program
from graphdiff.engine.store import Store
from graphdiff.engine.task import Task, Wire
from graphdiff.engine.teller import Teller
from graphdiff.graph.node import Outputs
from graphdiff.graph.spec import MISSING

_ENDED: Final = frozenset((State.FOUND, State.DONE, State.SPARED))


class Jobs:
    """The jobs of a run.

    Attributes:
        all: All of them.
        files: What effects wrote, or had written before.
        points: The points of the run.
    """

    def __init__(
        self,
        program: Program,
        *,
        agenda: Agenda,
        teller: Teller,
        holdings: Holdings,
        store: Store,
        folder: Path,
        window: int,
        told: Callable[[Task], Mapping[str, Any]],
    ) -> None:
        """Start without any.

        Args:
            program: The run.
            agenda: Where calls go that are ready.
            teller: Told what becomes of calls that do not run.
            holdings: The values of the run.
            store: Where values are looked up.
            folder: Where effects write.
            window: How many points are under way at a time.
            told: What pictures say about where they came from.
        """
        self.all: list[Job] = []
        self.files: dict[Task, tuple[Path, ...]] = {}
        self.points = Points(program, holdings, window, self._take_up)
        self._program = program
        self._agenda = agenda
        self._teller = teller
        self._holdings = holdings
        self._store = store
        self._folder = folder
        self._finder = Finder(store, OutputFolder(folder))
        self._cutoff = Cutoff(store, program.linker.calls.tasks, told)
        self._in_loops: list[Job] = []  # those in loops that carry something, but for the ended
        self._loops_checked = False
        self._writable = False
        self._settling: deque[Job] = deque()

    # Points

    def admit(self) -> bool:
        """Take up more points, up to the window; whether there were any."""
        checked, self._loops_checked = self._loops_checked, False
        admitted = self.points.admit()
        if admitted:
            self._tell_unneeded()
        else:
            self._loops_checked = checked
        return admitted

    def _tell_unneeded(self) -> None:
        if self.points.complete:
            self._teller.unneeded(self._program.linker.calls)

    def ended(self, task: Task) -> None:
        """A call has an outcome: it ran, failed or cannot run."""
        if self.points.window.ended(task):
            self.admit()

    # Jobs: taken up, waiting, ready

    def _take_up(
        self, needed: Iterable[Task], held: Iterable[Wire], asked: Iterable[Wire] = ()
    ) -> None:
        """Take up calls that are needed, and everything that they need.

        Args:
            needed: The calls.
            held: Outputs that have one reader more; who gave them may have freed them by now.
            asked: Outputs whose values linking waits for, at once.
        """
        run, cached = demand(needed, self._finder.found, _is_taken_up)
        self._teller.needed(run)
        for task in cached:
            task.job = Job(task, State.FOUND)
            self.all.append(task.job)
            if task.kind.effect:
                self._note_files(task)
        for task in run:
            if task.kind.effect and not self._writable and _writes(task):
                refuse_unwritable(self._folder)  # before what is to be written is computed
                self._writable = True
            task.job = Job(task, State.WAITING)
            self.all.append(task.job)
            if task.carried:
                self._in_loops.append(task.job)
        unneeded = len(self._program.linker.calls.linked) - len(run)
        name, points = self._program.workflow.graph.name, len(self._program.points)
        self._teller.begin(name, len(run), unneeded, points)
        for task in cached:
            self._teller.found(task)
        for wire in held:
            self._holdings.hold(wire)
        for task in run:
            assert task.job is not None
            self._enlist(task.job)
        for wires, ended in ((asked, _ENDED), (held, _ENDED - {State.FOUND})):
            for wire in wires:
                job = wire.task.job
                assert job is not None
                if job.state in ended and self._holdings.get(wire) is FREED:
                    self._begin_again(job)

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
            self.skip(job, cause)
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
                self.skip(job, wire.task.name)
                return
            job.await_source(source)
            if not source.under_way:
                self._begin_again(source)

    def _begin_again(self, job: Job) -> None:
        """Let a call run once more, whose outputs were lost."""
        self._teller.again(job)
        job.begin_again()
        if job.task.carried:
            self._in_loops.append(job)
        self._take_up([wire.task for wire in job.task.sources()], [])
        self._enlist(job)

    def value_of(self, wire: Wire) -> Any:  # noqa: ANN401 - any value
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
        self.settle(job)

    def _cut_loops(self) -> None:
        """Look the last passes of loops up by content, and spare what only they need."""
        self._in_loops = list(dict.fromkeys(job for job in self._in_loops if job.under_way))
        waiting = [job for job in self._in_loops if job.state is State.WAITING]
        waiting.sort(key=lambda job: job.task.number)
        found, spared = self._cutoff.cut_loops(waiting, self.points.needed)
        for job in found:
            self._teller.cached(job.task)
        for job in spared:
            self._teller.cached(job.task)
            self._holdings.release_sources(job.task)
        for job in found:
            self.settle(job)

    # What they gave, handed on

    def settle(self, job: Job) -> None:
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
        if task in self.points.stuck:
            self.points.link()
            self._tell_unneeded()
        self.ended(task)

    def skip(self, job: Job, cause: str) -> None:
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
            self.ended(job.task)

    def _note_files(self, task: Task) -> None:
        entry = self._store.get(task.key)
        if entry is not None:
            records: Any = entry.values.get(RECORD, ())
            self.files[task] = tuple(self._folder / record["path"] for record in records)


def _writes(task: Task) -> bool:
    """Whether a call is given the output folder."""
    return Outputs in task.kind.injected.values()


def _is_taken_up(task: Task) -> bool:
    return task.job is not None

"""Runs of workflows with everything around them: nodes, settings, cache, output folder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypedDict, Unpack

from graphdiff.engine.errors import Interrupted, RunError
from graphdiff.engine.events import Watcher
from graphdiff.engine.opening import Cache as Cache
from graphdiff.engine.opening import open_store
from graphdiff.engine.outputs import OutputFolder
from graphdiff.engine.plan import Plan
from graphdiff.engine.plan import plan as plan_program
from graphdiff.engine.program import Point, PointInputs, Program
from graphdiff.engine.provenance import provenance
from graphdiff.engine.relink import LinkedRuns
from graphdiff.engine.reread import Runnable, Workflows
from graphdiff.engine.results import Results
from graphdiff.engine.run import WINDOW, Cancel, Runner, ValueWatcher
from graphdiff.engine.store import CacheWarning, Tiered
from graphdiff.engine.sweep import refuse_clashes
from graphdiff.engine.targets import listed
from graphdiff.engine.why import Why, why
from graphdiff.graph.node import Settings
from graphdiff.graph.registry import Registry, load_registry
from graphdiff.graph.workflow import Workflow

if TYPE_CHECKING:
    from graphdiff.engine.diff import Diff

Points: TypeAlias = Sequence[PointInputs] | Mapping[str, Mapping[str, Any]]

_PAUSE = 0.5  # seconds between accounts of runs: edits follow each other quickly, each cheap


class Session:
    """Keeps nodes, weights and what was computed between runs. Several threads may share one.

    Args:
        cache: Where results are kept between runs and processes.
        output_dir: Where effects write.
        device: What nodes compute on: `auto`, `cpu`, `cuda`, `mps`.
        dtype: What nodes compute in: `auto`, `float32`, `bfloat16`, `float16`.
        compile: Whether UNets are compiled, which takes a minute before it saves time.
        exact: Whether calls are never batched, so that results are the same to the last bit.
        extra: Further settings for plan nodes that ask for them.
        nodes: Python files, or folders of them, with more nodes than the installed ones.
        registry: The nodes there are, instead of the installed ones.
        metadata: Whether pictures say where they came from.
        window: How many points of a sweep are under way at a time.
    """

    def __init__(
        self,
        *,
        cache: Cache = True,
        output_dir: Path | str = "outputs",
        device: str = "auto",
        dtype: str = "auto",
        compile: bool = False,
        exact: bool = False,
        extra: Mapping[str, str] | None = None,
        nodes: Sequence[Path] = (),
        registry: Registry | None = None,
        metadata: bool = True,
        window: int = WINDOW,
    ) -> None:
        self.registry = registry if registry is not None else load_registry(nodes)
        self.store = open_store(cache)
        self.output_dir = Path(output_dir)
        self.settings = Settings(device, dtype, compile, dict(extra or {}))
        self.exact = exact
        self.metadata = metadata
        self.window = window
        self._workflows = Workflows(self.registry)
        self._runs = LinkedRuns()
        self._closed = False
        self._remembers_from = 0.0

    def __enter__(self) -> Self:
        self._refuse_closed()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is held in memory; nothing can be run in this session any more."""
        self._closed = True
        self._workflows.clear()
        self._runs.clear()
        clear = getattr(getattr(self.store, "memory", None), "clear", None)
        if clear is not None:
            clear()

    def load(
        self, workflow: Runnable, targets: Sequence[str] | None = None
    ) -> tuple[Workflow, Registry]:
        """A workflow checked, with its named parts resolved, and the nodes it may use.

        Raises:
            WorkflowError: with every mistake in it.
            RuntimeError: the session was closed.
        """
        self._refuse_closed()
        return self._workflows.load(workflow, listed(targets))

    def run(
        self,
        workflow: Runnable,
        inputs: Mapping[str, Any] | None = None,
        *,
        targets: Sequence[str] | None = None,
        on_event: Watcher | None = None,
        on_value: ValueWatcher | None = None,
        cancel: Cancel | None = None,
    ) -> Results:
        """Run a workflow.

        Args:
            workflow: A file, or what was built in Python.
            inputs: Values of its inputs by name.
            targets: Nodes or outputs to compute, with what they need; all outputs and effects
                without.
            on_event: Told what happens, in the thread that runs.
            on_value: Told the outputs of each call that runs, by port.
            cancel: Stops the run at its next call once it is set.

        Raises:
            WorkflowError: the workflow, an input, a target or a file is wrong; nothing has run.
            RunError: a node failed; what does not depend on it was done and kept.
            Interrupted: the run was stopped; what was computed is kept.
        """
        points = [PointInputs(inputs or {})]
        return self._ran(self._runner(workflow, points, targets, on_event, on_value, cancel))

    def run_many(
        self,
        workflow: Runnable,
        points: Points,
        *,
        targets: Sequence[str] | None = None,
        on_event: Watcher | None = None,
        on_value: ValueWatcher | None = None,
        cancel: Cancel | None = None,
    ) -> Results:
        """Run a workflow for several sets of inputs, as one run that shares what they share.

        Args:
            workflow: A file, or what was built in Python.
            points: The sets of inputs, by what tells them apart (`"seed=3"`).
            targets: As for `run`.
            on_event: As for `run`; names of calls begin with their point's label.
            on_value: As for `run`.
            cancel: As for `run`.

        Returns:
            Results whose `points` are the results of each set, in order.

        Raises:
            WorkflowError: as for `run`; two points that would write one file as well.
        """
        sets = point_inputs(points)
        runner = self._runner(workflow, sets, targets, on_event, on_value, cancel)
        refuse_clashes(runner.program)
        results = self._ran(runner)
        if results.points:
            return results
        return Results({}, results.files, results.events, results.summary, points=(results,))

    def plan(
        self,
        workflow: Runnable,
        inputs: Mapping[str, Any] | None = None,
        *,
        points: Points | None = None,
        targets: Sequence[str] | None = None,
    ) -> Plan:
        """What `run`, or with `points` `run_many`, would do.

        Raises:
            WorkflowError: the workflow, an input, a target or a file is wrong.
        """
        whole, registry = self.load(workflow, targets)
        return plan_program(
            whole,
            inputs if points is None else point_inputs(points),
            registry=registry,
            settings=self.settings,
            store=self.store,
            outputs=OutputFolder(self.output_dir),
            targets=targets,
            exact=self.exact,
        )

    def why(
        self,
        workflow: Runnable,
        node: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        targets: Sequence[str] | None = None,
    ) -> Why:
        """Why a call would run again, or not: see `why`.

        Raises:
            KeyError: no call has this name.
        """
        return why(self.plan(workflow, inputs, targets=targets), node, self.store)

    def diff(
        self,
        first: Runnable,
        second: Runnable,
        first_inputs: Mapping[str, Any] | None = None,
        second_inputs: Mapping[str, Any] | None = None,
    ) -> Diff:
        """What the second of two workflows computes that the first does not.

        Raises:
            WorkflowError: one of them is wrong.
        """
        from graphdiff.engine.diff import diff

        return diff(self.plan(first, first_inputs), self.plan(second, second_inputs))

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RuntimeError(
                "this session was closed: open another one, or do this inside its `with` block"
            )

    def _ran(self, runner: Runner) -> Results:
        """Run, and let the cache remember what was run, to tell later why something runs again."""
        try:
            results = runner.run()
        except (RunError, Interrupted) as error:
            self._remember(runner.program, error.results, complete=False)
            raise
        self._remember(runner.program, results, complete=True)
        self._runs.give(runner.program)
        return results

    def _remember(self, program: Program, results: Results, *, complete: bool) -> None:
        disk = self.store.disk if isinstance(self.store, Tiered) else self.store
        folder: Path | None = getattr(disk, "folder", None)
        now = time.monotonic()
        if folder is not None and results.summary.ran and now >= self._remembers_from:
            from graphdiff.engine.history import record

            self._remembers_from = now + _PAUSE
            try:
                record(folder, program, results.events, complete=complete)
            except Exception as error:  # what a run gave is not lost for what is told of it later
                what = f"why calls run again will not be told of this run: {error!r}"
                warnings.warn(what, CacheWarning, stacklevel=4)

    def _runner(
        self,
        workflow: Runnable,
        points: Sequence[PointInputs],
        targets: Sequence[str] | None,
        on_event: Watcher | None,
        on_value: ValueWatcher | None,
        cancel: Cancel | None,
    ) -> Runner:
        whole, registry = self.load(workflow, targets)
        settings = self.settings.told()

        def told(program: Program, point: Point) -> Mapping[str, Any]:
            return provenance(program, point, settings)

        return Runner(
            whole,
            points,
            registry=registry,
            settings=self.settings,
            store=self.store,
            output_dir=self.output_dir,
            targets=targets,
            exact=self.exact,
            provenance=told if self.metadata else None,
            on_event=on_event,
            on_value=on_value,
            cancel=cancel,
            window=self.window,
            runs=self._runs,
        )


class Options(TypedDict, total=False):
    """What a session is opened with: see `Session`."""

    cache: Cache
    output_dir: Path | str
    device: str
    dtype: str
    compile: bool
    exact: bool
    extra: Mapping[str, str] | None
    nodes: Sequence[Path]
    registry: Registry | None
    metadata: bool
    window: int


def run(
    workflow: Runnable,
    inputs: Mapping[str, Any] | None = None,
    *,
    targets: Sequence[str] | None = None,
    on_event: Watcher | None = None,
    **options: Unpack[Options],
) -> Results:
    """Run a workflow once, in a session of its own: see `Session` and `Session.run`.

    Raises:
        WorkflowError: the workflow, an input, a target or a file is wrong; nothing has run.
        RunError: a node failed; what does not depend on it was done and kept.
    """
    return Session(**options).run(workflow, inputs, targets=targets, on_event=on_event)


def run_many(
    workflow: Runnable,
    points: Points,
    *,
    targets: Sequence[str] | None = None,
    on_event: Watcher | None = None,
    **options: Unpack[Options],
) -> Results:
    """Run a workflow for several sets of inputs: see `Session` and `Session.run_many`."""
    return Session(**options).run_many(workflow, points, targets=targets, on_event=on_event)


def plan(
    workflow: Runnable,
    inputs: Mapping[str, Any] | None = None,
    *,
    targets: Sequence[str] | None = None,
    **options: Unpack[Options],
) -> Plan:
    """What `run` with the same arguments would do.

    Raises:
        WorkflowError: the workflow, an input, a target or a file is wrong.
    """
    return Session(**options).plan(workflow, inputs, targets=targets)


def point_inputs(points: Points) -> list[PointInputs]:
    """Sets of inputs with what tells them apart."""
    if isinstance(points, Mapping):
        return [PointInputs(inputs, label) for label, inputs in points.items()]
    return list(points)

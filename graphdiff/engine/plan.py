"""What would run, what is found in the cache, and what nothing needs: without running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from graphdiff.engine.program import PointInputs, Program, Uncollected, unlinked
from graphdiff.engine.store import Store
from graphdiff.engine.targets import ancestors
from graphdiff.engine.task import Task, Wire
from graphdiff.graph.node import Outputs, Settings
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import MISSING
from graphdiff.graph.workflow import Workflow

Status = Literal["run", "cached", "skip"]


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of a plan.

    Args:
        name: Its name, such as `denoise[3].cond`; in a sweep, the point stands before it.
        type: The node's type.
        status: `"run"`: will be computed. `"cached"`: it, or everything that needs it, is in the
            cache. `"skip"`: nothing needs it.
        key: The key of its outputs; empty for what is skipped or not yet known.
        task: The call itself, where it is known.
    """

    name: str
    type: str
    status: Status
    key: str = ""
    task: Task | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Args:
        calls: Every call, each after those that it reads.
        complete: Whether all calls are known; if not, some depend on values that the run gives.
        files: The SHA-256 of each file that is read.
    """

    calls: tuple[PlannedCall, ...]
    complete: bool
    files: Mapping[str, str]

    def __repr__(self) -> str:
        counts = Counter(call.status for call in self.calls)
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"Plan({said or 'nothing'}{'' if self.complete else ', and more'})"

    def count(self, status: Status) -> int:
        """How many calls have this status."""
        return sum(call.status == status for call in self.calls)

    def __getitem__(self, name: str) -> PlannedCall:
        """The call of this name."""
        for call in self.calls:
            if call.name == name:
                return call
        raise KeyError(f"no call is named {name!r}")


def plan(
    workflow: Workflow,
    inputs: Mapping[str, Any] | Sequence[PointInputs] | None = None,
    *,
    registry: Registry,
    settings: Settings | None = None,
    store: Store,
    outputs: Outputs | None = None,
    targets: Sequence[str] | None = None,
    exact: bool = False,
) -> Plan:
    """What a run with the same arguments would do; the same code decides for both.

    Args:
        workflow: The workflow, checked, its parts resolved.
        inputs: Values by name, or several sets of them.
        registry: The node types.
        settings: What plan nodes are told of device and dtype.
        store: Where values are looked up.
        outputs: The output folder, where files of effects are looked up; None for no such check.
        targets: What the run is for; None for the workflow's outputs and effects.
        exact: Whether calls would never be batched.

    Raises:
        WorkflowError: an input, a target or a file is wrong.
    """
    finder = Finder(store, outputs)
    points = [PointInputs(inputs or {})] if isinstance(inputs, Mapping | None) else inputs
    program = Program(
        workflow,
        points,
        registry=registry,
        settings=settings or Settings(),
        value_of=finder.value_of,
        targets=targets,
        exact=exact,
    )
    with Uncollected():
        complete = program.advance()
    needed = [task for point in program.points for task in point.tasks()]
    needed += [wire.task for wire in (*program.linker.stuck, *program.linker.loops.extra)]
    run, _ = demand(needed, finder.found)
    return Plan(
        tuple(_calls(program, {task.key for task in run}, complete=complete)),
        complete,
        program.linker.calls.files,
    )


def demand(
    needed: Iterable[Task],
    found: Callable[[Task], bool],
    known: Callable[[Task], bool] | None = None,
) -> tuple[list[Task], list[Task]]:
    """What has to run so that these calls have their outputs, and what is found instead.

    Args:
        needed: Calls whose outputs are needed.
        found: Whether the outputs of a call need not be computed; asked once for each call.
        known: Whether a call is taken care of already.

    Returns:
        The calls to run, each after those that it reads, and the calls found.
    """
    run: list[Task] = []
    cached: list[Task] = []
    seen: set[Task] = set()
    waiting = list(needed)
    while waiting:
        task = waiting.pop()
        if task in seen or (known is not None and known(task)):
            continue
        seen.add(task)
        if not task.fresh and found(task):
            cached.append(task)
            continue
        run.append(task)
        for _, wire in task.wires:
            waiting.append(wire.task)
        if task.nested:
            waiting += [wire.task for wire in task.sources()]
    run.sort(key=_number)
    return run, cached


def _number(task: Task) -> int:
    return task.number


class Finder:
    """Looks calls up in a store.

    Args:
        store: The store.
        outputs: The output folder, where the files of effects are looked up.
    """

    def __init__(self, store: Store, outputs: Outputs | None) -> None:
        self._store = store
        self._holds: Callable[[Any], bool] | None = getattr(outputs, "holds", None)

    def found(self, task: Task) -> bool:
        """Whether a call's outputs are there; of an effect, the files that it wrote."""
        if task.kind.effect:
            return self.record(task) is not None
        return self._store.has(task.key)

    def record(self, task: Task) -> Any:  # noqa: ANN401 - what the effect gave
        """What an effect gave when it wrote files that are still as it wrote them, else None."""
        entry = self._store.get(task.key)
        if entry is None:
            return None
        if self._holds is not None and not self._holds(entry.values.get(RECORD, ())):
            return None
        return entry

    def value_of(self, wire: Wire) -> Any:  # noqa: ANN401 - any value
        """The value of a wire from the store, or MISSING."""
        task = wire.task
        if task.fresh or not self._store.has(task.key):
            return MISSING
        port = task.kind.ports[wire.port]
        entry = self._store.get(task.key, [port])
        return MISSING if entry is None else entry.values[port]


RECORD = "$files"
"""The port, beside its own, under which the files that an effect wrote are kept."""


def _calls(program: Program, run: set[str], *, complete: bool) -> Iterable[PlannedCall]:
    aliases = program.linker.calls.aliases
    at = 0
    for number, task in enumerate(program.linker.calls.linked):
        while at < len(aliases) and aliases[at][0] <= number:
            yield _alias(aliases[at])
            at += 1
        status: Status = "run" if task.key in run else "cached"
        yield PlannedCall(task.name, task.kind.node.name, status, task.key, task)
    for alias in aliases[at:]:
        yield _alias(alias)
    for point in program.points:
        later: set[str] = set()
        if not complete and (names := [slot.partition(".")[0] for _, slot in point.goals]):
            later = ancestors(program.body.graph, _labels(program, names))
        for name, kind in unlinked(point.scope):
            label = name.removeprefix(point.scope.prefix)
            yield PlannedCall(name, kind, "run" if label in later else "skip")


def _labels(program: Program, slots: Sequence[str]) -> list[str]:
    """The nodes that goals are about; all of them where a goal is about effects or outputs."""
    labels = program.body.labels
    if all(slot in labels for slot in slots):
        return list(slots)
    return list(labels)


def _alias(alias: tuple[int, Any, Any, Task]) -> PlannedCall:
    _, scope, site, task = alias
    return PlannedCall(scope.prefix + site.label, task.kind.node.name, "cached", task.key, task)

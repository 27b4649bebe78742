"""A workflow, or several points of a sweep, being linked: what plan and run have in common."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphdiff.engine.bind import bind
from graphdiff.engine.body import Body, CallSite, IfSite
from graphdiff.engine.kind import kind_of
from graphdiff.engine.layout import Compiler
from graphdiff.engine.link import Linker
from graphdiff.engine.relink import LinkedRuns
from graphdiff.engine.scope import Goal, Passes, Scope
from graphdiff.engine.targets import Wanted, wanted
from graphdiff.engine.task import Form, Task, Wire, wires_in
from graphdiff.graph.node import Settings
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Diagnostic, Graph, GraphPath, WorkflowError
from graphdiff.graph.workflow import Workflow


@dataclass(frozen=True, slots=True)
class PointInputs:
    """One set of inputs.

    Args:
        inputs: Values by name.
        label: What tells it from the others, such as `seed=3`.
    """

    inputs: Mapping[str, Any]
    label: str = ""


class Point:
    """One set of inputs, being linked.

    Attributes:
        label: What tells it from the others.
        scope: The workflow's scope, with the inputs in it.
        goals: The slots that are still to be filled.
        pending: The slots whose values nobody has asked for yet.
    """

    __slots__ = ("goals", "label", "pending", "scope", "slots")

    def __init__(self, label: str, scope: Scope, slots: Sequence[str]) -> None:
        self.label = label
        self.scope = scope
        self.slots = slots
        self.goals: list[Goal] = [(scope, slot) for slot in slots]
        self.pending = list(slots)

    def forms(self) -> Iterator[Form]:
        """What fills the slots that are wanted, as far as they are filled."""
        for slot in self.slots:
            form = self.scope.values.get(slot)
            if form is not None:
                yield form

    def filled(self) -> list[str]:
        """The slots that were filled since the last time this was asked."""
        values = self.scope.values
        new = [slot for slot in self.pending if slot in values]
        self.pending = [slot for slot in self.pending if slot not in values]
        return new

    def tasks(self) -> list[Task]:
        """The calls that give what is wanted."""
        return [wire.task for form in self.forms() for wire in wires_in(form)]


class Program:
    """Everything that is known of a run before it runs.

    Attributes:
        workflow: The workflow.
        body: The same, laid out.
        wanted: What the run is for.
        result_slots: The slots whose values it gives.
        linker: Its calls.
        points: Its sets of inputs.
        laid_out: The body without what the targets add to it.
    """

    def __init__(
        self,
        workflow: Workflow,
        points: Sequence[PointInputs],
        *,
        registry: Registry,
        settings: Settings,
        value_of: Callable[[Wire], Any],
        targets: Sequence[str] | None = None,
        exact: bool = False,
        runs: LinkedRuns | None = None,
    ) -> None:
        """Lay out a workflow that has passed the checker, and bind its inputs.

        Args:
            workflow: The workflow.
            points: Its sets of inputs.
            registry: The node types.
            settings: For nodes that ask for them.
            value_of: The value of a wire, or MISSING while it has none.
            targets: What the run is for; None for the workflow's outputs and effects.
            exact: Whether calls are never batched.
            runs: What earlier runs have linked.

        Raises:
            WorkflowError: an input or a target is wrong, or there is no set of inputs.
        """
        if not points:
            message = "there are no sets of inputs: give at least one, be it empty"
            raise WorkflowError((Diagnostic("nothing-to-run", message),))
        self.workflow = workflow
        body = self.laid_out = laid_out(workflow.graph, registry, exact=exact)
        self.wanted: Wanted = wanted(body, targets)
        self.body: Body = body.with_slots(self.wanted.inside)
        slots = self.wanted.slots()
        self.result_slots = frozenset(s for p in self.wanted.results.values() for s in p.values())
        self.points = [
            Point(p.label, bind(self.body, p.inputs, label=p.label, point=i), slots)
            for i, p in enumerate(points)
        ]
        earlier = runs.take(body, slots) if runs is not None and len(points) == 1 else None
        self.linker = Linker(settings, value_of, body.evaluated, earlier)

    def advance(self, points: Sequence[Point] | None = None) -> bool:
        """Link as much of these points as can be; whether nothing is left to link.

        Raises:
            WorkflowError: what is found wrong on the way, with its places.
        """
        goals: list[tuple[Point, Goal]] = []
        for point in self.points if points is None else points:
            goals += [(point, goal) for goal in point.goals]
            point.goals = []
        try:
            waiting = self.linker.advance([goal for _, goal in goals])
        except WorkflowError as error:
            raise WorkflowError(tuple(map(self._placed, error.diagnostics))) from None
        if not waiting:
            return True
        left = set(map(_identity, waiting))
        for point, goal in goals:
            if _identity(goal) in left:
                point.goals.append(goal)
        return False

    def _placed(self, diagnostic: Diagnostic) -> Diagnostic:
        if diagnostic.place is not None:
            return diagnostic
        place = self.workflow.places.value(diagnostic.path)
        used = _part_around(diagnostic.path)
        at = self.workflow.places.key(used) if used else None
        if at is None or place is None or at.file == place.file:
            return replace(diagnostic, place=place)
        message = f"{diagnostic.message} (in the part {used[-1]}, {place})"
        return replace(diagnostic, message=message, place=at)


def _part_around(path: GraphPath) -> GraphPath:
    """Where the outermost part is used that a place is in; nothing if it is in none."""
    for i in range(2, len(path) - 1):
        if path[i] == "type" and path[i - 2] == "nodes":
            return path[:i]
    return ()


def _identity(goal: Goal) -> tuple[int, str]:
    return id(goal[0]), goal[1]


class Uncollected:
    """Pauses garbage collection while thousands of small objects are made that all stay.

    Without it, going through them again and again costs more than making them. Several threads may
    be inside at a time.
    """

    _lock = threading.Lock()
    _inside = 0
    _was_on = False

    def __enter__(self) -> None:
        with Uncollected._lock:
            if Uncollected._inside == 0:
                Uncollected._was_on = gc.isenabled()
                gc.disable()
            Uncollected._inside += 1

    def __exit__(self, *_: object) -> None:
        with Uncollected._lock:
            Uncollected._inside -= 1
            if Uncollected._inside == 0 and Uncollected._was_on:
                gc.enable()


_MANY = 2000


class SetAside:
    """Lets garbage collection leave out what there is by now, if it is a lot.

    Args:
        count: How many calls there are.
    """

    def __init__(self, count: int) -> None:
        self._many = count >= _MANY

    def __enter__(self) -> None:
        if self._many:
            gc.freeze()

    def __exit__(self, *_: object) -> None:
        if self._many:
            gc.unfreeze()


_REMEMBERED = 4
_bodies: OrderedDict[tuple[int, int, bool], tuple[Graph, Registry, Body]] = OrderedDict()
_lock = threading.Lock()


def laid_out(graph: Graph, registry: Registry, *, exact: bool = False) -> Body:
    """A graph laid out; the last few are remembered, so that running one again is cheap."""
    key = id(graph), id(registry), exact
    with _lock:
        known = _bodies.get(key)
        if known is not None:
            _bodies.move_to_end(key)
            return known[2]
    with Uncollected():
        body = Compiler(registry, lambda node: kind_of(node, exact=exact)).graph(graph)
    with _lock:
        _bodies[key] = graph, registry, body  # holds both, so that their ids stay theirs
        while len(_bodies) > _REMEMBERED:
            _bodies.popitem(last=False)
    return body


def forget(graph: Graph) -> None:
    """Lay a graph out anew next time."""
    with _lock:
        for key in [key for key, known in _bodies.items() if known[0] is graph]:
            del _bodies[key]


def scopes_in(scope: Scope) -> Iterator[Scope]:
    """A scope and all those in it, in the order of the workflow."""
    waiting = [scope]
    while waiting:
        scope = waiting.pop()
        yield scope
        inside: list[Scope] = []
        for label in scope.body.labels:
            found = scope.values.get(f"${label}")
            if isinstance(found, Passes):
                inside += found.scopes
            elif isinstance(found, Scope):
                inside.append(found)
        waiting += reversed(inside)


def unlinked(scope: Scope) -> Iterator[tuple[str, str]]:
    """Name and type of what stands in a scope, and in those in it, and was never needed."""
    for one in scopes_in(scope):
        for label, site in one.body.labels.items():
            if isinstance(site, IfSite):
                continue
            if isinstance(site, CallSite):
                kind = site.kind
                slot = label if kind.single else f"{label}.{kind.ports[0]}"
                if slot not in one.values and not kind.plan:
                    yield one.prefix + label, kind.node.name
            elif f"${label}" not in one.values:
                element = one.body.elements[label]
                yield one.prefix + label, getattr(element, "type", "Loop")

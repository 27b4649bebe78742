"""What was linked for one run and serves the next: whole loops, where what they read is the same.

A linked loop is a matter of what it reads from around it: where that is the same, so are its calls,
their keys and their wires. What a run knows of its calls is its own (`Job`). A linked loop serves
one run at a time, so that whoever takes it may give it jobs; a run that finds it taken links anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from graphdiff.engine.body import Body, CallSite, LoopSite, PartSite
from graphdiff.engine.scope import Passes, Scope
from graphdiff.engine.task import Form, Known, Many, Step, Task, Wire, wires_in
from graphdiff.engine.values import alike

if TYPE_CHECKING:
    from graphdiff.engine.calls import Alias
    from graphdiff.engine.program import Program

_WORKFLOWS = 4
_MOST_CALLS = 10_000  # some 15 MB


@dataclass(frozen=True, slots=True, eq=False)
class LinkedLoop:
    """A loop that is linked to its end, with all that its outputs need.

    Args:
        passes: Its passes.
        reads: What it found in the slots around it, in the order in which it read them.
        outputs: The slots of those of its outputs that were asked for; each needs all of its calls.
        tasks: Its calls, each after those that it reads.
        aliases: Calls in it that are equal to one of these, or to one around it.
        around: The calls around it that these read or are equal to, or whose outputs it hands on.
        steps: Which calls end a pass of it, or of a loop in it.
    """

    passes: Passes
    reads: tuple[tuple[str, Form], ...]
    outputs: frozenset[str]
    tasks: tuple[Task, ...]
    aliases: tuple[Alias, ...]
    around: frozenset[Task]
    steps: tuple[tuple[Task, Step], ...]

    def mark(self) -> None:
        """Note which calls end a pass; other loops that these end one of do so themselves."""
        for task in self.tasks:
            task.steps = ()
        for task, step in self.steps:
            task.steps = (*task.steps, step)


class Linked:
    """What was linked for a run.

    Attributes:
        tasks: The calls that are in no loop, by key.
        loops: The loops that are in no other, by where they stand.
    """

    __slots__ = ("loops", "tasks")

    def __init__(self, tasks: dict[str, Task], loops: dict[Place, LinkedLoop]) -> None:
        self.tasks = tasks
        self.loops = loops


Place: TypeAlias = tuple[LoopSite, str]
"""A loop as it stands in a graph, and what the names of what is around it begin with."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What a run leaves behind of its linking, to be sorted out if another one asks for it."""

    tasks: list[Task]
    aliases: list[Alias]
    adopted: dict[Place, LinkedLoop]


class LinkedRuns:
    """What the last few runs of a session have linked. Several threads may share it."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Left] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, body: Body, slots: Iterable[str]) -> Linked | None:
        """What the last run of a workflow for the same slots has linked: whoever asks owns it."""
        with self._lock:
            left = self._known.pop((body, *slots), None)
        return _sorted_out(left) if left is not None else None

    def give(self, program: Program) -> None:
        """Keep what a run has linked that has ended well, and of which nothing is used any more."""
        linker = program.linker
        calls = linker.calls
        if len(program.points) > 1 or not linker.loops.any or len(calls.linked) > _MOST_CALLS:
            return
        if linker.consulted or program.wanted.inside:
            return  # what is linked may be a matter of values of the run, or of what was asked for
        for task in calls.linked:
            task.job = None
        with self._lock:
            left = _Left(calls.linked, calls.aliases, linker.loops.adopted)
            self._known[(program.laid_out, *program.points[0].slots)] = left
            while len(self._known) > _WORKFLOWS:
                self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()


def same(now: Form, before: Form) -> bool:
    """Whether a slot holds what it held: values that are alike, or outputs of the same calls."""
    if now is before:
        return True
    if isinstance(now, Known) and isinstance(before, Known):
        if now.token != before.token or now.base != before.base:
            return False
        return alike(now.value, before.value)
    if isinstance(now, Many) and isinstance(before, Many):
        one, other = now.items, before.items
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(same, one, other))
        if isinstance(one, dict) and isinstance(other, dict):
            return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    return False


def _sorted_out(left: _Left) -> Linked:
    """The calls around loops, and the loops that can be taken over as a whole."""
    loops = dict(left.adopted)
    known = {id(loop.passes): place for place, loop in loops.items()}
    settled = {task for loop in loops.values() for task in loop.tasks}
    around: dict[str, Task] = {}
    inside: dict[Passes, list[Task]] = {}
    for task in left.tasks:
        if task in settled:
            continue
        passes = _outermost(task.scope)
        if passes is None:
            around[task.key] = task
        elif id(passes) in known:
            loops.pop(known[id(passes)], None)  # another output of it was asked for
        else:
            inside.setdefault(passes, []).append(task)
    if inside:
        aliases: dict[Passes | None, list[Alias]] = {}
        for alias in left.aliases:
            aliases.setdefault(_outermost(alias[1]), []).append(alias)
        for passes, tasks in inside.items():
            loop = _linked_loop(passes, tasks, aliases.get(passes, []))
            if loop is not None:
                loops[passes.site, passes.scope.prefix] = loop
    return Linked(around, loops)


def _outermost(scope: Scope | None) -> Passes | None:
    """The loop that a scope is in and that is in no other."""
    found: Passes | None = None
    while scope is not None:
        found = scope.loop or found
        scope = scope.outer if scope.parent is None else scope.parent
    return found


def _linked_loop(passes: Passes, tasks: list[Task], aliases: list[Alias]) -> LinkedLoop | None:
    site, scope = passes.site, passes.scope
    if not is_closed(site):
        return None
    inside = frozenset(tasks)
    around = {wire.task for task in tasks for wire in task.sources()}
    around |= {task for _, _, _, task in aliases}
    around |= {task for pass_ in passes.scopes for task in _handed_on(pass_)}
    around -= inside
    slots = (f"{site.label}.{name}" for name in (*site.names, *site.collect))
    outputs = frozenset(slot for slot in slots if slot in scope.values)
    if not all(_needs_all(scope.values[slot], inside) for slot in outputs):
        return None  # a run that asks for only one of them would have to link less
    reads = tuple((slot, scope.values[slot]) for slot in passes.reads)
    if any(wire.task in inside for _, form in reads for wire in wires_in(form)):
        return None  # a call around it is equal to one in it, and linked after that
    name = scope.prefix + site.label
    steps = tuple(
        (task, step)
        for task in (*tasks, *sorted(around, key=lambda task: task.number))
        for step in task.steps
        if step[0] == name or step[0].startswith(f"{name}[")
    )
    return LinkedLoop(
        passes, reads, outputs, tuple(tasks), tuple(aliases), frozenset(around), steps
    )


def _handed_on(scope: Scope) -> Iterator[Task]:
    """The calls whose outputs stand in a scope; those from around a loop may only pass through."""
    for held in scope.values.values():
        if isinstance(held, Wire | Many):
            for wire in wires_in(held):
                yield wire.task
        elif isinstance(held, Passes):
            for inner in held.scopes:
                yield from _handed_on(inner)
        elif isinstance(held, Scope):
            yield from _handed_on(held)


def _needs_all(output: Form, tasks: frozenset[Task]) -> bool:
    """Whether an output of a loop needs all the calls of it that are linked."""
    seen: set[Task] = set()
    waiting = [wire.task for wire in wires_in(output)]
    while waiting:
        task = waiting.pop()
        if task in tasks and task not in seen:
            seen.add(task)
            waiting += [wire.task for wire in task.sources()]
    return len(seen) == len(tasks)


def is_closed(site: LoopSite) -> bool:
    """Whether how a loop is linked is a matter of what it reads, and linking it has no effect."""
    if site.closed is None:
        site.closed = not site.until and all(_closed(site.body))
    return site.closed


def _closed(body: Body) -> Iterator[bool]:
    for inner in body.labels.values():
        if isinstance(inner, CallSite):
            kind = inner.kind
            yield not (kind.plan or kind.effect or kind.paths or kind.cache == "never")
        elif isinstance(inner, LoopSite):
            yield is_closed(inner)
        elif isinstance(inner, PartSite):
            yield from _closed(inner.body)

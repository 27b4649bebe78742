"""The points of a run, taken up a window at a time and linked as far as can be by now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from graphdiff.engine.holdings import Holdings
from graphdiff.engine.job import State
from graphdiff.engine.program import Point, Program, Uncollected
from graphdiff.engine.task import Task, Wire, wires_in
from graphdiff.engine.window import Window

TakeUp: TypeAlias = Callable[[list[Task], list[Wire], list[Wire]], None]
"""Takes up calls that are needed; the outputs on the first wires are held, linking asks for those
on the second."""


class Points:
    """Which points are under way, and which values linking waits for.

    Args:
        program: The run.
        holdings: Its values.
        size: How many points are under way at a time.
        take_up: Takes up what linking finds to be needed.

    Attributes:
        window: The points under way.
        complete: Whether all of them are linked, to the end.
        stuck: The calls whose values linking waits for.
    """

    def __init__(self, program: Program, holdings: Holdings, size: int, take_up: TakeUp) -> None:
        self.window = Window(program.points, size)
        self.complete = False
        self.stuck: set[Task] = set()
        self._program = program
        self._holdings = holdings
        self._take_up = take_up
        self._awaited: list[Wire] = []
        self._unlinked: list[Point] = []

    def admit(self) -> bool:
        """Take up more points, up to the window; whether there were any."""
        new = self.window.admit()
        if not new:
            return False
        self._unlinked += new
        with Uncollected():
            self.link()
        return True

    def link(self) -> None:
        """Link what can be linked by now, and take up what that needs."""
        self._link()
        while any(task.job is not None and task.job.state is State.FOUND for task in self.stuck):
            self._link()  # another run has given a value since linking asked for it

    def _link(self) -> None:
        linked = self._program.advance([p for p in self._unlinked if p.goals])
        linker = self._program.linker
        needed: list[Task] = []
        held: list[Wire] = []
        ended: list[Point] = []
        for point in self._unlinked:
            for slot in point.filled():
                wires = wires_in(point.scope.values[slot])
                needed += [wire.task for wire in wires]
                if slot in self._program.result_slots:
                    held += wires
            if not point.pending:
                ended.append(point)
        self._unlinked = [point for point in self._unlinked if point.pending]
        awaited = [*linker.stuck, *linker.loops.extra]
        self.stuck = {wire.task for wire in linker.stuck}
        self.complete = self._holdings.complete = linked and self.window.complete
        self._take_up([*needed, *(wire.task for wire in awaited)], [*held, *awaited], linker.stuck)
        for wire in self._awaited:
            self._holdings.release(wire)
        self._awaited = awaited
        for point in ended:
            self.window.watch(point)
        self._holdings.unpin()

    def needed(self) -> set[Task]:
        """The calls that the points under way are for, or that linking waits for."""
        found = {task for point in self.window.under_way() for task in point.tasks()}
        return found | self.stuck | {wire.task for wire in self._awaited}

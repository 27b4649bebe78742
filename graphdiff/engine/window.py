"""Which sets of inputs of a run are under way: so many at a time, the next when one has ended."""

from __future__ import annotations

from collections.abc import Sequence

from graphdiff.engine.program import Point
from graphdiff.engine.task import Task


class Window:
    """The points of a run: to come, under way, ended."""

    def __init__(self, points: Sequence[Point], size: int) -> None:
        """Take up none yet.

        Args:
            points: All of them.
            size: How many may be under way at a time; at least one is.
        """
        self._admitted = 0
        self._points = points
        self._size = max(1, size)
        self._open: dict[int, int] = {}  # how many of its outcomes are to come, by point
        self._ends: dict[Task, list[int]] = {}

    @property
    def complete(self) -> bool:
        """Whether all were taken up."""
        return self._admitted == len(self._points)

    def admit(self) -> list[Point]:
        """Take up more, as far as there is room: those that were."""
        new: list[Point] = []
        while len(self._open) < self._size and not self.complete:
            point = self._points[self._admitted]
            self._admitted += 1
            self._open[point.scope.point] = 1
            new.append(point)
        return new

    def under_way(self) -> list[Point]:
        """Those that were taken up and have not ended."""
        return [self._points[number] for number in self._open]

    def watch(self, point: Point) -> None:
        """Note when a point ends: when every call that it is for has an outcome."""
        number = point.scope.point
        coming = {task for task in point.tasks() if task.job and task.job.under_way}
        if not coming:
            self._open.pop(number, None)
            return
        self._open[number] = len(coming)
        for task in coming:
            self._ends.setdefault(task, []).append(number)

    def awaits(self, task: Task) -> bool:
        """Whether a point is for this call."""
        return task in self._ends

    def ended(self, task: Task) -> bool:
        """Note that a call has an outcome; whether a point ended with it, so that there is room."""
        room = False
        for number in self._ends.pop(task, ()):
            left = self._open.get(number, 0) - 1
            if left > 0:
                self._open[number] = left
            elif self._open.pop(number, None) is not None:
                room = True
        return room

    def give_up(self) -> None:
        """Forget those under way: what is left of them waits for something that failed."""
        self._open.clear()

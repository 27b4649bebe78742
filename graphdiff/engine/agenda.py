"""What is ready to run, and what of it runs next: the agenda.

A call whose inputs are there is either plain, and then runs in the order of the plan, or can be
batched, and then waits in a group with those that it can run as one with. Plain calls run first;
when there are none, the largest group runs, up to its limit. So branches and points fall into step.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from heapq import heappop, heappush
from typing import Any

from graphdiff.engine.job import Job
from graphdiff.engine.kind import Kind


class Group:
    """Calls that can run as one.

    Attributes:
        kind: The node.
        shared: The arguments that all of them have in common, as one key.
        declared: The most that run as one by what the node says; None for as many as there are.
        waiting: The calls, by their number in the plan.
    """

    __slots__ = ("declared", "kind", "shared", "waiting")

    def __init__(self, kind: Kind, shared: bytes, declared: int | None) -> None:
        self.kind = kind
        self.shared = shared
        self.declared = declared
        self.waiting: list[tuple[int, Job]] = []


class Agenda:
    """The calls that are ready.

    Attributes:
        limits: The most calls of a node that run as one, where memory was found to end.
    """

    __slots__ = ("_declared", "_groups", "_plain", "_resident", "limits")

    def __init__(self) -> None:
        self.limits: dict[Kind, int] = {}
        self._plain: list[tuple[int, Job]] = []
        self._groups: dict[Hashable, Group] = {}
        self._declared: dict[Hashable, int | None] = {}
        self._resident: bytes | None = None

    def add(self, job: Job) -> None:
        """A call that runs alone is ready."""
        heappush(self._plain, (job.task.number, job))

    def add_batchable(
        self, job: Job, shared: bytes, signature: Hashable, args: Sequence[Any]
    ) -> None:
        """A call that can run with others is ready.

        Args:
            job: The call.
            shared: What the calls of one batch must have in common: the arguments not stacked.
            signature: The shape of those that are.
            args: Its arguments, by which the node may say how many should run as one.
        """
        kind = job.task.kind
        job.group = shared, signature
        key = kind, shared, signature
        if key not in self._declared:
            self._declared[key] = _declared(kind, args)
        self._wait(job, key)

    def again(self, job: Job) -> None:
        """A call that can run with others is to be tried again."""
        assert job.group is not None
        self._wait(job, (job.task.kind, *job.group))

    def _wait(self, job: Job, key: tuple[Kind, bytes, Hashable]) -> None:
        group = self._groups.get(key)
        if group is None:
            kind, shared, _ = key
            group = self._groups[key] = Group(kind, shared, self._declared[key])
        heappush(group.waiting, (job.task.number, job))

    def next(self) -> list[Job]:
        """What runs next, as one; empty if nothing is ready."""
        if self._plain:
            return [heappop(self._plain)[1]]
        if not self._groups:
            return []
        key, group = max(self._groups.items(), key=lambda item: self._rank(item[1]))
        size = self._size(group)
        batch = [heappop(group.waiting)[1] for _ in range(size)]
        if not group.waiting:
            del self._groups[key]
        self._resident = group.shared
        return batch

    def waits(self) -> bool:
        """Whether anything is ready."""
        return bool(self._plain or self._groups)

    def _size(self, group: Group) -> int:
        size = len(group.waiting)
        for limit in (group.declared, self.limits.get(group.kind)):
            if limit is not None:
                size = min(size, limit)
        return size

    def _rank(self, group: Group) -> tuple[int, bool, int]:
        return self._size(group), group.shared == self._resident, -group.waiting[0][0]

    def halve(self, kind: Kind, tried: int) -> None:
        """Note that `tried` calls as one did not fit."""
        self.limits[kind] = max(1, tried // 2)


def _declared(kind: Kind, args: Sequence[Any]) -> int | None:
    """The most calls like this one that run as one, by what their node says."""
    if kind.limiting is None:
        return kind.limit
    try:
        return max(1, kind.limiting(**{name: args[kind.place[name]] for name in kind.limit_names}))
    except Exception:  # each by itself, so that the calls say what is wrong with their arguments
        return 1

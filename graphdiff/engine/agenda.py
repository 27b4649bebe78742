"""What is ready to run, and what of it runs next: the agenda.

A call whose inputs are there is either plain, and then runs in the order of the plan, or can be
batched, and then waits in a group with those that it can run as one with. Plain calls run first;
when there are none, the largest group runs, up to its limit. So branches and points fall into step.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from heapq import heappop, heappush
from typing import Any, TypeAlias

from graphdiff.engine.job import Job
from graphdiff.engine.kind import Kind

_Key: TypeAlias = tuple[Kind, bytes, Hashable]
"""The node, what its calls share, and the shape of what they do not."""


class Group:
    """Calls that can run as one.

    Attributes:
        kind: The node.
        shared: The arguments that all of them have in common, as one key.
        declared: The most that run as one by what the node says; None for as many as there are.
        waiting: The calls, by their number in the plan.
        ranked: The size and the first number by which it was ranked last.
    """

    __slots__ = ("declared", "kind", "ranked", "shared", "waiting")

    def __init__(self, kind: Kind, shared: bytes, declared: int | None) -> None:
        self.kind = kind
        self.shared = shared
        self.declared = declared
        self.waiting: list[tuple[int, Job]] = []
        self.ranked: tuple[int, int] = (0, 0)


class Agenda:
    """The calls that are ready.

    Attributes:
        limits: The most calls of a node that run as one, where memory was found to end.
    """

    __slots__ = (
        "_count", "_declared", "_groups", "_plain", "_ranking", "_resident", "_sharing", "limits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.limits: dict[Kind, int] = {}
        self._plain: list[tuple[int, Job]] = []
        self._groups: dict[_Key, Group] = {}
        self._ranking: list[tuple[int, int, int, _Key]] = []  # largest first; some out of date
        self._count = 0  # of what was ranked, since keys have no order
        self._sharing: dict[bytes, dict[_Key, Group]] = {}  # the groups by what they share
        self._declared: dict[_Key, int | None] = {}
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

    def _wait(self, job: Job, key: _Key) -> None:
        group = self._groups.get(key)
        if group is None:
            kind, shared, _ = key
            group = self._groups[key] = Group(kind, shared, self._declared[key])
            self._sharing.setdefault(shared, {})[key] = group
        heappush(group.waiting, (job.task.number, job))
        self._rank(key, group)

    def next(self) -> list[Job]:
        """What runs next, as one; empty if nothing is ready."""
        if self._plain:
            return [heappop(self._plain)[1]]
        if not self._groups:
            return []
        key, group = self._largest()
        batch = [heappop(group.waiting)[1] for _ in range(self._size(group))]
        if group.waiting:
            self._rank(key, group)
        else:
            del self._groups[key]
            del self._sharing[group.shared][key]
            if not self._sharing[group.shared]:
                del self._sharing[group.shared]
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

    def _rank(self, key: _Key, group: Group) -> None:
        size, first = group.ranked = self._size(group), group.waiting[0][0]
        self._count += 1
        heappush(self._ranking, (-size, first, self._count, key))

    def _largest(self) -> tuple[_Key, Group]:
        """The largest group; of several, one that shares what ran last, else the first."""
        while True:
            less, first, _, key = self._ranking[0]
            group = self._groups.get(key)
            if group is not None and group.ranked == (-less, first):
                if self._size(group) == -less:
                    break
                self._rank(key, group)  # its limit was lowered meanwhile
            heappop(self._ranking)
        alike = self._sharing.get(self._resident) if self._resident is not None else None
        if alike and group.shared != self._resident:
            near = [item for item in alike.items() if self._size(item[1]) == -less]
            if near:
                return min(near, key=lambda item: item[1].waiting[0][0])
        return key, group

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

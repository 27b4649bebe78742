"""What a run knows of a call that it needs: how far it is, its outputs, who still reads them."""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from graphdiff.engine.guard import Guard
    from graphdiff.engine.task import Task


class State(IntEnum):
    """How far a call is."""

    FOUND = 0
    """Its outputs are in the store."""
    WAITING = 1
    """It will run."""
    RUNNING = 2
    """It runs now."""
    DONE = 3
    """It ran."""
    FAILED = 4
    """It ran, and raised an error."""
    SKIPPED = 5
    """Something that it reads failed."""
    SPARED = 6
    """It need not run after all: what needs it was found by content."""


class Freed:
    """Stands where an output was that nobody reads any more."""

    def __repr__(self) -> str:
        return "FREED"


FREED: Final = Freed()


_NOBODY: Final[list[Job]] = []  # stays empty: most calls that have run have nobody waiting


class Job:
    """A call that a run needs.

    Attributes:
        task: The call.
        state: How far it is.
        waiting: How many of the outputs that it reads are still to come, with repetition.
        dependents: Who waits for it, with repetition.
        outputs: Its outputs by port while somebody reads them; None before there are any.
        readers: How many will read each output.
        guards: What shows whether an output was changed in place, by port.
        seconds: What it took.
        total: What it took with all that it was made of, as far as this run knows.
        stored: Whether a store has its outputs.
        content: What it is made of, by content, if that is known.
        digests: The content digests of its outputs by port, where somebody asked.
        group: What it has in common with the calls that it can run with.
        retried: Whether it ran out of memory once already.
        nan: Whether one of its outputs was seen to hold what is no number.
        started: Whether it was told that it begins.
    """

    __slots__ = (
        "content", "dependents", "digests", "group", "guards", "nan", "outputs", "readers",
        "retried", "seconds", "started", "state", "stored", "task", "total", "waiting",
    )  # fmt: skip

    def __init__(self, task: Task, state: State) -> None:
        self.task = task
        self.state = state
        self.waiting = 0
        self.dependents = _NOBODY
        self.outputs: list[Any] | None = None
        self.readers = [0] * len(task.outs)
        self.guards: list[tuple[Guard, ...]] | None = None
        self.seconds = 0.0
        self.total = 0.0
        self.stored = state is State.FOUND
        self.content: str | None = None
        self.digests: list[str | None] | None = None
        self.group: tuple[bytes, Hashable] | None = None
        self.retried = False
        self.nan = False
        self.started = False

    def await_source(self, source: Job) -> None:
        """It waits for one more output of `source`."""
        self.waiting += 1
        if source.dependents:
            source.dependents.append(self)
        else:
            source.dependents = [self]

    def take_dependents(self) -> list[Job]:
        """Who waited for it; nobody does any more."""
        dependents, self.dependents = self.dependents, _NOBODY
        return dependents

    @property
    def under_way(self) -> bool:
        """Whether its outputs are still to come."""
        return self.state is State.WAITING or self.state is State.RUNNING

    @property
    def feeds_effect(self) -> bool:
        """Whether an effect waits for it."""
        return any(dependent.task.kind.effect for dependent in self.dependents)

    def begin_again(self) -> None:
        """Its outputs are lost: it waits to run once more."""
        self.state = State.WAITING
        self.outputs = self.digests = None
        self.stored = False
        self.started = False
        self.waiting = 0

    def __repr__(self) -> str:
        return f"<job {self.task.name}: {self.state.name.lower()}>"

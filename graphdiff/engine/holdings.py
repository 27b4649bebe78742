"""The values of a run: who holds which, read from the store when needed, freed when read."""

from __future__ import annotations

from typing import Any

from graphdiff.engine.guard import guards_of, holds_nan
from graphdiff.engine.job import FREED, Job, State
from graphdiff.engine.store import Store
from graphdiff.engine.task import Task, Wire, filled, wires_in


class Holdings:
    """The outputs of a run's calls while somebody reads them.

    Args:
        store: Where outputs are read from that were found there.

    Attributes:
        complete: Whether all calls are linked, so that readers are counted in full.
    """

    def __init__(self, store: Store) -> None:
        self.complete = False
        self._store = store
        self._pinned: list[tuple[Job, int]] = []

    def get(self, wire: Wire) -> Any:  # noqa: ANN401 - any value, or FREED
        """A value, read from the store if need be; FREED if it is not to be had."""
        assert wire.task.job is not None
        return self.output(wire.task.job, wire.port)

    def output(self, job: Job, port: int) -> Any:  # noqa: ANN401 - any value, or FREED
        """An output of a call, read from the store if need be; FREED if it is not to be had."""
        if job.outputs is not None and job.outputs[port] is not FREED:
            return job.outputs[port]
        if job.state is not State.FOUND and job.state is not State.DONE:
            return FREED
        entry = self._store.get(job.task.key)
        if entry is None:
            return FREED
        job.outputs = [entry.values[port] for port in job.task.kind.ports]
        job.guards = [guards_of(value) for value in job.outputs]
        job.nan = holds_nan(job.guards)
        return job.outputs[port]

    def arguments(self, task: Task) -> list[Any] | None:
        """The arguments of a call; None if one of them is not to be had."""
        args = task.args.copy()
        for i, wire in task.wires:
            outputs = wire.task.job.outputs  # type: ignore[union-attr]
            if outputs is None or (value := outputs[wire.port]) is FREED:
                value = self.get(wire)
                if value is FREED:
                    return None
            args[i] = value
        if task.nested:
            values = {wire: self.get(wire) for _, m in task.nested for wire in wires_in(m)}
            if any(value is FREED for value in values.values()):
                return None
            for i, many in task.nested:
                args[i] = filled(many, values.__getitem__)
        return args

    def hold(self, wire: Wire) -> None:
        """One reader more of an output."""
        wire.task.job.readers[wire.port] += 1  # type: ignore[union-attr]

    def release(self, wire: Wire) -> None:
        """One reader less of an output; after the last, it is freed."""
        job = wire.task.job
        assert job is not None
        job.readers[wire.port] -= 1
        if job.readers[wire.port] <= 0:
            self._free(job, wire.port)

    def release_sources(self, task: Task) -> None:
        """A call reads nothing any more."""
        for _, wire in task.wires:
            self.release(wire)
        if task.nested:
            for _, many in task.nested:
                for wire in wires_in(many):
                    self.release(wire)

    def free_unread(self, job: Job) -> None:
        """Free the outputs of a call that just ran that nobody reads."""
        for port, readers in enumerate(job.readers):
            if readers <= 0:
                self._free(job, port)

    def unpin(self) -> None:
        """Free what had to be kept only because not all of its readers were known."""
        pinned, self._pinned = self._pinned, []
        for job, port in pinned:
            if job.readers[port] <= 0:
                self._free(job, port)

    def _free(self, job: Job, port: int) -> None:
        if job.outputs is None:
            return
        if not self.complete and job.task.scope.pinned:
            self._pinned.append((job, port))
            return
        if len(job.outputs) == 1:
            job.outputs = job.guards = job.digests = None
            return
        job.outputs[port] = FREED
        if job.digests is not None:
            job.digests[port] = None
        if job.guards is not None:
            job.guards[port] = ()

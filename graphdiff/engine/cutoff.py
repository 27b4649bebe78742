"""Early cutoff: calls known by what their arguments hold, not by how that was computed.

Beside its key, which is made of the keys of what it reads, a call has a content key, made of the
content of what it reads. Where a rerun gives an equal value, the content keys of what depends on it
are those of the earlier run, and so what that run kept is found. Inside of a loop that carries
something values are not hashed, since that would stall a device; there a content key is made of
those of the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphdiff.engine.body import gathered_token
from graphdiff.engine.content import digest
from graphdiff.engine.guard import tensors_in
from graphdiff.engine.job import Job, State
from graphdiff.engine.keys import call_key
from graphdiff.engine.provenance import made_from
from graphdiff.engine.store import NoStore, Store
from graphdiff.engine.task import Form, Known, Many, Task, Wire, wires_in
from graphdiff.engine.values import UnkeyableError

_LOOKUPS = 64  # passes of a loop that are looked up by content, the last ones


class Cutoff:
    """Finds calls by content.

    What this very run computed is not found: a plan could not foresee it, and what a plan says is
    what a run does.

    Args:
        store: Where they are looked up.
        tasks: The calls of the run, by key.
        told: What pictures say about where they came from.
    """

    def __init__(
        self, store: Store, tasks: Mapping[str, Task], told: Callable[[Task], Mapping[str, Any]]
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._told = told
        self._active = not isinstance(store, NoStore)

    def find(self, job: Job) -> bool:
        """Whether the store has, under the key of a call that is ready, what an equal one gave.

        What an effect wrote says where it came from: it is found for the same workflow and inputs.
        """
        task = job.task
        if not self._active or task.fresh or not (task.wires or task.nested):
            return False
        if job.content is None:
            job.content = self._content_key(task)
            if job.content is not None and task.kind.effect:
                job.content = call_key(job.content.encode(), [made_from(self._told(task))])
        return job.content is not None and not task.carried and self._linked(job)

    def cut_loops(
        self, jobs: list[Job], needed: Callable[[], set[Task]]
    ) -> tuple[list[Job], list[Job]]:
        """Look the last passes of loops up by content, and spare what only they need.

        Args:
            jobs: The calls in loops that wait to run, each after those that it reads.
            needed: The calls that the run is for.

        Returns:
            The calls that are found now, and those that need not run because of that.
        """
        if not self._active:
            return [], []
        for job in jobs:
            if job.content is None and not job.task.fresh:
                job.content = self._content_key(job.task)
        ends = [job for job in jobs if job.task.steps and job.content is not None]
        found = [job for job in ends[: -_LOOKUPS - 1 : -1] if self._linked(job)]
        if not found:
            return [], []
        for job in found:
            job.state = State.FOUND
            job.stored = True
        seen: set[Task] = set()
        stack = list(needed())
        while stack:
            task = stack.pop()
            if task not in seen and task.job is not None and task.job.under_way:
                stack += [wire.task for wire in task.sources()]
            seen.add(task)
        spared = [job for job in jobs if job.state is State.WAITING and job.task not in seen]
        for job in spared:
            job.state = State.SPARED
        return found, spared

    def _linked(self, job: Job) -> bool:
        assert job.content is not None
        key, store = job.task.key, self._store
        old = store.content_lookup(job.content)
        if old is None or old == key:
            return False
        task = self._tasks.get(old)
        if task is not None and task.job is not None and task.job.state is State.DONE:
            return False
        digests, meta = store.digests(old), store.meta(old)
        return digests is not None and meta is not None and store.link(key, digests, meta)

    def _content_key(self, task: Task) -> str | None:
        return content_key(task, self._step if task.carried else self._content)

    def _step(self, wire: Wire) -> bytes | None:
        """What a call inside of a loop knows an argument by: without hashing values of the loop."""
        job = wire.task.job
        assert job is not None
        if wire.task.carried and job.content is not None:
            return b"=" + job.content.encode() + b"%d;" % wire.port
        return self._content(wire) if not job.under_way else None

    def _content(self, wire: Wire) -> bytes | None:
        """What any other call knows an argument by."""
        job = wire.task.job
        assert job is not None
        found = None if job.digests is None else job.digests[wire.port]
        if found is None:
            found = self._digest_of(job, wire)
            if found is None:
                return None
            if job.digests is not None:
                job.digests[wire.port] = found
            else:
                outs = job.task.outs
                job.digests = (
                    [found] if len(outs) == 1 else [found if o is wire else None for o in outs]
                )
        return b"#" + found.encode()

    def _digest_of(self, job: Job, wire: Wire) -> str | None:
        """The content digest of a value, if it can be had without much ado."""
        if job.outputs is not None and not _on_device(job, wire.port):
            try:
                return digest(job.outputs[wire.port])
            except UnkeyableError:
                return None
        if job.state is State.FOUND:
            digests = self._store.digests(wire.task.key)
            return digests.get(wire.task.kind.ports[wire.port]) if digests else None
        return None


def content_key(task: Task, token_of: Callable[[Wire], bytes | None]) -> str | None:
    """A key that two calls share if their arguments are equal, whatever they were made of.

    Args:
        task: The call.
        token_of: What an argument that another call gives is known by; None if nothing is known.
    """
    tokens = task.tokens.copy()
    for i, wire in task.wires:
        token = token_of(wire)
        if token is None:
            return None
        tokens[i] = token
    for i, many in task.nested:
        known = {wire: token_of(wire) for wire in wires_in(many)}
        if any(token is None for token in known.values()):
            return None
        tokens[i] = _token(many, known)
    return call_key(task.kind.prefix, tokens)


def _token(form: Form, known: dict[Wire, bytes | None]) -> bytes:
    if isinstance(form, Wire):
        return known[form] or b""
    if isinstance(form, Known):
        return form.token
    return _gathered(form, known)


def _gathered(many: Many, known: dict[Wire, bytes | None]) -> bytes:
    if isinstance(many.items, dict):
        named = {name: Known(None, _token(item, known)) for name, item in many.items.items()}
        return gathered_token(named)
    return gathered_token([Known(None, _token(item, known)) for item in many.items])


def _on_device(job: Job, port: int) -> bool:
    """Whether an output holds tensors that are not in the host's memory."""
    if job.guards is None or not job.guards[port]:
        return False
    return any(tensor.device.type != "cpu" for tensor in tensors_in([job.guards[port]]))

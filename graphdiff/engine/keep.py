"""What of a run is kept: the policy, and the thread that writes it down."""

from __future__ import annotations

import warnings
from typing import Any

from graphdiff.engine.guard import SCALARS, tensors_in
from graphdiff.engine.job import FREED, Job
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.store import CacheWarning, Meta, NoStore, Store, Tiered
from graphdiff.engine.task import Task
from graphdiff.engine.values import UnkeyableError, size
from graphdiff.engine.worker import Worker
from graphdiff.graph.node import CachePolicy

_SHARE = 100  # writing may take a hundredth of the time that it saves
_WRITE_SECONDS = 0.0005  # of the run itself; the rest of a millisecond passes beside it
_BYTES_PER_SECOND = 400e6
_CHEAP_ONES = 256  # small calls that are written down in any case, in one run
_SMALL = 1 << 20


def worth_keeping(seconds: float, size_bytes: int, policy: CachePolicy) -> bool:
    """Whether outputs should outlive the process.

    Args:
        seconds: What would be lost without them: what they took, with all that is not kept either.
        size_bytes: How large they are.
        policy: What the node says.
    """
    if policy == "auto":
        writing = _WRITE_SECONDS + size_bytes / _BYTES_PER_SECOND
        return seconds >= _SHARE * writing
    return policy == "always"


class Keeper:
    """Puts outputs into a store: into memory at once, onto disk beside the run.

    Args:
        store: The store.
        workflow: The workflow's name, which is noted with what is kept.

    Attributes:
        lasts: Whether the store outlives the process.
        unbegun: What is to be written, before anything is.
    """

    def __init__(self, store: Store, workflow: str) -> None:
        self._store = store
        self._workflow = workflow
        self._memory: Store | None = store.memory if isinstance(store, Tiered) else store
        self._nothing = isinstance(store, NoStore)
        self.lasts = not isinstance(store, MemoryStore | NoStore)
        self._writer = Worker("graphdiff-writer", ahead=64)
        self.unbegun = self._writer.later
        self._cheap = _CHEAP_ONES
        self._unkeyable: set[str] = set()
        self._warnings: list[str] = []

    def keep(self, job: Job, outputs: list[Any], content_key: str | None, *, wanted: bool) -> None:
        """Keep the outputs of a call that ran, if that is worth it.

        Args:
            job: The call.
            outputs: Its outputs by port.
            content_key: What it was made of, by content, if that is known.
            wanted: Whether the run is for it, or it is what an effect is given.
        """
        task = job.task
        policy = task.kind.cache
        if self._nothing or task.fresh or policy == "never":
            return
        values = dict(zip(task.kind.ports, outputs, strict=True))
        if not self.lasts:
            self._remember(task, values, job.seconds, content_key)
            return
        plain = len(outputs) == 1 and outputs[0].__class__ in SCALARS
        ends_pass = bool(task.steps)
        candidate = not task.carried or ends_pass or wanted or policy == "always"
        if not candidate:
            if plain or policy == "memory":
                self._remember(task, values, job.seconds, content_key)
            return
        host, device = (64, 0) if plain else size(outputs)
        durable = worth_keeping(job.total, host + device, policy)
        if not durable and policy == "auto" and self._cheap:
            small = host + device <= _SMALL
            durable = wanted or (small and (_is_frontier(task) or not _holds_tensors(job)))
            self._cheap -= durable
        if not ends_pass or host + device <= _SMALL:
            self._remember(task, values, job.seconds, content_key)
        if durable:
            self.write(job, values, content_key)
            if host + device > _SMALL:
                self.begin()

    def record(self, job: Job, values: dict[str, Any], content_key: str | None) -> None:
        """Keep what an effect did."""
        if not self._nothing and not job.task.fresh:
            self.write(job, values, content_key)

    def rescue(self, job: Job) -> None:
        """Keep the outputs of a call since the run ends here, if there is anything to lose."""
        task = job.task
        outputs = job.outputs
        if outputs is None or job.stored or self._nothing or task.fresh:
            return
        if job.total < 10 * _WRITE_SECONDS or any(value is FREED for value in outputs):
            return
        if task.kind.cache in ("auto", "always") and (task.steps or not task.carried):
            self.write(job, dict(zip(task.kind.ports, outputs, strict=True)), None)

    def write(self, job: Job, values: dict[str, Any], content_key: str | None) -> None:
        """Put outputs on disk, beside the run."""
        task = job.task
        job.stored = True
        job.total = 0.0
        if not self.lasts:
            self._remember(task, values, job.seconds, content_key)
            return
        meta = self._meta(task, job.seconds)

        def put() -> None:
            try:
                self._store.put(task.key, values, meta)
                if content_key is not None:
                    self._store.content_put(content_key, task.key)
            except UnkeyableError as error:
                if task.kind.node.name not in self._unkeyable:
                    self._unkeyable.add(task.kind.node.name)
                    self._warnings.append(f"what {task.name} ({meta.node}) gives: {error}")
            except OSError as error:
                self._warnings.append(f"what {task.name} gives could not be kept: {error}")

        self._writer.submit(put)

    def begin(self) -> None:
        """Begin to write, beside the call that is made next."""
        self._writer.start()

    def close(self) -> None:
        """Wait until everything is written."""
        self._writer.close()
        for error in self._writer.errors:
            self._warnings.append(str(error) or type(error).__name__)
        for said in self._warnings:
            warnings.warn(said, CacheWarning, stacklevel=4)

    def _remember(
        self, task: Task, values: dict[str, Any], seconds: float, content_key: str | None
    ) -> None:
        if self._memory is not None:
            self._memory.put(task.key, values, self._meta(task, seconds), durable=False)
            if content_key is not None and (self._memory is not self._store or not self.lasts):
                self._memory.content_put(content_key, task.key)

    def _meta(self, task: Task, seconds: float) -> Meta:
        return Meta(task.kind.node.name, task.name, seconds, self._workflow)


def _is_frontier(task: Task) -> bool:
    """Whether a call is one that later runs start from: outside loops, or the end of one."""
    return not task.carried or any(done == total for _, done, total in task.steps)


def _holds_tensors(job: Job) -> bool:
    return bool(tensors_in(job.guards or ()))

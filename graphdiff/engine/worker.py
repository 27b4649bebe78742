"""A thread that does one thing after the other, beside the run."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]


class Worker:
    """A thread that is started when there is work and time for it beside the run.

    Args:
        name: The thread's name.
        ahead: How much may wait; whoever hands in more waits as well.

    Attributes:
        later: What was handed in before the thread was started.
        errors: What went wrong there: a thread has nobody else to tell.
    """

    def __init__(self, name: str, ahead: int) -> None:
        self._name = name
        self._ahead = ahead
        self.later: deque[Work] = deque()
        self._queue: queue.Queue[Work | None] | None = None
        self._thread: threading.Thread | None = None
        self.errors: list[BaseException] = []

    def submit(self, work: Work) -> None:
        """Hand in work, to be done beside what comes next."""
        if self._queue is None:
            self.later.append(work)
            if len(self.later) >= self._ahead:
                self.start()
        else:
            self._queue.put(work)

    def start(self) -> None:
        """Begin with what was handed in, if anything was: something else takes its time now."""
        if self._queue is None and self.later:
            self._queue = queue.Queue(self._ahead)
            self._thread = threading.Thread(
                target=self._loop, args=(self._queue,), name=self._name, daemon=True
            )
            self._thread.start()
            while self.later:
                self._queue.put(self.later.popleft())

    def close(self) -> None:
        """Do what is left, or wait until it is done, and end the thread."""
        if self._queue is not None and self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._queue = self._thread = None
        while self.later:
            self._do(self.later.popleft())

    def _loop(self, waiting: queue.Queue[Work | None]) -> None:
        while (work := waiting.get()) is not None:
            self._do(work)

    def _do(self, work: Work) -> None:
        try:
            work()
        except BaseException as error:  # an exit must not end the thread, which has more to do
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() != self._thread:
                raise
            self.errors.append(error)

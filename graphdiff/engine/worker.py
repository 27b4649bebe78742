"""A thread that does one thing after the other, beside the run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Work = Callable[[], None]


class Worker:
    """A thread that starts with its first work; what goes wrong there stands in `errors`.

    Args:
        name: The thread's name.
        ahead: How much may wait; whoever hands in more waits as well.
    """

    def __init__(self, name: str, ahead: int) -> None:
        self._name = name
        self._ahead = ahead
        self._queue: queue.Queue[Work | None] | None = None
        self._thread: threading.Thread | None = None
        self.errors: list[Exception] = []

    def submit(self, work: Work) -> None:
        """Hand in work."""
        if self._queue is None:
            self._queue = queue.Queue(self._ahead)
            self._thread = threading.Thread(
                target=self._loop, args=(self._queue,), name=self._name, daemon=True
            )
            self._thread.start()
        self._queue.put(work)

    def close(self) -> None:
        """Wait until all of it is done, and end the thread."""
        if self._queue is not None and self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._queue = self._thread = None

    def _loop(self, waiting: queue.Queue[Work | None]) -> None:
        while (work := waiting.get()) is not None:
            try:
                work()
            except Exception as error:  # a thread has nobody else to tell
                self.errors.append(error)

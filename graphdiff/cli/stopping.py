"""Signals that stop a run at its next call."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import click

from graphdiff.engine.run import Cancel


@contextmanager
def stopping() -> Generator[Cancel]:
    """Ctrl-C and SIGTERM stop the run at its next call; a second Ctrl-C stops it at once."""
    cancel = Cancel()
    if threading.current_thread() is not threading.main_thread():
        yield cancel  # only the main thread is told of signals
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        click.echo("stopping after this step (once more to stop at once)", err=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

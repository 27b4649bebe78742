"""What the library logs of work that takes long, told beside a run's progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def notices(tell: Callable[[str], None]) -> Generator[None]:
    """Tell what is logged while this lasts.

    Args:
        tell: Shows a line.
    """
    logger, handler = logging.getLogger("graphdiff"), _Telling(tell)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logging.INFO, level or logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Telling(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())

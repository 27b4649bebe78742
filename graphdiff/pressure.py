"""Who can give memory of a device back when a call has too little of it."""

from __future__ import annotations

import threading
import weakref
from typing import Protocol


class Reliever(Protocol):
    """Holds memory that it can do without."""

    def relieve(self) -> bool:
        """Let go of it; whether that was anything.

        One that is asked again and again must at last say that it was nothing, since work is
        tried anew as long as something was let go.
        """
        ...


captures = threading.RLock()
"""Held while the work of a device is recorded: one graph in a process at a time."""

_lock = threading.Lock()
_relievers: weakref.WeakSet[Reliever] = weakref.WeakSet()


def register(reliever: Reliever) -> None:
    """Have something asked for memory, for as long as it lives."""
    with _lock:
        _relievers.add(reliever)


def relieve() -> bool:
    """Have all let go of what they can do without; whether that was anything."""
    with _lock:
        asked = list(_relievers)
    gave = [reliever.relieve() for reliever in asked]
    return any(gave)


def give_back() -> None:
    """Give back to devices what torch keeps of their memory and nothing holds any more.

    Torch fails if it is asked for that while a graph is recorded, by whichever thread.
    """
    import torch

    if torch.cuda.is_available():
        with captures:
            torch.cuda.empty_cache()

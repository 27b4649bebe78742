"""What was read of checkpoints, remembered for as long as their files stay as they are."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from stat import S_ISDIR
from typing import Any, TypeVar

T = TypeVar("T")

_REMEMBERED = 16
_MOST_FILES = 512  # to look at more takes as long as to read a checkpoint's configs again
_DEPTH = 2  # a checkpoint's folder has a folder for each of its parts, and these have none
_SETTLED_NS = 2_000_000_000  # a file changed this recently may change again within one clock tick

_State = tuple[tuple[str, int, int, int, int, int], ...]
_known: OrderedDict[Hashable, tuple[_State, Any]] = OrderedDict()
_lock = threading.Lock()


def unchanged(question: Hashable, places: Sequence[Path], read: Callable[[], T]) -> T:
    """What `read` gives, which is asked again only when something in `places` has changed.

    A file is as it was if device, inode, size, mtime and ctime are: ctime tells a change behind
    which the mtime was set back. What `read` raises is not remembered.

    Args:
        question: What is asked; equal for equal answers on equal files.
        places: The files that the answer depends on, and the folders, with what is in them.
        read: Gives the answer, a frozen one, since it is handed out again.
    """
    now = time.time_ns()
    before = _state(places)
    if before is None:
        return read()
    with _lock:
        known = _known.get(question)
        if known is not None and known[0] == before:
            _known.move_to_end(question)
            answer: T = known[1]
            return answer
    answer = read()
    settled = now - max(changed for *_, changed in before) > _SETTLED_NS
    if settled and _state(places) == before:
        with _lock:
            _known[question] = before, answer
            _known.move_to_end(question)
            while len(_known) > _REMEMBERED:
                _known.popitem(last=False)
    return answer


def _state(places: Sequence[Path]) -> _State | None:
    """How files and folders are now; None if that is not to be had, or too much to look at."""
    found: list[tuple[str, int, int, int, int, int]] = []
    waiting = [(str(place), _DEPTH) for place in places]
    try:
        while waiting:
            path, depth = waiting.pop()
            stat = os.stat(path)  # what a link leads to
            found.append(
                (path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            )
            if depth and S_ISDIR(stat.st_mode):
                with os.scandir(path) as entries:
                    waiting += [(entry.path, depth - 1) for entry in entries]
            if len(found) + len(waiting) > _MOST_FILES:
                return None
    except OSError:  # gone, or a link that leads nowhere: whoever reads it says what is wrong
        return None
    return tuple(sorted(found))

"""The folder of compiled code that processes share, mended after one that was killed."""

from __future__ import annotations

import atexit
import os
import secrets
import sys
from pathlib import Path
from typing import IO

_MARK = ".running-"  # starts the name of the file that a process holds while it uses the folder
_marks: dict[Path, Mark] = {}


class Mark:
    """A file that says that this process uses a folder, and until when all in it was whole.

    A process that ends removes it; of one that is killed it stays, no longer locked, and what was
    written after the time that it bears may be a part of a file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{_MARK}{secrets.token_hex(8)}"
        self._file = self.path.open("wb")
        _lock(self._file)
        atexit.register(self.remove)

    def whole(self) -> None:
        """Say that nothing is being written by this process."""
        if self.path.exists():  # the folder may have been emptied meanwhile
            os.utime(self.path)

    def remove(self) -> None:
        """Say that this process has left the folder."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def use(folder: Path) -> Mark:
    """Use a folder for compiled code from now on; it is mended first.

    Returns:
        The mark of this process, the same for each call.
    """
    folder = folder.resolve()
    mark = _marks.get(folder)
    if mark is None or not mark.path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        mark = _marks[folder] = Mark(folder)
        mend(folder)
    return mark


def mend(folder: Path) -> int:
    """Remove what killed processes may have left unfinished, which would break the next one.

    Empty files go in any case; locks are empty by nature, and files in writing have names of their
    own until they are whole. What else is younger than the last whole state of a killed process
    goes too, unless other processes are at work, whose files cannot be told from its own.

    Returns:
        How many files there were.
    """
    own = {mark.path for mark in _marks.values()}
    marks = [path for path in folder.glob(f"{_MARK}*") if path not in own]
    left = [path for path in marks if not _is_held(path)]
    alone = len(left) == len(marks)
    since = min((path.stat().st_mtime_ns for path in left), default=None) if alone else None
    broken = [
        path
        for path in folder.rglob("*")
        if not path.name.startswith(_MARK) and path.is_file() and _is_suspect(path, since)
    ]
    for path in (*broken, *(left if alone else ())):
        path.unlink(missing_ok=True)
    return len(broken)


def _is_suspect(path: Path, since: int | None) -> bool:
    state = path.stat()
    if since is not None and state.st_mtime_ns >= since:
        return True
    return not state.st_size and path.suffix not in (".lock", ".tmp")


def _lock(file: IO[bytes]) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_held(mark: Path) -> bool:
    """Whether the process that made a mark lives; where that cannot be told, it does."""
    if sys.platform == "win32":
        return True
    try:
        with mark.open("rb") as file:
            _lock(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False

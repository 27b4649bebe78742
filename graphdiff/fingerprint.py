"""What a file holds, as a hash of its bytes that is computed once for each state of the file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from graphdiff.paths import cache_directory, write_atomically

_FRESH_NS = 2_000_000_000  # a file changed this recently may change again within one clock tick


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, remembered by device, inode, size, mtime and ctime.

    A file in the hub's cache is a link to a blob that is named by this very hash; it is taken at
    its word, so that gigabytes are not read again.

    Raises:
        OSError: the file cannot be read.
    """
    real = path.resolve()
    if real.parent.name == "blobs" and len(real.name) == 64:
        return real.name
    return remembered(real, "sha256", lambda: _hash_bytes(real))


def remembered(path: Path, what: str, compute: Callable[[], str]) -> str:
    """What `compute` says of the file at `path`, asked again only when the file has changed.

    Args:
        path: The file that the answer depends on, and nothing else.
        what: Names the question; a new way to compute needs a new name.
        compute: Gives the answer, as text.
    """
    before = _state(path)
    note = _note(path, what)
    try:
        known = json.loads(note.read_bytes())
        if known["state"] == before:
            answer: str = known["answer"]
            return answer
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing remembered, or nothing legible
    answer = compute()
    if _state(path) == before and time.time_ns() - before[4] > _FRESH_NS:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
            write_atomically(note, json.dumps({"state": before, "answer": answer}).encode())
    return answer


def _state(path: Path) -> list[int]:
    stat = os.stat(path)
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _note(path: Path, what: str) -> Path:
    name = hashlib.sha256(f"{what}\0{path}".encode()).hexdigest()
    return cache_directory() / "fingerprints" / name[:2] / f"{name[2:]}.json"


def _hash_bytes(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""How a store lies on disk: where things stand, sealed records, and writes that are all or nothing.

    recipes/ab/<key>.json              which contents a call gave, and where they came from
    blobs/ab/<digest>.safetensors      one content, however many calls gave it
    contents/ab/<content key>.json     which call was made of this content
    temporary/<host>-<pid>-<random>    what is being written
    growth                             one byte for each block written since somebody last counted

Nothing under its final name ever changes: files appear whole and disappear. So no process needs a
lock, and one that is killed leaves at most a temporary file.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

from graphdiff.engine.codec import DamagedError

Kind = Literal["recipes", "blobs", "contents"]

KINDS: Final[tuple[Kind, ...]] = ("recipes", "blobs", "contents")
BLOCK: Final = 4096
LIMIT_BYTES: Final = 10 << 30
"""How large a store may grow if nobody says otherwise."""

_SUFFIX: Final = {"recipes": ".json", "blobs": ".safetensors", "contents": ".json"}
_SEAL: Final = '["graphdiff 1","'
_HOST: Final = os.uname().nodename.replace("/", "_") if hasattr(os, "uname") else "here"
_STALE_SECONDS: Final = 86400.0
_TOKEN: Final = os.urandom(8).hex()  # a process may get the number of one that was killed
_count: Final = itertools.count()
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Shelved:
    """One file of a store.

    Args:
        name: The key, digest or content key that it stands under.
        path: Where it lies.
        bytes: How large it is.
        used: When it was last used, in seconds since the epoch.
    """

    name: str
    path: str
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder of a store.

    Args:
        folder: Where it lies; it is made when something is written.
    """

    folder: Path

    def path(self, kind: Kind, name: str) -> str:
        """Where a thing stands, or would stand."""
        return f"{self.folder}/{kind}/{name[:2]}/{name}{_SUFFIX[kind]}"

    def has(self, kind: Kind, name: str) -> bool:
        """Whether a thing is there: one look at the file system."""
        return os.path.exists(self.path(kind, name))

    def listing(self, kind: Kind) -> Iterator[Shelved]:
        """All things of a kind, as far as other processes do not take them away meanwhile."""
        suffix = _SUFFIX[kind]
        for part in _entries(f"{self.folder}/{kind}"):
            for file in _entries(part.path):
                with contextlib.suppress(OSError):
                    stat = file.stat(follow_symlinks=False)
                    if file.name.endswith(suffix):
                        name = file.name.removesuffix(suffix)
                        yield Shelved(name, file.path, stat.st_size, stat.st_mtime)

    def read_record(self, kind: Kind, name: str) -> dict[str, Any]:
        """A record that `write_record` wrote.

        Raises:
            FileNotFoundError: there is none.
            DamagedError: it is not as it was written.
        """
        with open(self.path(kind, name), "rb") as file:
            return unseal(name, file.read())

    def write_record(self, kind: Kind, name: str, record: Any, *, replace: bool = False) -> bool:  # noqa: ANN401 - JSON
        """Write a record; whether it was written, or another was there and stays."""
        return self.write(kind, name, seal(name, record), replace=replace)

    def write(
        self, kind: Kind, name: str, data: bytes | bytearray, *, replace: bool = False
    ) -> bool:
        """Write a file whole or not at all; whether it was written, or another was there.

        Args:
            kind: What it is.
            name: What it stands under.
            data: What it holds.
            replace: Whether it takes the place of another, which is quicker where both say the
                same.
        """
        path = self.path(kind, name)
        temporary = self._write_temporary(data)
        try:
            try:
                moved = _publish(temporary, path, replace)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                moved = _publish(temporary, path, replace)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, FileExistsError):
                return False
            raise
        if not moved:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return True

    def touch(self, kind: Kind, name: str) -> None:
        """Note that a thing is in use."""
        with contextlib.suppress(OSError):
            os.utime(self.path(kind, name))

    def remove(self, kind: Kind, name: str) -> None:
        """Take a thing away, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(self.path(kind, name))

    def grow(self, written: int) -> int:
        """Note that so many bytes were written; how many all processes did since `counted`."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        handle = os.open(f"{self.folder}/growth", flags, 0o666)
        try:
            os.write(handle, b"." * -(-written // BLOCK))
            return os.fstat(handle).st_size * BLOCK
        finally:
            os.close(handle)

    def counted(self) -> None:
        """Note that somebody has just counted what is there."""
        with contextlib.suppress(OSError):
            os.unlink(f"{self.folder}/growth")

    def sweep_temporary(self) -> int:
        """Take away what processes that live no more were writing; how many files that were."""
        swept = 0
        for file in _entries(f"{self.folder}/temporary"):
            with contextlib.suppress(OSError):
                if _abandoned(file):
                    os.unlink(file.path)
                    swept += 1
        return swept

    def _write_temporary(self, data: bytes | bytearray) -> str:
        folder = f"{self.folder}/temporary"
        path = f"{folder}/{_HOST}-{os.getpid()}-{_TOKEN}{next(_count):x}"
        try:
            handle = os.open(path, _NEW, 0o600)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
            handle = os.open(path, _NEW, 0o600)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
        except BaseException:
            os.unlink(path)
            raise
        return path


def seal(name: str, record: Any) -> bytes:  # noqa: ANN401 - JSON data
    """JSON text that holds a record and the checksum of it and of the name it stands under."""
    text = json.dumps(record, separators=(",", ":"))
    return f'{_SEAL}{_checksum(name, text.encode())}",{text}]\n'.encode()


def unseal(name: str, data: bytes) -> dict[str, Any]:
    """The record in what `seal` gave.

    Raises:
        DamagedError: a byte is not as it was written.
    """
    body = len(_SEAL) + 34
    text = data[body:-2]
    if data[:body] + data[-2:] != f'{_SEAL}{_checksum(name, text)}",]\n'.encode():
        raise DamagedError("its bytes are not those that were written")
    record: dict[str, Any] = json.loads(text)
    return record


def _checksum(name: str, text: bytes) -> str:
    return blake2b(text, digest_size=16, key=name.encode()[:64]).hexdigest()


def _publish(temporary: str, path: str, replace: bool) -> bool:
    """Give a finished file its name; whether it has lost its temporary one.

    Raises:
        FileExistsError: another has it, and is not to be replaced.
    """
    if not replace:
        try:
            os.link(temporary, path)
            return False
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # a file system without links
            if os.path.exists(path):
                raise FileExistsError(path) from None
    os.replace(temporary, path)
    return True


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _abandoned(file: os.DirEntry[str]) -> bool:
    """Whether nobody is writing a temporary file any more."""
    host, _, rest = file.name.rpartition("-")[0].rpartition("-")
    if host == _HOST and rest.isdecimal():
        return not _alive(int(rest))
    return time.time() - file.stat().st_mtime > _STALE_SECONDS


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # asking would end it; its files go when they are a day old
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

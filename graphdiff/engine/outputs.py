"""The folder that effects write to: they cannot leave it, and nothing in it is lost by writing."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypedDict

from graphdiff.graph.spec import Diagnostic, WorkflowError
from graphdiff.paths import unwritable

_NAME_BYTES: Final = 200  # file systems take 255, and a number may have to fit
_INSERTED_BYTES: Final = 120  # so that what stands beside it in a name seldom has to be cut
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_SEPARATORS: Final = frozenset('/\\:*?"<>|')
_JOINERS: Final = frozenset("\u200c\u200d")  # parts of words and of emoji, though invisible


class Written(TypedDict):
    """A file that an effect left: what its done-record says.

    Attributes:
        path: Where it is, from the output folder, with `/`.
        sha256: The hash of its bytes.
    """

    path: str
    sha256: str


class OutputFolder:
    """Where the effects of one call write, and a list of what they wrote.

    Args:
        folder: The output folder; it is made when something is written.
        provenance: What pictures shall say about where they came from; JSON data.
    """

    def __init__(self, folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self._provenance: Mapping[str, Any] = provenance or {}
        self._written: list[Written] = []

    @property
    def written(self) -> tuple[Written, ...]:
        """What was written, or was found to be there already, in order."""
        return tuple(self._written)

    def provenance(self) -> Mapping[str, Any]:
        """The workflow's text with what it includes, inputs, fingerprints and versions: JSON."""
        return self._provenance

    def write(self, path: str, data: bytes, *, overwrite: bool = False) -> Path:
        """Write a file, atomically, and give the path it got: see `Outputs.write`.

        Raises:
            ValueError: the path leaves the output folder, or is no portable name.
            OSError: the file cannot be written.
        """
        wanted = self._inside(path)
        wanted.parent.mkdir(parents=True, exist_ok=True)
        got = _overwrite(wanted, data) if overwrite else _write_beside(wanted, data)
        name = got.relative_to(self.folder).as_posix()
        self._written.append({"path": name, "sha256": hashlib.sha256(data).hexdigest()})
        return got

    def holds(self, written: Iterable[Written]) -> bool:
        """Whether files are here as they were written: what a done-record is checked by."""
        from graphdiff.fingerprint import sha256_of

        try:
            return all(sha256_of(self._inside(file["path"])) == file["sha256"] for file in written)
        except (OSError, ValueError):
            return False

    def _inside(self, path: str) -> Path:
        """Where a path under the output folder is.

        Raises:
            ValueError: it is not under it.
        """
        names = path_names(path)
        wanted = self.folder.joinpath(*names)
        if not wanted.parent.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path!r} leaves the output folder {self.folder} by a link")
        return wanted


def refuse_unwritable(folder: Path) -> None:
    """Refuse an output folder that nothing can be written to.

    Raises:
        WorkflowError: no file can be made in it, or it cannot be made itself.
    """
    why = unwritable(folder)
    if why is not None:
        wrong = "written to" if folder.is_dir() else "made"
        message = f"the output folder {folder} cannot be {wrong}: {why}"
        help = "name another one, with --output-dir or output_dir="
        raise WorkflowError((Diagnostic("output-path", message, help=help),))


def path_names(path: str) -> list[str]:
    """The names in a path under the output folder, each short enough for any system.

    Raises:
        ValueError: it is none: it leaves the folder, names no file, or is not portable.
    """
    parts = path.split("/")
    if not path.strip():
        raise ValueError("a path to write to is empty: give a file name, such as picture.png")
    if path.startswith("/") or "\\" in path or re.match(r"[A-Za-z]:", path):
        raise ValueError(
            f"{path!r} is not a path under the output folder: write it relative to that "
            "folder, with / between names, and choose the folder itself for the whole run"
        )
    if ".." in parts:
        raise ValueError(f"{path!r} leaves the output folder by '..'")
    names = [_bounded(part) for part in parts if part not in ("", ".")]
    for name in names:
        _refuse_unportable(name, path)
    if not names or path.endswith("/"):
        raise ValueError(f"{path!r} names a folder: add a file name, such as picture.png")
    return names


def safe_component(text: str) -> str:
    """Text as one name in a path, on any system: never empty, never too long, never another folder.

    Letters of all scripts and emoji stay. Separators, control characters and the like become `_`,
    a device's name gets one in front, and what is too long is cut and ends in a hash of the whole.

    >>> safe_component("a red apple, 50% / off?")
    'a red apple, 50% _ off_'
    """
    normal = unicodedata.normalize("NFC", text)
    spaced = " ".join(normal.split())
    plain = "".join("_" if _unsafe(letter) else letter for letter in spaced).strip(" .")
    named = plain or "_"
    if _is_device(named):
        named = f"_{named}"
    return _cut(named, "", text, _INSERTED_BYTES)


def _unsafe(letter: str) -> bool:
    if letter in _SEPARATORS:
        return True
    return unicodedata.category(letter)[0] == "C" and letter not in _JOINERS


def _is_device(name: str) -> bool:
    """Whether Windows takes a name for a device, whatever its suffix."""
    return _DEVICES.fullmatch(name.partition(".")[0].rstrip(" ")) is not None


def _refuse_unportable(name: str, path: str) -> None:
    if _is_device(name):
        raise ValueError(f"{path!r}: {name!r} is a device on Windows, not a file: rename it")
    wrong = sorted({letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs")})
    if wrong:
        raise ValueError(f"{path!r}: {wrong[0]!r} cannot be part of a file name")
    if os.name == "nt" and set(name) & _SEPARATORS:
        raise ValueError(f'{path!r}: a file name cannot hold any of : * ? " < > | on Windows')


def _bounded(name: str) -> str:
    """A name that is not too long, with its suffix kept."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > 16:
        return _cut(name, "", name)
    return _cut(stem, dot + suffix, name)


def _cut(stem: str, suffix: str, whole: str, most: int = _NAME_BYTES) -> str:
    """A stem and a suffix, the stem cut if they are too long and then told apart by a hash."""
    if len((stem + suffix).encode("utf-8", "surrogatepass")) <= most:
        return stem + suffix
    sign = "-" + hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    room = most - len((sign + suffix).encode())
    return stem.encode("utf-8", "surrogatepass")[:room].decode(errors="ignore") + sign + suffix


def _overwrite(wanted: Path, data: bytes) -> Path:
    if not _same(wanted, data):
        temporary = _write_temporary(wanted.parent, data)
        try:
            os.replace(temporary, wanted)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return wanted


def _write_beside(wanted: Path, data: bytes) -> Path:
    """Write under the first name that is free, or that holds these very bytes."""
    candidate, number = wanted, 1
    temporary: Path | None = None
    try:
        while not _same(candidate, data):
            if not os.path.lexists(candidate):
                temporary = temporary or _write_temporary(wanted.parent, data)
                if _claim(temporary, candidate):
                    break
                continue  # somebody was quicker: with the same bytes, perhaps
            number += 1
            candidate = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        return candidate
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _claim(temporary: Path, wanted: Path) -> bool:
    """Give a finished file its name, unless somebody else has just taken that."""
    try:
        os.link(temporary, wanted)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if os.path.lexists(wanted):
            return False
        os.replace(temporary, wanted)
    return True


def _same(path: Path, data: bytes) -> bool:
    """Whether a file, not a link to one, holds these bytes."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != len(data):
        return False
    return path.read_bytes() == data


def _write_temporary(folder: Path, data: bytes) -> Path:
    temporary = folder / f".{secrets.token_hex(8)}.part"
    try:
        with temporary.open("xb") as file:
            file.write(data)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary

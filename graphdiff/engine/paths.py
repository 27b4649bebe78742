"""Paths among arguments: made absolute, and files known by what they hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from graphdiff.engine.keys import list_token, token_of
from graphdiff.fingerprint import sha256_of


def component(text: str) -> str:
    """Text as one safe, short component of a path."""
    from graphdiff.engine.outputs import safe_component

    return safe_component(text)


def refuse_outside(value: Any) -> None:  # noqa: ANN401 - a path, as a node declares it
    """Refuse a path to write to that is none under the output folder.

    Raises:
        ValueError: it leaves that folder, names no file, or is not portable.
    """
    from graphdiff.engine.outputs import path_names

    path_names(str(value))


def absolute(value: str | Path, base: Path | None) -> Path:
    """A path relative to `base`, or to the working directory where that is None."""
    path = Path(value).expanduser()
    return Path(os.path.abspath(path if base is None else base / path))


def named(value: Any, base: Path | None) -> Any:  # noqa: ANN401 - a name, or a list of names
    """A name that may be a path: absolute if it is written as one, or is that of a file."""
    if isinstance(value, list | tuple):
        return [named(item, base) for item in cast(list[Any], value)]
    text = str(value)
    if not text.strip():
        return text  # no name at all, and not that of the folder
    if text.startswith(("./", "../", "~", "/", ".\\", "..\\")) or text in (".", ".."):
        return str(absolute(text, base))
    beside = absolute(text, base)
    return str(beside) if beside.exists() else text


def read(value: Any, base: Path | None, files: dict[str, str]) -> tuple[Any, bytes]:  # noqa: ANN401
    """A file that a node reads: where it is, and a token of what it holds.

    Args:
        value: A path, or a list of paths.
        base: The folder that it is relative to.
        files: Where the SHA-256 of each file is noted, by its path.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(value, list | tuple):
        found = [read(item, base, files) for item in cast(list[Any], value)]
        return [path for path, _ in found], list_token(token for _, token in found)
    path = absolute(value, base)
    files[str(path)] = digest = sha256_of(path)
    return path, b"p" + token_of(digest)

"""Where graphdiff keeps what it remembers between runs."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def cache_directory() -> Path:
    """The cache folder: the variable GRAPHDIFF_CACHE, else the user's cache directory."""
    named = os.environ.get("GRAPHDIFF_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("graphdiff")


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` under `path` so that no reader, and no crash, ever sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unwritable(folder: Path) -> str | None:
    """Why no file can be made in a folder, which need not be there yet; None where one can be."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{there} is no folder"
    probe = there / f".{secrets.token_hex(8)}.part"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        return f"nothing can be written in {there} ({(error.strerror or str(error)).lower()})"
    return None

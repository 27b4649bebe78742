"""A session's cache, from whatever names it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from graphdiff.engine.store import NoStore, Store, Tiered
from graphdiff.paths import cache_directory

Cache: TypeAlias = Store | Path | str | bool | None
"""True for the user's cache, a folder for another, False or None for none; or a store."""


def open_store(cache: Cache) -> Store:
    """The store that a session uses: memory in front of a disk, or none.

    Raises:
        NotADirectoryError: what is named for a folder is a file.
    """
    if cache is None or cache is False:
        return NoStore()
    if not isinstance(cache, Path | str | bool):
        return cache
    from graphdiff.engine.disk import DiskStore
    from graphdiff.engine.memory import MemoryStore

    folder = cache_directory() if isinstance(cache, bool) else Path(cache)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"{folder}: the cache is to be a folder, and this is a file: name another one, with "
            "--cache-dir, GRAPHDIFF_CACHE or cache="
        )
    return Tiered(MemoryStore(), DiskStore(folder))

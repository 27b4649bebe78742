"""Looking after a disk store: what is in it, what is too much, what is damaged."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from graphdiff.engine.codec import DamagedError, parse
from graphdiff.engine.shelf import KINDS, LIMIT_BYTES, Shelf, Shelved

_FULL: Final = 15 / 16  # of the limit: from here on, things are thrown out
_ROOMY: Final = 7 / 8  # of the limit: until here
_GRACE_SECONDS: Final = 60.0  # for somebody who has written a content, to write the recipe too


@dataclass(frozen=True, slots=True)
class Info:
    """What is in a store.

    Args:
        folder: Where it lies.
        entries: How many calls it holds.
        contents: How many different outputs these have.
        bytes: How large it is.
        limit_bytes: How large it may grow.
    """

    folder: Path
    entries: int
    contents: int
    bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Listed:
    """One call in a store.

    Args:
        key: Its key.
        node: The node's type.
        name: The call that computed it, such as `denoise[3].step`.
        workflow: The workflow it was computed for.
        seconds: What computing it took.
        bytes: How large its outputs are.
        used: When it was last used, in seconds since the epoch.
    """

    key: str
    node: str
    name: str
    workflow: str
    seconds: float
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was thrown out.

    Args:
        entries: How many calls.
        bytes: How many bytes.
    """

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of a store that is not as it was written.

    Args:
        path: The file.
        reason: What is wrong with it.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What checking a store gave.

    Args:
        files: How many files were checked.
        damaged: Those that are not as they were written.
        dangling: How many calls have lost an output, which happens when it is thrown out.
    """

    files: int
    damaged: tuple[Damage, ...]
    dangling: int


def info(folder: Path, limit_bytes: int = LIMIT_BYTES) -> Info:
    """How much there is in a store."""
    shelf = Shelf(folder)
    count, total = Counter[str](), 0
    for kind in KINDS:
        for found in shelf.listing(kind):
            count[kind] += 1
            total += found.bytes
    return Info(folder, count["recipes"], count["blobs"], total, limit_bytes)


def ls(folder: Path, pattern: str = "*") -> tuple[Listed, ...]:
    """The calls in a store, the last used first.

    Args:
        folder: The store.
        pattern: Which: `*` and `?` stand for any text and letter in a call's name, its node's type,
            its workflow's name or its key; brackets are themselves.
    """
    shelf = Shelf(folder)
    sizes = {blob.name: blob.bytes for blob in shelf.listing("blobs")}
    plain = pattern.replace("[", "[[]")
    found: list[Listed] = []
    for recipe, record in _recipes(shelf):
        size = sum(sizes.get(content, 0) for content in record["digests"].values())
        listed = Listed(
            recipe.name,
            record["node"],
            record["name"],
            record["workflow"],
            record["seconds"],
            size,
            recipe.used,
        )
        names = (listed.name, listed.node, listed.workflow, listed.key)
        if any(fnmatchcase(name, plain) for name in names):
            found.append(listed)
    return tuple(sorted(found, key=lambda listed: (-listed.used, listed.name)))


def remove(folder: Path, keys: Iterable[str]) -> None:
    """Forget calls; outputs that no other call gave go with the next `prune`."""
    for key in keys:
        Shelf(folder).remove("recipes", key)


def prune(
    folder: Path, limit_bytes: int = LIMIT_BYTES, *, older_than_seconds: float | None = None
) -> Pruned:
    """Throw out what was not used for longest, until there is room again, and what is of no use.

    Args:
        folder: The store.
        limit_bytes: How large it may be; a sixteenth below this, an eighth of it is freed.
        older_than_seconds: Throw out as well what was not used for so long.
    """
    shelf = Shelf(folder)
    shelf.sweep_temporary()
    shelf.counted()
    recipes = sorted(_recipes(shelf), key=lambda pair: pair[0].used)
    blobs = {blob.name: blob for blob in shelf.listing("blobs")}
    readers = Counter(c for _, record in recipes for c in set(record["digests"].values()))
    now = time.time()
    thrown, freed = 0, 0
    for blob in blobs.values():
        if not readers[blob.name] and now - blob.used > _GRACE_SECONDS:
            shelf.remove("blobs", blob.name)
            freed += blob.bytes
    freed += _drop_unreadable_contents(shelf, {recipe.name for recipe, _ in recipes})
    total = info(folder).bytes
    target = limit_bytes * _ROOMY if total > limit_bytes * _FULL else total
    for recipe, record in recipes:
        old = older_than_seconds is not None and now - recipe.used > older_than_seconds
        if total <= target and not old:
            break
        shelf.remove("recipes", recipe.name)
        gone = recipe.bytes
        for content in set(record["digests"].values()):
            readers[content] -= 1
            if not readers[content] and content in blobs:
                shelf.remove("blobs", content)
                gone += blobs[content].bytes
        thrown += 1
        freed += gone
        total -= gone
    if thrown:
        kept = {recipe.name for recipe, _ in recipes[thrown:]}
        freed += _drop_unreadable_contents(shelf, kept)
    return Pruned(thrown, freed)


def clear(folder: Path) -> Pruned:
    """Throw everything out."""
    before = info(folder)
    for part in (*KINDS, "temporary"):
        shutil.rmtree(folder / part, ignore_errors=True)
    Shelf(folder).counted()
    return Pruned(before.entries, before.bytes)


def verify(folder: Path) -> Verified:
    """Check every byte of a store, and throw out what is not as it was written."""
    shelf = Shelf(folder)
    files = dangling = 0
    damaged: list[Damage] = []
    for blob in shelf.listing("blobs"):
        files += 1
        try:
            parse(memoryview(Path(blob.path).read_bytes()), blob.name)
        except FileNotFoundError:
            continue
        except DamagedError as error:
            damaged.append(Damage(Path(blob.path), str(error)))
            shelf.remove("blobs", blob.name)
    for kind in ("recipes", "contents"):
        for found in shelf.listing(kind):
            files += 1
            try:
                record = shelf.read_record(kind, found.name)
            except FileNotFoundError:
                continue
            except DamagedError as error:
                damaged.append(Damage(Path(found.path), str(error)))
                shelf.remove(kind, found.name)
                continue
            lost = [c for c in record.get("digests", {}).values() if not shelf.has("blobs", c)]
            if lost:
                dangling += 1
                shelf.remove(kind, found.name)
    return Verified(files, tuple(damaged), dangling)


def _recipes(shelf: Shelf) -> Iterable[tuple[Shelved, dict[str, Any]]]:
    """The recipes that can be read; the rest is thrown out."""
    for recipe in shelf.listing("recipes"):
        try:
            yield recipe, shelf.read_record("recipes", recipe.name)
        except FileNotFoundError:
            continue
        except DamagedError:
            shelf.remove("recipes", recipe.name)


def _drop_unreadable_contents(shelf: Shelf, keys: set[str]) -> int:
    """Throw out what points at calls that are not there; how many bytes that were."""
    freed = 0
    for found in list(shelf.listing("contents")):
        try:
            key = shelf.read_record("contents", found.name)["key"]
        except (FileNotFoundError, DamagedError):
            key = ""
        if key not in keys and not shelf.has("recipes", key):
            shelf.remove("contents", found.name)
            freed += found.bytes
    return freed

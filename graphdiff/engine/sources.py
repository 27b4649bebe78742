"""The source that a module is made of: its own and that of what it imports, as hashes.

Parsing is slow, so what a file was found to say is noted on disk, in one note for each package. A
note is read once in a process and trusted where a file's inode, size and times are unchanged; what
several processes note at the same time costs time alone, since the last one's note counts.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from graphdiff.paths import cache_directory, write_atomically

_DECLARATION = "graphdiff.graph"  # how a node is declared changes nothing that it computes
_VERSION = 4  # of what is said of a file; another way to say it needs another number
_FRESH_NS = 2_000_000_000  # a file changed this recently may change again within one clock tick


class Source(NamedTuple):
    """What matters of one source file.

    Args:
        hash: The hash of its normal form: without comments, docstrings and layout.
        imports: Every name in it that may be a module.
        changed_ns: When it was last changed, in nanoseconds since the epoch.
    """

    hash: str
    imports: tuple[str, ...]
    changed_ns: int

    @property
    def torch(self) -> bool:
        """Whether it computes with torch."""
        return any(name == "torch" or name.startswith("torch.") for name in self.imports)


def sources_of(module: str, file: Path, packages: frozenset[str]) -> dict[str, Source]:
    """A module and all that it imports, directly or not, from these packages, by name.

    Nothing is imported for it.

    Args:
        module: The module.
        file: Its file.
        packages: The top-level packages that belong to it.
    """
    top = module.partition(".")[0]
    within = _Within(top, _root_folder(module, file), packages)
    notes = _notes_of(top)
    found: dict[str, Source] = {}
    waiting = [(module, str(file))]
    while waiting:
        name, path = waiting.pop()
        if name in found:
            continue
        source = found[name] = notes.source(name, path)
        waiting += _imported(os.path.dirname(path), source.imports, within)
    notes.save()
    return found


def beside(folder: Path) -> frozenset[str]:
    """The names of the modules and packages in a folder, which a loose file in it may import."""
    return frozenset(
        entry.name.removesuffix(".py")
        for entry in os.scandir(folder)
        if entry.name.endswith(".py") or os.path.isfile(os.path.join(entry.path, "__init__.py"))
    )


class _Within(NamedTuple):
    """What a walk stays in: a top-level package, its folder if it has one, and its like."""

    top: str
    folder: str | None
    packages: frozenset[str]


class _Notes:
    """What is known of the files of a package.

    Args:
        path: Where it is noted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] = _read(path)
        self._sources: dict[str, tuple[list[int], Source]] = {}
        self._new: dict[str, Any] = {}
        self._lock = threading.Lock()

    def source(self, module: str, path: str) -> Source:
        """What a file says as it is now."""
        state = _state(path)
        at = f"{module} {path}"
        held = self._sources.get(at)
        if held is None or held[0] != state:
            match self._known.get(at):
                case {"state": noted, "hash": str(digest), "imports": [*imports]} if noted == state:
                    source = Source(digest, tuple(imports), _changed(state))
                case _:
                    source = Source(*_summarised(path, module), _changed(state))
                    if _state(path) == state and time.time_ns() - state[4] > _FRESH_NS:
                        note = {"state": state, "hash": source.hash, "imports": source.imports}
                        with self._lock:
                            self._new[at] = note
            held = self._sources[at] = state, source
        return held[1]

    def save(self) -> None:
        """Note what is new, beside what others noted meanwhile."""
        with self._lock:
            new, self._new = self._new, {}
        if new:
            known = _read(self._path) | new
            self._known = {at: n for at, n in known.items() if os.path.exists(at.split(" ", 1)[1])}
            text = json.dumps(self._known, separators=(",", ":"))
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
                write_atomically(self._path, text.encode())


_lock = threading.Lock()
_notes: dict[Path, _Notes] = {}


def _notes_of(package: str) -> _Notes:
    name = sha256(f"{package} {_VERSION} {sys.version_info[:2]}".encode()).hexdigest()[:32]
    path = cache_directory() / "sources" / f"{name}.json"
    with _lock:
        if path not in _notes:
            _notes[path] = _Notes(path)
        return _notes[path]


def _read(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):  # nothing noted, or nothing legible
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _state(path: str) -> list[int]:
    stat = os.stat(path)
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _changed(state: list[int]) -> int:
    """When a file was last changed, by the time that only the system sets, where there is one."""
    return state[3] if os.name == "nt" else state[4]


# What a file says


def _summarised(path: str, module: str) -> tuple[str, tuple[str, ...]]:
    """The hash of a file's normal form, and what it may import."""
    text = Path(path).read_bytes()
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a file that something imports only elsewhere, or a template
        return sha256(text).hexdigest(), ()
    package = module if os.path.basename(path) == "__init__.py" else module.rpartition(".")[0]
    imports = tuple(sorted(set(_imports(tree, package))))
    for item in ast.walk(tree):
        _drop_docstring(item)
    return sha256(ast.dump(tree).encode()).hexdigest(), imports


def _drop_docstring(item: ast.AST) -> None:
    if not isinstance(item, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    match item.body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            item.body = rest  # an empty body is no program, but has a normal form
        case _:
            pass


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every name that may be a module, wherever in the file it is imported."""
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            for alias in item.names:
                yield alias.name
        elif isinstance(item, ast.ImportFrom):
            base = item.module or ""
            if item.level:
                parents = package.split(".")
                kept = parents[: len(parents) - item.level + 1]
                # In a loose file, which is in no package, this begins with a point: it lies beside.
                base = ".".join([*kept, base] if base else kept)
            yield base
            for alias in item.names:
                yield f"{base}.{alias.name}"


# Where what it imports lies


@lru_cache(maxsize=8192)
def _imported(folder: str, names: tuple[str, ...], within: _Within) -> tuple[tuple[str, str], ...]:
    """Those of the names that a file in a folder imports that are modules within, and their files.

    How nodes are declared is left out.
    """
    found: list[tuple[str, str]] = []
    for name in names:
        is_beside = within.folder is None and name.startswith(".")
        if not is_beside and name.partition(".")[0] not in within.packages:
            continue
        if name == _DECLARATION or name.startswith(_DECLARATION + "."):
            continue
        file = _file_of(name, folder, within)
        if file is not None:
            found.append((name, file))
    return tuple(found)


def _file_of(module: str, importing: str, within: _Within) -> str | None:
    """The source file of a module, without importing its package."""
    is_beside = module.startswith(".")  # as a loose file says it, whatever else has that name
    top, _, rest = module.removeprefix(".").partition(".")
    folder = None
    if not is_beside:
        folder = within.folder if top == within.top else _top_folder(top)
    return _source_in(folder or os.path.join(importing, top), rest)


@lru_cache(maxsize=8192)
def _source_in(package: str, module: str) -> str | None:
    """The file of a module that may be in a package; most names that are imported are no module."""
    place = os.path.join(package, *module.split(".")) if module else package
    if module and _source_in(package, module.rpartition(".")[0]) == f"{os.path.dirname(place)}.py":
        return None  # a name in a module, which holds no modules
    for candidate in (os.path.join(place, "__init__.py"), f"{place}.py"):
        if os.path.isfile(candidate):
            return candidate
    return None


@lru_cache(maxsize=256)
def _root_folder(module: str, file: Path) -> str | None:
    """The folder of a module's top-level package; None for a module that is in no package."""
    depth = module.count(".") + (1 if file.name == "__init__.py" else 0)
    return str(file.parents[depth - 1]) if depth else None


@lru_cache(maxsize=64)
def _top_folder(top: str) -> str | None:
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(next(iter(spec.submodule_search_locations)))

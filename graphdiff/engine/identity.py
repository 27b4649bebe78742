"""What a node is: its name, its package's version, and the source that it is made of."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b, sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from graphdiff.fingerprint import remembered
from graphdiff.graph.node import Node

_DECLARATION = "graphdiff.graph"  # how a node is declared changes nothing that it computes


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node is.

    Args:
        name: Its name.
        version: The version of the distribution that provides it; empty for a loose file.
        source: A hash of its module and of what that imports of the same distribution.
        torch: The version of torch that it computes with, as major.minor; empty if it does not.
    """

    name: str
    version: str
    source: str
    torch: str

    def digest(self) -> bytes:
        """All of it as 16 bytes."""
        text = json.dumps([self.name, self.version, self.source, self.torch])
        return blake2b(text.encode(), digest_size=16).digest()


def identity_of(node: Node[..., Any]) -> Identity:
    """What `node` is; the files of its package are read, its modules are not imported."""
    module = node.fn.__module__
    file = getattr(sys.modules.get(module), "__file__", None) or node.fn.__code__.co_filename
    hashes: list[str] = [node.fn.__qualname__]
    torch = False
    start = Path(file)
    if not start.is_file():  # typed into an interpreter: the code itself is all there is
        hashes.append(_code_hash(node.fn.__code__))
    else:
        for _, summary in sorted(_walk(module, start).items()):
            hashes.append(summary.hash)
            torch = torch or summary.torch
    top = module.partition(".")[0]
    return Identity(
        name=node.name,
        version=_version_of(top),
        source=sha256("\n".join(hashes).encode()).hexdigest()[:32],
        torch=_torch_version() if torch and node.at == "run" else "",
    )


@dataclass(frozen=True, slots=True)
class _Summary:
    """What matters of one source file: its normal form's hash, and what it imports."""

    hash: str
    imports: tuple[str, ...]
    torch: bool


def _walk(module: str, file: Path) -> dict[str, _Summary]:
    """The module and all that it imports, directly or not, from its own distribution."""
    tops = _packages_of(module.partition(".")[0])
    found: dict[str, _Summary] = {}
    waiting = [(module, file)]
    seen = {module}
    while waiting:
        name, path = waiting.pop()
        summary = found[name] = _summary(path, name)
        for imported in summary.imports:
            if imported in seen or imported.partition(".")[0] not in tops:
                continue
            seen.add(imported)
            if imported == _DECLARATION or imported.startswith(_DECLARATION + "."):
                continue
            target = _file_of(imported, path, module, file)
            if target is not None:
                waiting.append((imported, target))
    return found


def _summary(path: Path, module: str) -> _Summary:
    stat = path.stat()
    return _summary_at(
        path, module, (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    )


@lru_cache(maxsize=4096)
def _summary_at(path: Path, module: str, state: tuple[int, ...]) -> _Summary:
    answer = remembered(path, f"source of {module}, 1", lambda: _summarise(path, module))
    data = json.loads(answer)
    return _Summary(data["hash"], tuple(data["imports"]), data["torch"])


def _summarise(path: Path, module: str) -> str:
    source = path.read_bytes()
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a file that something imports only elsewhere, or a template
        return json.dumps({"hash": sha256(source).hexdigest(), "imports": [], "torch": False})
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports = sorted(set(_imports(tree, package)))
    for item in ast.walk(tree):
        _drop_docstring(item)
    digest = sha256(ast.dump(tree).encode()).hexdigest()
    torch = any(name == "torch" or name.startswith("torch.") for name in imports)
    return json.dumps({"hash": digest, "imports": imports, "torch": torch})


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
                base = ".".join([*kept, base] if base else kept)
            yield base
            for alias in item.names:
                yield f"{base}.{alias.name}"


def _file_of(module: str, importer: Path, start: str, start_file: Path) -> Path | None:
    """The source file of a module, without importing its package."""
    top, _, rest = module.partition(".")
    own = top == start.partition(".")[0]
    folder = _root_folder(start, start_file) if own else _top_folder(top)
    if folder is not None:
        return _source_in(folder, rest)
    sibling = importer.parent / f"{top}.py"
    return sibling if not rest and sibling.is_file() else None


@lru_cache(maxsize=8192)
def _source_in(package: Path, module: str) -> Path | None:
    """The file of a module that may be in a package; most names that are imported are no module."""
    place = os.path.join(package, *module.split(".")) if module else str(package)
    for candidate in (f"{place}.py", os.path.join(place, "__init__.py")):
        if os.path.isfile(candidate):
            return Path(candidate)
    return None


@lru_cache(maxsize=256)
def _root_folder(module: str, file: Path) -> Path | None:
    """The folder of a module's top-level package; None for a module that is in no package."""
    depth = module.count(".") + (1 if file.name == "__init__.py" else 0)
    if depth == 0:
        return None
    return file.parents[depth - 1]


@lru_cache(maxsize=64)
def _top_folder(top: str) -> Path | None:
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


@lru_cache(maxsize=64)
def _packages_of(top: str) -> frozenset[str]:
    """The top-level packages of the distribution that `top` belongs to."""
    if top in ("graphdiff", "graphdiff_nodes"):
        return frozenset({"graphdiff", "graphdiff_nodes"})
    distribution = _distribution_of(top)
    listed = (distribution and distribution.read_text("top_level.txt")) or ""
    return frozenset({top, *listed.split()})


@lru_cache(maxsize=64)
def _distribution_of(top: str) -> metadata.Distribution | None:
    name = "graphdiff" if top == "graphdiff_nodes" else top
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        pass
    if top in sys.stdlib_module_names or _top_folder_is_loose(top):
        return None
    names = metadata.packages_distributions().get(top)
    return metadata.distribution(names[0]) if names else None


def _top_folder_is_loose(top: str) -> bool:
    """Whether a module lies outside every folder that packages are installed into."""
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"} & set(Path(file).parts)


def _version_of(top: str) -> str:
    distribution = _distribution_of(top)
    return distribution.version if distribution else ""


@lru_cache(maxsize=1)
def _torch_version() -> str:
    try:
        return ".".join(metadata.version("torch").split(".")[:2])
    except metadata.PackageNotFoundError:
        return ""


def _code_hash(code: Any) -> str:  # noqa: ANN401 - a code object, and those in it
    parts = [code.co_code.hex(), repr(code.co_names)]
    parts += [_code_hash(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return sha256("\n".join(parts).encode()).hexdigest()

"""Loose files of nodes: modules of their own names, which import each other as in a package."""

from __future__ import annotations

import importlib
import linecache
import re
import sys
import traceback
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from graphdiff.graph.node import DeclarationError, Node

_TAKEN: Final = "graphdiff_extra_"  # before the name of a file that another module's is

_folders: dict[str, Path] = {}
"""Folders of loose files by the names of the packages that stand for them."""


def load_file(path: Path) -> ModuleType:
    """The module of a Python file, whose nodes are declared soundly.

    It goes by the file's name, as if it were imported from its folder, and the files beside it can
    be imported, by `import helper` and by `from . import helper` alike.
    """
    file = path.resolve()
    package = _package_of(file.parent)
    module = importlib.import_module(f"{package}.{file.stem}")
    for value in vars(module).values():
        if isinstance(value, Node) and value.fn.__module__ == module.__name__:
            value.refuse_undeclared()
    return module


def complaint(path: Path, error: BaseException) -> str:
    """What a file, or one that it imports, did wrong when it was loaded, with the line."""
    if isinstance(error, DeclarationError):
        return str(error).replace(str(path.resolve()), str(path))
    folder = path.parent.resolve()
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        file, line, said = (
            Path(error.filename),
            error.lineno,
            f"{type(error).__name__}: {error.msg}",
        )
    else:
        frames = [
            (Path(f.filename), f.lineno or 0) for f in traceback.extract_tb(error.__traceback__)
        ]
        own = [(file, line) for file, line in frames if folder in file.parents]
        if not own:
            return f"{path}: {said}"
        file, line = own[-1]
    shown = path.parent / file.relative_to(folder) if folder in file.parents else file
    text = linecache.getline(str(file), line).rstrip()
    return f"{shown}:{line}: {said}" + (f"\n{line:>5} | {text}" if text else "")


class _Finder(MetaPathFinder):
    """Finds the files of loose packages."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What is known of a file; None for what is no file of a loose package."""
        package, _, stem = fullname.rpartition(".")
        folder = _folders.get(package)
        file = folder / f"{stem}.py" if folder is not None else None
        if file is None or not file.is_file():
            return None
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, str(file)))


class _Loader(SourceFileLoader):
    """Loads a file as the module that `import` of its name alone gives, once."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module, which may be loaded already."""
        name = spec.name.rpartition(".")[2]
        known = sys.modules.get(name)
        if known is None or _is_of(known, self.path):
            return known or ModuleType(name)
        return sys.modules.get(f"{_TAKEN}{name}") or ModuleType(f"{_TAKEN}{name}")

    def exec_module(self, module: ModuleType) -> None:
        """Run the file, if that was not done."""
        name = module.__name__
        if sys.modules.get(name) is module:
            return
        code = self.get_code(self.name)
        assert code is not None  # a source file has code, or cannot be compiled
        sys.modules[name] = module
        try:
            exec(code, vars(module))
        except BaseException:
            del sys.modules[name]
            raise


def _package_of(folder: Path) -> str:
    """The package that stands for a folder; made when it is first asked for."""
    name = base = "loose_" + re.sub(r"\W", "_", folder.name)
    number = 1
    while _folders.get(name, folder) != folder or (name in sys.modules and name not in _folders):
        number += 1
        name = f"{base}_{number}"
    if name not in _folders:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        _folders[name] = folder
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # so that files beside it can be imported
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
    return name


def _is_of(module: ModuleType, file: str) -> bool:
    known = getattr(module, "__file__", None)
    return known is not None and Path(known).resolve() == Path(file)

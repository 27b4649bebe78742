"""Which nodes, named parts and wire types there are: built in, installed, and added."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, get_args

from graphdiff.graph.installed import entry_points_of
from graphdiff.graph.node import Node

GROUP: Final = "graphdiff.nodes"
BUILT_IN: Final = "graphdiff_nodes"
RESERVED: Final = ("Loop", "If")


class RegistryError(ValueError):
    """Nodes that cannot be registered: two of one name, or a module that cannot be loaded."""


@dataclass(frozen=True)
class Registry:
    """Node types and parts by the names that stand in files.

    Args:
        nodes: Node types by name.
        parts: Files of named parts by name.
    """

    nodes: Mapping[str, Node[..., Any]]
    parts: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def __post_init__(self) -> None:
        for name in (*self.nodes, *self.parts):
            if name in RESERVED:
                raise RegistryError(f"{name} is a word of the file format: give it another name")
            if name in self.nodes and name in self.parts:
                raise RegistryError(
                    f"{name} is a node of {self.nodes[name].__module__} and the part "
                    f"{self.parts[name]}: rename one"
                )

    @staticmethod
    def of(*nodes: Node[..., Any], parts: Mapping[str, Path] | None = None) -> Registry:
        """A registry of just these.

        Raises:
            RegistryError: two have one name.
        """
        return Registry(MappingProxyType(_by_name(nodes)), MappingProxyType(dict(parts or {})))

    def with_nodes(self, nodes: Mapping[str, Node[..., Any]]) -> Registry:
        """This registry and more nodes.

        Raises:
            RegistryError: another node has the name of one of them.
        """
        if all(self.nodes.get(name) is node for name, node in nodes.items()):
            return self
        together = _by_name((*self.nodes.values(), *nodes.values()))
        return Registry(MappingProxyType(together), self.parts)

    @cached_property
    def types(self) -> Mapping[str, type]:
        """The types of the values on wires, by name.

        Raises:
            RegistryError: two classes have one name.
        """
        found: dict[str, type] = {}
        for node in self.nodes.values():
            for annotation in (*_types_of_params(node), *(p.type for p in node.ports.values())):
                for cls in _classes(annotation):
                    if found.setdefault(cls.__name__, cls) is not cls:
                        raise RegistryError(
                            f"two wire types are called {cls.__name__}: that of {cls.__module__} "
                            f"and that of {found[cls.__name__].__module__}: rename one"
                        )
        return MappingProxyType(found)


def load_registry(extra: Sequence[Path] = ()) -> Registry:
    """The nodes of every installed package that provides some, and those of these files.

    Args:
        extra: Python files, or folders of Python files and of parts (`*.yaml`).

    Raises:
        RegistryError: two nodes have one name, or a file cannot be loaded.
    """
    installed = _installed()
    if not extra:
        return installed
    modules: list[ModuleType] = []
    parts: list[Path] = []
    for path in extra:
        if path.is_dir():
            modules += [_load_file(file) for file in sorted(path.glob("*.py"))]
            parts += sorted(path.glob("*.yaml"))
        elif path.is_file():
            modules.append(_load_file(path))
        else:
            raise RegistryError(f"{path}: there is no such file or folder of nodes")
    return _merged(installed, modules, parts)


@cache
def _installed() -> Registry:
    names = {value.partition(":")[0] for value in entry_points_of(GROUP)}
    if importlib.util.find_spec(BUILT_IN) is not None:
        names.add(BUILT_IN)  # in a source tree that is not installed
    modules: list[ModuleType] = []
    parts: list[Path] = []
    for name in sorted(names, key=lambda name: (name != BUILT_IN, name)):
        package = importlib.import_module(name)
        modules.append(package)
        for module in getattr(package, "NODE_MODULES", ()):
            full = module if module.startswith(f"{name}.") else f"{name}.{module}"
            modules.append(importlib.import_module(full))
        folder = getattr(package, "PARTS", None)
        if folder is not None:
            parts += sorted(Path(folder).glob("*.yaml"))
    return _merged(Registry({}), modules, parts)


def _merged(base: Registry, modules: Iterable[ModuleType], parts: Iterable[Path]) -> Registry:
    nodes: list[Node[..., Any]] = [
        n for module in modules for n in vars(module).values() if isinstance(n, Node)
    ]
    by_name = dict(base.parts)
    for file in parts:
        name = part_name(file)
        if by_name.setdefault(name, file) != file:
            raise RegistryError(f"two parts are called {name}: {by_name[name]} and {file}")
    every: list[Node[..., Any]] = [*base.nodes.values(), *nodes]
    return Registry(MappingProxyType(_by_name(every)), MappingProxyType(by_name))


def part_name(file: Path) -> str:
    """The name of a part, from that of its file: `two_passes.yaml` is `TwoPasses`."""
    words = file.stem.replace("-", "_").split("_")
    return "".join(word[:1].upper() + word[1:] for word in words)


def _by_name(nodes: Iterable[Node[..., Any]]) -> dict[str, Node[..., Any]]:
    found: dict[str, Node[..., Any]] = {}
    for node in nodes:
        other = found.setdefault(node.name, node)
        if other is not node:
            raise RegistryError(
                f"two nodes are called {node.name}: that of {other.__module__} and that of "
                f"{node.__module__}: rename one"
            )
    return found


def _load_file(path: Path) -> ModuleType:
    from graphdiff.graph.loose import complaint, load_file  # few runs have such files

    if path.suffix != ".py":
        raise RegistryError(f"{path}: nodes are loaded from Python files (*.py)")
    try:
        return load_file(path)
    except (Exception, SystemExit) as error:  # a file may do anything when it is loaded
        raise RegistryError(complaint(path, error)) from error


def _types_of_params(node: Node[..., Any]) -> Iterable[Any]:
    return (param.type for param in node.params.values())


def _classes(annotation: Any) -> Iterable[type]:  # noqa: ANN401 - annotations are any object
    """The classes in an annotation that are no built-in ones."""
    args = get_args(annotation)
    if args:
        for argument in args:
            yield from _classes(argument)
    elif isinstance(annotation, type) and annotation.__module__ not in (
        "builtins",
        "collections.abc",
        "pathlib",
        "typing",
    ):
        yield annotation

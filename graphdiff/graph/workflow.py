"""A workflow as it was written: its graph, the texts it came from, and where everything stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from graphdiff.graph.node import Node
from graphdiff.graph.spec import Diagnostic, Graph, GraphPath, Place


class Places(Protocol):
    """Where the keys and values of a graph are written; the nearest place above where one is not.

    Inside of a part, a path goes on after `"type"`: `("nodes", "denoise", "type", "nodes", ...)`.
    """

    def value(self, path: GraphPath) -> Place | None:
        """Where the value at this path begins."""
        ...

    def key(self, path: GraphPath) -> Place | None:
        """Where the key (of a map) or the item (of a list) at this path begins."""
        ...


class Nowhere:
    """The places of a graph that was written nowhere."""

    def value(self, path: GraphPath) -> Place | None:
        """None."""
        return None

    def key(self, path: GraphPath) -> Place | None:
        """None."""
        return None


@dataclass(frozen=True, slots=True)
class Workflow:
    """A graph and where it comes from.

    Args:
        graph: What it says.
        places: Where that is written.
        sources: The original texts by file name, relative to the main file's folder; the main file
            first, then every part that is included by path.
        file: The main file.
        mistakes: What was found wrong while reading; `yaml.read` raises where there is any.
        nodes: The node types that a builder called, which need not be registered.
    """

    graph: Graph
    places: Places = field(default_factory=Nowhere, compare=False)
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    file: Path | None = None
    mistakes: tuple[Diagnostic, ...] = ()
    nodes: Mapping[str, Node[..., Any]] = field(default_factory=dict[str, Node[..., Any]])

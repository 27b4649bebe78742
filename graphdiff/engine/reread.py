"""Workflows read and checked, those in files again only where their text has changed."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from graphdiff.graph.check import checked
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Graph
from graphdiff.graph.workflow import Workflow

if TYPE_CHECKING:
    from graphdiff.graph.build import Graph as BuiltGraph

_REMEMBERED = 4

Runnable: TypeAlias = "Workflow | Graph | BuiltGraph | Path | str"
"""A workflow in any form: a file, what was built in Python, or the data of either."""

_Key: TypeAlias = tuple[str, str, tuple[str, ...] | None]


class Files:
    """The last few workflow files that were read.

    One that has the text it had is the same object again, so that what was worked out of its graph
    still counts. A file that includes others by path is always read anew, with all of them.

    Args:
        registry: The node types.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: OrderedDict[_Key, tuple[str, Workflow]] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, path: Path | str, targets: Sequence[str] | None = None) -> Workflow:
        """A workflow file as it is now, checked, its named parts resolved.

        Raises:
            WorkflowError: with every mistake in it.
        """
        from graphdiff.graph.source import read_text
        from graphdiff.graph.yaml import draft

        key = str(path), os.getcwd(), None if targets is None else tuple(targets)
        with self._lock:
            known = self._known.get(key)
        if known is not None and read_text(Path(path)) == known[0]:
            return known[1]
        drafted = draft(path)
        found = checked(drafted, self._registry, targets=targets)
        with self._lock:
            if len(drafted.sources) == 1:
                self._known[key] = next(iter(drafted.sources.values())), found
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found


class Workflows:
    """The last few workflows of a session, in any form.

    Args:
        registry: The node types.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._files = Files(registry)
        self._known: OrderedDict[
            tuple[int, tuple[str, ...] | None], tuple[object, Workflow, Registry]
        ] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, workflow: Runnable, targets: Sequence[str] | None) -> tuple[Workflow, Registry]:
        """A workflow checked, with its named parts resolved, and the nodes it may use.

        Raises:
            WorkflowError: with every mistake in it.
        """
        if isinstance(workflow, Path | str):
            return self._files.load(workflow, targets), self._registry
        key = id(workflow), None if targets is None else tuple(targets)
        lasting = isinstance(workflow, Workflow | Graph)  # a builder may grow
        with self._lock:
            known = self._known.get(key) if lasting else None
            if known is not None:
                self._known.move_to_end(key)
                return known[1], known[2]
        if isinstance(workflow, Workflow):
            whole = workflow
        elif isinstance(workflow, Graph):
            whole = Workflow(workflow)
        else:
            whole = workflow.workflow
        registry = self._registry.with_nodes(whole.nodes)
        found = checked(whole, registry, targets=targets)
        if lasting:
            with self._lock:
                self._known[key] = workflow, found, registry
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return found, registry

    def clear(self) -> None:
        """Forget those that are no files."""
        with self._lock:
            self._known.clear()

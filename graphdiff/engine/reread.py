"""Workflow files, read and checked again only where their text has changed."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from graphdiff.graph.check import checked
from graphdiff.graph.registry import Registry
from graphdiff.graph.workflow import Workflow

_REMEMBERED = 4

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

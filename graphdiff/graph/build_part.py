"""Parts called in Python: each call adds the part to the graph that is being built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphdiff.graph.handles import Handle
from graphdiff.graph.names import did_you_mean
from graphdiff.graph.places import FilePlaces
from graphdiff.graph.records import BuildError, Record, checked, line_of_call, needed_scope
from graphdiff.graph.workflow import Workflow


class PartFunction:
    """A part: called inside `with Graph()` it adds itself, and gives the handle of its outputs."""

    def __init__(self, type: str, workflow: Workflow) -> None:
        self.type = type
        self.graph = workflow.graph
        self._workflow = workflow

    def __call__(self, **args: object) -> Any:  # noqa: ANN401 - outputs are named in a file
        """Add the part with these arguments, which are its inputs."""
        scope = needed_scope(f"{self.type}(...)")
        record = Record(self.type, checked(args, scope, self.type), line_of_call(), scope)
        record.part = self.graph
        if isinstance(self._workflow.places, FilePlaces):
            record.part_places = self._workflow.places
        scope.records.append(record)
        return Handle(record)


def load_part(type: str | Path, registry: Any = None) -> PartFunction:  # noqa: ANN401
    """A named part, or the workflow in a file, to be called inside `with Graph()`.

    Args:
        type: The part's name, or a path.
        registry: Where to look for named parts; the installed ones without.

    Raises:
        BuildError: there is no part of this name.
        WorkflowError: the file has mistakes.
    """
    from graphdiff.graph.parts import resolve
    from graphdiff.graph.reader import is_path
    from graphdiff.graph.registry import load_registry
    from graphdiff.graph.yaml import read

    known = registry if registry is not None else load_registry()
    written = str(type)
    if isinstance(type, Path) or is_path(written):
        file = Path(type)
    elif written in known.parts:
        file = known.parts[written]
    else:
        hint = did_you_mean(written, known.parts)
        raise BuildError(f"there is no part called {written}" + (f": {hint}" if hint else ""))
    return PartFunction(written, resolve(read(file), known))

"""Diffusion workflows as code: typed graphs that are checked, planned, cached and run.

The names below are imported when they are first used, so that `import graphdiff` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphdiff.engine.diff import diff
    from graphdiff.engine.errors import Interrupted, NodeError, RunError
    from graphdiff.engine.plan import Plan
    from graphdiff.engine.results import Results
    from graphdiff.engine.run import Cancel
    from graphdiff.engine.session import Session, plan, run, run_many
    from graphdiff.engine.watch import watch
    from graphdiff.engine.why import why
    from graphdiff.graph.build import Graph, If, Input, Loop, load_part, named, output, text
    from graphdiff.graph.check import load
    from graphdiff.graph.node import (
        InputFile,
        Locator,
        OutputFile,
        Outputs,
        Settings,
        WireError,
        node,
    )
    from graphdiff.graph.registry import Registry, load_registry
    from graphdiff.graph.spec import Diagnostic, WorkflowError

_HOMES = {
    "graphdiff.engine.diff": ("diff",),
    "graphdiff.engine.errors": ("Interrupted", "NodeError", "RunError"),
    "graphdiff.engine.plan": ("Plan",),
    "graphdiff.engine.results": ("Results",),
    "graphdiff.engine.run": ("Cancel",),
    "graphdiff.engine.session": ("Session", "plan", "run", "run_many"),
    "graphdiff.engine.watch": ("watch",),
    "graphdiff.engine.why": ("why",),
    "graphdiff.graph.build": (
        "Graph",
        "If",
        "Input",
        "Loop",
        "load_part",
        "named",
        "output",
        "text",
    ),
    "graphdiff.graph.check": ("load",),
    "graphdiff.graph.node": (
        "InputFile",
        "Locator",
        "OutputFile",
        "Outputs",
        "Settings",
        "WireError",
        "node",
    ),
    "graphdiff.graph.registry": ("Registry", "load_registry"),
    "graphdiff.graph.spec": ("Diagnostic", "WorkflowError"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_LIBRARIES = ("graphdiff.pipelines", "graphdiff.schedulers", "graphdiff.models")

__all__ = [
    "Cancel",
    "Diagnostic",
    "Graph",
    "If",
    "Input",
    "InputFile",
    "Interrupted",
    "Locator",
    "Loop",
    "NodeError",
    "OutputFile",
    "Outputs",
    "Plan",
    "Registry",
    "Results",
    "RunError",
    "Session",
    "Settings",
    "WireError",
    "WorkflowError",
    "diff",
    "load",
    "load_part",
    "load_registry",
    "named",
    "node",
    "output",
    "plan",
    "run",
    "run_many",
    "text",
    "watch",
    "why",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    home = _HOME.get(name)
    if home is None and name[:1].isupper():  # a class of one of the libraries
        home = next((m for m in _LIBRARIES if name in _names(m)), None)
    if home is None:
        raise AttributeError(f"module 'graphdiff' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(name for m in _LIBRARIES for name in _names(m))})


def _names(module: str) -> tuple[str, ...]:
    return tuple(getattr(import_module(module), "__all__", ()))

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
    from graphdiff.models import *  # noqa: F403
    from graphdiff.pipelines import *  # noqa: F403
    from graphdiff.schedulers import DDIMScheduler as DDIMScheduler
    from graphdiff.schedulers import DDPMScheduler as DDPMScheduler
    from graphdiff.schedulers import DEISMultistepScheduler as DEISMultistepScheduler
    from graphdiff.schedulers import DPMSolverMultistepScheduler as DPMSolverMultistepScheduler
    from graphdiff.schedulers import DPMSolverSDEScheduler as DPMSolverSDEScheduler
    from graphdiff.schedulers import DPMSolverSinglestepScheduler as DPMSolverSinglestepScheduler
    from graphdiff.schedulers import (
        EDMDPMSolverMultistepScheduler as EDMDPMSolverMultistepScheduler,
    )
    from graphdiff.schedulers import EDMEulerScheduler as EDMEulerScheduler
    from graphdiff.schedulers import (
        EulerAncestralDiscreteScheduler as EulerAncestralDiscreteScheduler,
    )
    from graphdiff.schedulers import EulerDiscreteScheduler as EulerDiscreteScheduler
    from graphdiff.schedulers import (
        FlowMatchEulerDiscreteScheduler as FlowMatchEulerDiscreteScheduler,
    )
    from graphdiff.schedulers import (
        FlowMatchHeunDiscreteScheduler as FlowMatchHeunDiscreteScheduler,
    )
    from graphdiff.schedulers import HeunDiscreteScheduler as HeunDiscreteScheduler
    from graphdiff.schedulers import (
        KDPM2AncestralDiscreteScheduler as KDPM2AncestralDiscreteScheduler,
    )
    from graphdiff.schedulers import KDPM2DiscreteScheduler as KDPM2DiscreteScheduler
    from graphdiff.schedulers import LCMScheduler as LCMScheduler
    from graphdiff.schedulers import LMSDiscreteScheduler as LMSDiscreteScheduler
    from graphdiff.schedulers import PNDMScheduler as PNDMScheduler
    from graphdiff.schedulers import TCDScheduler as TCDScheduler
    from graphdiff.schedulers import UniPCMultistepScheduler as UniPCMultistepScheduler

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

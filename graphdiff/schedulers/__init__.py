"""Noise schedules and solvers: rules, frozen and pure, and shells with diffusers' names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphdiff.schedulers.ddim import DDIM as DDIM
    from graphdiff.schedulers.ddpm import DDPM as DDPM
    from graphdiff.schedulers.deis import DEIS as DEIS
    from graphdiff.schedulers.distilled import LCM as LCM
    from graphdiff.schedulers.distilled import TCD as TCD
    from graphdiff.schedulers.dpm_multistep import DPMSolverMultistep as DPMSolverMultistep
    from graphdiff.schedulers.dpm_sde import DPMSolverSDE as DPMSolverSDE
    from graphdiff.schedulers.dpm_singlestep import DPMSolverSinglestep as DPMSolverSinglestep
    from graphdiff.schedulers.edm import EDMDPMSolverMultistep as EDMDPMSolverMultistep
    from graphdiff.schedulers.edm import EDMEuler as EDMEuler
    from graphdiff.schedulers.euler import Euler as Euler
    from graphdiff.schedulers.euler import EulerAncestral as EulerAncestral
    from graphdiff.schedulers.flow import FlowEuler as FlowEuler
    from graphdiff.schedulers.flow import FlowHeun as FlowHeun
    from graphdiff.schedulers.heun import Heun as Heun
    from graphdiff.schedulers.kdpm2 import KDPM2 as KDPM2
    from graphdiff.schedulers.kdpm2 import KDPM2Ancestral as KDPM2Ancestral
    from graphdiff.schedulers.lms import LMS as LMS
    from graphdiff.schedulers.names import named as named
    from graphdiff.schedulers.output import SchedulerOutput as SchedulerOutput
    from graphdiff.schedulers.pndm import PNDM as PNDM
    from graphdiff.schedulers.rules import rule_class as rule_class
    from graphdiff.schedulers.rules import rule_from_config as rule_from_config
    from graphdiff.schedulers.schedule import Grid as Grid
    from graphdiff.schedulers.schedule import NoiseSource as NoiseSource
    from graphdiff.schedulers.schedule import Rule as Rule
    from graphdiff.schedulers.schedule import Schedule as Schedule
    from graphdiff.schedulers.schedule import Step as Step
    from graphdiff.schedulers.schedule import Stepped as Stepped
    from graphdiff.schedulers.shell import Scheduler as Scheduler
    from graphdiff.schedulers.shells_by_sigma import (
        DPMSolverSDEScheduler as DPMSolverSDEScheduler,
    )
    from graphdiff.schedulers.shells_by_sigma import EDMEulerScheduler as EDMEulerScheduler
    from graphdiff.schedulers.shells_by_sigma import (
        EulerAncestralDiscreteScheduler as EulerAncestralDiscreteScheduler,
    )
    from graphdiff.schedulers.shells_by_sigma import (
        EulerDiscreteScheduler as EulerDiscreteScheduler,
    )
    from graphdiff.schedulers.shells_by_sigma import (
        HeunDiscreteScheduler as HeunDiscreteScheduler,
    )
    from graphdiff.schedulers.shells_by_sigma import (
        KDPM2AncestralDiscreteScheduler as KDPM2AncestralDiscreteScheduler,
    )
    from graphdiff.schedulers.shells_by_sigma import (
        KDPM2DiscreteScheduler as KDPM2DiscreteScheduler,
    )
    from graphdiff.schedulers.shells_by_sigma import LMSDiscreteScheduler as LMSDiscreteScheduler
    from graphdiff.schedulers.shells_by_timestep import DDIMScheduler as DDIMScheduler
    from graphdiff.schedulers.shells_by_timestep import DDPMScheduler as DDPMScheduler
    from graphdiff.schedulers.shells_by_timestep import LCMScheduler as LCMScheduler
    from graphdiff.schedulers.shells_by_timestep import PNDMScheduler as PNDMScheduler
    from graphdiff.schedulers.shells_by_timestep import TCDScheduler as TCDScheduler
    from graphdiff.schedulers.shells_of_flows import (
        FlowMatchEulerDiscreteScheduler as FlowMatchEulerDiscreteScheduler,
    )
    from graphdiff.schedulers.shells_of_flows import (
        FlowMatchHeunDiscreteScheduler as FlowMatchHeunDiscreteScheduler,
    )
    from graphdiff.schedulers.shells_of_solvers import (
        DEISMultistepScheduler as DEISMultistepScheduler,
    )
    from graphdiff.schedulers.shells_of_solvers import (
        DPMSolverMultistepScheduler as DPMSolverMultistepScheduler,
    )
    from graphdiff.schedulers.shells_of_solvers import (
        DPMSolverSinglestepScheduler as DPMSolverSinglestepScheduler,
    )
    from graphdiff.schedulers.shells_of_solvers import (
        EDMDPMSolverMultistepScheduler as EDMDPMSolverMultistepScheduler,
    )
    from graphdiff.schedulers.shells_of_solvers import (
        UniPCMultistepScheduler as UniPCMultistepScheduler,
    )
    from graphdiff.schedulers.unipc import UniPC as UniPC

_MODULES = {
    "ddim": ("DDIM",),
    "ddpm": ("DDPM",),
    "deis": ("DEIS",),
    "distilled": ("LCM", "TCD"),
    "dpm_multistep": ("DPMSolverMultistep",),
    "dpm_sde": ("DPMSolverSDE",),
    "dpm_singlestep": ("DPMSolverSinglestep",),
    "edm": ("EDMDPMSolverMultistep", "EDMEuler"),
    "euler": ("Euler", "EulerAncestral"),
    "flow": ("FlowEuler", "FlowHeun"),
    "heun": ("Heun",),
    "kdpm2": ("KDPM2", "KDPM2Ancestral"),
    "lms": ("LMS",),
    "names": ("named",),
    "pndm": ("PNDM",),
    "rules": ("rule_class", "rule_from_config"),
    "schedule": ("Grid", "NoiseSource", "Rule", "Schedule", "Step", "Stepped"),
    "output": ("SchedulerOutput",),
    "shell": ("Scheduler",),
    "unipc": ("UniPC",),
    "shells_by_sigma": (
        "DPMSolverSDEScheduler",
        "EDMEulerScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
    ),
    "shells_by_timestep": (
        "DDIMScheduler",
        "DDPMScheduler",
        "LCMScheduler",
        "PNDMScheduler",
        "TCDScheduler",
    ),
    "shells_of_flows": ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"),
    "shells_of_solvers": (
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EDMDPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DDIM",
    "DDPM",
    "DEIS",
    "KDPM2",
    "LCM",
    "LMS",
    "PNDM",
    "TCD",
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistep",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDE",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestep",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistep",
    "EDMDPMSolverMultistepScheduler",
    "EDMEuler",
    "EDMEulerScheduler",
    "Euler",
    "EulerAncestral",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowEuler",
    "FlowHeun",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "Grid",
    "Heun",
    "HeunDiscreteScheduler",
    "KDPM2Ancestral",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "NoiseSource",
    "PNDMScheduler",
    "Rule",
    "Schedule",
    "Scheduler",
    "SchedulerOutput",
    "Step",
    "Stepped",
    "TCDScheduler",
    "UniPC",
    "UniPCMultistepScheduler",
    "named",
    "rule_class",
    "rule_from_config",
]


def __getattr__(name: str) -> object:
    """Import a name's module when the name is first asked for: only shells need torch."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value

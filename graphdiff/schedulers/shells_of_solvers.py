"""Schedulers with diffusers' names that are exponential integrators: DPM-Solver, UniPC, DEIS."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from graphdiff.schedulers.betas import sigma_table
from graphdiff.schedulers.deis import DEIS
from graphdiff.schedulers.dpm_multistep import DPMSolverMultistep
from graphdiff.schedulers.dpm_singlestep import DPMSolverSinglestep
from graphdiff.schedulers.edm import EDMDPMSolverMultistep
from graphdiff.schedulers.output import SchedulerOutput
from graphdiff.schedulers.schedule import Grid
from graphdiff.schedulers.shell import Timestep
from graphdiff.schedulers.shells_by_sigma import EDMScheduler
from graphdiff.schedulers.shells_by_timestep import TrainedScheduler
from graphdiff.schedulers.solvers import SolverRule
from graphdiff.schedulers.torch_noise import Generators
from graphdiff.schedulers.unipc import UniPC

V = TypeVar("V", bound=SolverRule)


class SolverScheduler(TrainedScheduler[V]):
    """A solver with whole timesteps, which starts at the last where it does not find one."""

    needs_steps = True

    @property
    def model_outputs(self) -> list[Tensor | None]:
        """The converted outputs that the next step looks back to."""
        kept = self._history.outputs if self._history else ()
        return [*[None] * (self.rule.solver_order - len(kept)), *kept]

    def _missing(self, timestep: float) -> int:
        return len(self.grid.timesteps) - 1

    def _training_grid(self) -> Grid:
        times = [float(t) for t in range(self.rule.num_train_timesteps - 1, -1, -1)]
        return Grid(tuple(times), sigma_table(self.rule.alphas), len(times))


class PlainSolverScheduler(SolverScheduler[V]):
    """A solver that draws no noise."""

    def step(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput:
        """Go to the next noise level."""
        return SchedulerOutput(self._advance(model_output, self._here(timestep), sample))


class UniPCMultistepScheduler(PlainSolverScheduler[UniPC]):
    """Predictor and corrector; see `UniPC`."""


class DEISMultistepScheduler(PlainSolverScheduler[DEIS]):
    """Integrator in log rho; see `DEIS`."""


class DPMSolverSinglestepScheduler(SolverScheduler[DPMSolverSinglestep]):
    """DPM-Solver in steps of several calls; see `DPMSolverSinglestep`."""

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go to the next noise level."""
        moved = self._advance(model_output, self._here(timestep), sample, generator)
        return SchedulerOutput(moved)


class DPMSolverMultistepScheduler(SolverScheduler[DPMSolverMultistep]):
    """DPM-Solver that looks back; see `DPMSolverMultistep`."""

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators | None = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go to the next noise level."""
        place = self._here(timestep)
        moved = self._advance(model_output, place, sample, generator, variance_noise)
        return SchedulerOutput(moved)


class EDMDPMSolverMultistepScheduler(EDMScheduler[EDMDPMSolverMultistep]):
    """DPM-Solver++ for models that were trained by noise level; see `EDMDPMSolverMultistep`."""

    needs_steps = True

    def _missing(self, timestep: float) -> int:
        return len(self.grid.timesteps) - 1

    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Go to the next noise level."""
        moved = self._advance(model_output, self._here(timestep), sample, generator)
        return SchedulerOutput(moved)

"""Schedulers with diffusers' names that are exponential integrators: DPM-Solver, UniPC, DEIS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from graphdiff.schedulers.betas import sigma_table
from graphdiff.schedulers.deis import DEIS
from graphdiff.schedulers.dpm_multistep import DPMSolverMultistep
from graphdiff.schedulers.dpm_singlestep import DPMSolverSinglestep
from graphdiff.schedulers.edm import EDMDPMSolverMultistep
from graphdiff.schedulers.output import SchedulerOutput
from graphdiff.schedulers.schedule import Grid
from graphdiff.schedulers.shell import DrawingScheduler, PlainScheduler, Timestep
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
        levels = sigma_table(self.rule.alphas)[::-1]
        times = [float(t) for t in range(self.rule.num_train_timesteps - 1, -1, -1)]
        return Grid(tuple(times), (*levels, self.rule.end_sigma(levels[-1])), len(times))

    def _sigma_entries(self) -> Sequence[float]:
        # Before there is a run these stand in the other order, as in diffusers; noise that is added
        # then goes by timestep all the same.
        if self.num_inference_steps is None:
            return sigma_table(self.rule.alphas)
        return super()._sigma_entries()


class UniPCMultistepScheduler(SolverScheduler[UniPC], PlainScheduler[UniPC]):
    """Predictor and corrector; see `UniPC`."""


class DEISMultistepScheduler(SolverScheduler[DEIS], PlainScheduler[DEIS]):
    """Integrator in log rho; see `DEIS`."""


class DPMSolverSinglestepScheduler(
    SolverScheduler[DPMSolverSinglestep], DrawingScheduler[DPMSolverSinglestep]
):
    """DPM-Solver in steps of several calls; see `DPMSolverSinglestep`."""


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
        return self._taken(model_output, timestep, sample, generator, variance_noise)


class EDMDPMSolverMultistepScheduler(
    EDMScheduler[EDMDPMSolverMultistep], DrawingScheduler[EDMDPMSolverMultistep]
):
    """DPM-Solver++ for models that were trained by noise level; see `EDMDPMSolverMultistep`."""

    needs_steps = True

    def _missing(self, timestep: float) -> int:
        return len(self.grid.timesteps) - 1

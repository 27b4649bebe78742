"""DPM-Solver and DPM-Solver++ in their multistep forms. arXiv:2206.00927, arXiv:2211.01095."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from graphdiff.schedulers.betas import log_sigma_table, sigma_table
from graphdiff.schedulers.ddpm import Variance
from graphdiff.schedulers.dpm_formulas import Algorithm, Method, growth, multistep_weights
from graphdiff.schedulers.schedule import Grid, NoiseSource, Step, Stepped, draw
from graphdiff.schedulers.sigmas import lu_sigmas
from graphdiff.schedulers.solvers import (
    SolverHistory,
    SolverRule,
    clipped_timesteps,
    level,
    level_next,
    lower_at_the_end,
)
from graphdiff.schedulers.spacing import check_steps
from graphdiff.schedulers.weighted import combined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DPMRule(SolverRule):
    """What the multistep and singlestep forms share."""

    replaced: ClassVar[dict[str, dict[str, str]]] = {
        "algorithm_type": {"deis": "dpmsolver++"},
        "solver_type": {"logrho": "midpoint", "bh1": "midpoint", "bh2": "midpoint"},
    }

    algorithm_type: Algorithm = "dpmsolver++"
    solver_type: Method = "midpoint"
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    lambda_min_clipped: float = float("-inf")
    variance_type: Variance | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.algorithm_type.endswith("++") and self.final_sigmas_type == "zero":
            raise ValueError(
                f"{self.name}: final_sigmas_type is 'zero', but it must be 'sigma_min' where "
                f"algorithm_type is {self.algorithm_type!r}"
            )
        if self.algorithm_type == "sde-dpmsolver" and self.solver_order == 3:
            raise ValueError(
                f"{self.name}: solver_order is 3, but it must be 1 or 2 where algorithm_type is "
                "'sde-dpmsolver'"
            )

    @property
    def stochastic(self) -> bool:
        """The SDE forms draw noise in each step, the last one too."""
        return self.algorithm_type.startswith("sde-")

    @property
    def clipped(self) -> int:
        """How many of the noisiest training timesteps are left out."""
        return clipped_timesteps(self.alphas, self.lambda_min_clipped)

    def end_sigma(self, lowest: float) -> float:
        """Zero, or the training table's lowest level."""
        return 0.0 if self.final_sigmas_type == "zero" else sigma_table(self.alphas)[0]

    def converted(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give what the solver integrates: images for the ++ forms, noise for the others."""
        if self.variance_type in ("learned", "learned_range") and self.prediction_type == "epsilon":
            prediction = prediction[:, : sample.shape[1]]
        if self.algorithm_type.endswith("++"):
            return self.denoised(prediction, step, sample)
        return self.noise_of(prediction, step, sample)


@dataclass(frozen=True, kw_only=True)
class DPMSolverMultistep(DPMRule):
    """One model call a step, of order 1 to 3. Lu et al. 2022, arXiv:2211.01095, algorithm 2.

    `Step.order` is lower at the end of few steps and where the last step takes all noise out.
    """

    name = "DPMSolverMultistepScheduler"

    euler_at_final: bool = False
    use_lu_lambdas: bool | None = False

    def grid(
        self,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> Grid:
        """Choose timesteps by the spacing, spread the levels, or take the user's own of either."""
        if self.use_lu_lambdas and steps is not None and not self.use_karras_sigmas:
            logs = log_sigma_table(self.alphas)
            levels = lu_sigmas(check_steps(steps, self.num_train_timesteps), logs[0], logs[-1])
            return self.of_levels(levels, [int(self.whole_timestep(each)) for each in levels])
        return super().grid(steps, timesteps=timesteps, sigmas=sigmas, mu=mu)

    def check_own_timesteps(self) -> None:
        """Refuse timesteps of the user's own where a setting chooses them."""
        super().check_own_timesteps()
        if self.use_lu_lambdas:
            raise ValueError(self.chooses_already("use_lu_lambdas is true"))

    def whole_timestep(self, sigma: float) -> float:
        """Give the timestep of a noise level, rounded for karras and lu, but for cosine betas."""
        timestep = self.timestep_of(sigma)
        rounds = self.use_karras_sigmas or self.use_lu_lambdas
        return round(timestep) if rounds and self.beta_schedule != "squaredcos_cap_v2" else timestep

    def order_at(self, index: int, count: int) -> int:
        """Give the highest order at one of `count` steps."""
        last = self.euler_at_final or self.final_sigmas_type == "zero"
        few = self.lower_order_final
        return lower_at_the_end(self.solver_order, index, count, last=last, few=few)

    def step(
        self,
        prediction: Tensor,
        step: Step,
        sample: Tensor,
        history: SolverHistory | None = None,
        rng: NoiseSource | None = None,
    ) -> Stepped[SolverHistory]:
        """Integrate the polynomial through the last outputs to the next level."""
        output = self.converted(prediction, step, sample)
        return multistep(self, output, step, sample.float(), history, rng)


class MultistepConfig(Protocol):
    """What a rule's configuration says about the formulas."""

    @property
    def solver_order(self) -> int: ...  # noqa: D102 - diffusers' key
    @property
    def algorithm_type(self) -> Algorithm: ...  # noqa: D102 - diffusers' key
    @property
    def solver_type(self) -> Method: ...  # noqa: D102 - diffusers' key


def multistep(
    config: MultistepConfig,
    output: Tensor,
    step: Step,
    sample: Tensor,
    history: SolverHistory | None,
    rng: NoiseSource | None,
) -> Stepped[SolverHistory]:
    """Integrate the polynomial through an output and those before it to the next level."""
    past = history or SolverHistory()
    outputs, levels = (*past.outputs, output), (*past.levels, level(step))
    order = min(step.order, len(outputs))
    end = level_next(step)
    grown = growth(config.algorithm_type, levels[-1], end)
    weights = multistep_weights(grown, config.solver_type, end, levels[: -order - 1 : -1])
    terms = [(grown.outputs * w, m) for w, m in zip(weights, reversed(outputs), strict=False)]
    moved = combined((grown.sample, sample), *terms)
    if config.algorithm_type.startswith("sde-"):
        fresh, rng = draw(rng, moved, step.rule)
        moved = moved.add(fresh, alpha=grown.fresh)
    kept = config.solver_order - 1
    history = SolverHistory(outputs[-kept:] if kept else (), levels[-kept:] if kept else ())
    return Stepped(moved.to(output.dtype), history, rng)

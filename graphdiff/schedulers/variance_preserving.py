"""Rules that go from timestep to timestep of a variance-preserving table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from graphdiff.schedulers.betas import alphas_cumprod
from graphdiff.schedulers.predictions import OfNoise, thresholded
from graphdiff.schedulers.schedule import Rule, Step
from graphdiff.schedulers.trained import TrainedRule

if TYPE_CHECKING:
    from torch import Tensor

H = TypeVar("H")


@dataclass(frozen=True, kw_only=True)
class ClippedRule(TrainedRule[H]):
    """A rule that keeps the predicted image in range, and may train to a signal of zero."""

    prediction_type: OfNoise = "epsilon"
    clip_sample: bool = True
    clip_sample_range: float = 1.0
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    rescale_betas_zero_snr: bool = False

    @property
    def alphas(self) -> tuple[float, ...]:
        """The share of the signal's variance that is left at each training timestep."""
        return alphas_cumprod(
            self.num_train_timesteps,
            self.beta_start,
            self.beta_end,
            self.beta_schedule,
            self.trained_betas,
            zero_snr=self.rescale_betas_zero_snr,
        )

    def denoised(self, prediction: Tensor, step: Step, sample: Tensor) -> Tensor:
        """Give the image that the prediction points to, pulled or clipped into range."""
        image = super().denoised(prediction, step, sample)
        if self.thresholding:
            return thresholded(image, self.dynamic_thresholding_ratio, self.sample_max_value)
        if self.clip_sample:
            return image.clamp(-self.clip_sample_range, self.clip_sample_range)
        return image


def place(
    rule: Rule[H],
    timestep: int,
    alpha: float,
    alpha_next: float,
    *,
    last: bool,
    stage: int = 0,
    coefficients: tuple[float, ...] = (),
) -> Step:
    """Make a step between two shares of the signal's variance."""
    return Step(
        rule=rule,
        timestep=timestep,
        signal=math.sqrt(alpha),
        noise=math.sqrt(1 - alpha),
        signal_next=math.sqrt(alpha_next),
        noise_next=math.sqrt(1 - alpha_next),
        stage=stage,
        last=last,
        coefficients=coefficients,
    )

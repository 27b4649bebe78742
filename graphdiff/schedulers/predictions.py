"""What a model's output says: the image and the noise that it points to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from graphdiff.schedulers.weighted import combined, difference

if TYPE_CHECKING:
    from torch import Tensor

OfNoise = Literal["epsilon", "sample", "v_prediction"]
"""What models of noisy images predict."""
Prediction = Literal[OfNoise, "flow_prediction"]
"""What models predict; those of flows the direction from image to noise."""


def denoised(
    kind: Prediction, prediction: Tensor, sample: Tensor, signal: float, noise: float
) -> Tensor:
    """Give the image that a prediction points to.

    Args:
        kind: What the model predicts.
        prediction: Its output.
        sample: What is `signal * image + noise * gaussian`.
        signal: The image's factor.
        noise: The gaussian's factor.
    """
    match kind:
        case "epsilon":
            return difference(sample, prediction, noise, signal)
        case "sample":
            return prediction
        case "v_prediction":  # Salimans and Ho 2022, arXiv:2202.00512, for a sample of any variance
            variance = signal**2 + noise**2
            shares = signal / variance, -noise / math.sqrt(variance)
            return combined((shares[0], sample), (shares[1], prediction))
        case "flow_prediction":
            return sample.add(prediction, alpha=-noise)


def predicted_noise(
    kind: Prediction, prediction: Tensor, sample: Tensor, signal: float, noise: float
) -> Tensor:
    """Give the gaussian that a prediction points to; arguments as those of `denoised`."""
    match kind:
        case "epsilon":
            return prediction
        case "v_prediction":
            variance = signal**2 + noise**2
            shares = noise / variance, signal / math.sqrt(variance)
            return combined((shares[0], sample), (shares[1], prediction))
        case "sample" | "flow_prediction":
            image = denoised(kind, prediction, sample, signal, noise)
            return difference(sample, image, signal, noise)


def thresholded(image: Tensor, ratio: float, highest: float) -> Tensor:
    """Pull an image's extremes in, each picture by its own. Saharia et al. 2022, arXiv:2205.11487.

    Args:
        image: Pictures, (batch, channels, ...).
        ratio: The quantile of absolute values that becomes 1.
        highest: How much of an excess is kept.
    """
    flat = image.float().flatten(1)
    limit = flat.abs().quantile(ratio, dim=1, keepdim=True).clamp(min=1, max=highest)
    return (flat.clamp(-limit, limit) / limit).reshape(image.shape).to(image.dtype)

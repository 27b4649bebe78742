"""What looks at pictures: the depth estimator and the safety checker."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphdiff.checkpoints.handles import DepthEstimator, SafetyChecker
from graphdiff.graph.node import WireError, node
from graphdiff_nodes.pictures import to_pillow
from graphdiff_nodes.values import DepthMap, Image


class Checked(NamedTuple):
    """Pictures that may be shown.

    Attributes:
        image: The pictures; those that are unfit are black.
        unsafe: For each picture, whether it is unfit; empty where nothing was checked.
    """

    image: Image
    unsafe: list[bool]


@node
def DepthEstimate(estimator: DepthEstimator | None, image: Image) -> DepthMap:
    """Estimate how near each place of a picture is.

    Args:
        estimator: The depth model, as LoadModel gives it for a depth-to-image checkpoint.
        image: The picture, of any size.
    """
    from graphdiff.checkpoints.pool import pool
    from graphdiff.checkpoints.vision import prepared

    present = _present(estimator)
    model: Any = pool().module(present)
    depth = model(prepared(present, to_pillow(image.pixels))).predicted_depth  # (b, h, w)
    return DepthMap(depth[:, None].float())


@DepthEstimate.infer
def _check_estimator(estimator: DepthEstimator | None) -> None:
    _present(estimator)


@node
def DepthFromImage(image: Image) -> DepthMap:
    """Take a picture for a depth map: what is brighter is nearer.

    Args:
        image: The picture, of the scene's shape.
    """
    return DepthMap(image.pixels.mean(1, keepdim=True))


@node
def SafetyCheck(checker: SafetyChecker | None, image: Image) -> Checked:
    """Black out pictures that a safety checker finds unfit to be shown.

    Args:
        checker: The safety checker, as LoadModel gives it; nothing is checked where the checkpoint
            brings none.
        image: The pictures.
    """
    if checker is None:
        return Checked(image, [])
    import torch

    from graphdiff.checkpoints.pool import pool
    from graphdiff.checkpoints.vision import prepared

    model: Any = pool().module(checker)
    unsafe = [bool(flag) for flag in model(prepared(checker, to_pillow(image.pixels)))]
    shown = torch.tensor([not flag for flag in unsafe])[:, None, None, None]
    return Checked(Image(torch.where(shown, image.pixels, torch.zeros(()))), unsafe)


def _present(estimator: DepthEstimator | None) -> DepthEstimator:
    if estimator is None:
        raise WireError(
            "estimator",
            "this checkpoint has no depth model: take one for depth to image, or make the depth "
            "with DepthFromImage",
        )
    return estimator

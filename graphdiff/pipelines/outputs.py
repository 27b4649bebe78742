"""What pipelines give."""

from __future__ import annotations

from typing import Any, NamedTuple


class ImagePipelineOutput(NamedTuple):
    """What a pipeline gives.

    Attributes:
        images: The pictures: a list of PIL's, an array or a tensor.
    """

    images: Any


class StableDiffusionPipelineOutput(NamedTuple):
    """What a pipeline with a safety checker gives.

    Attributes:
        images: The pictures: a list of PIL's, an array or a tensor.
        nsfw_content_detected: For each, whether the safety checker blacked it out; None where
            nothing was checked.
    """

    images: Any
    nsfw_content_detected: list[bool] | None

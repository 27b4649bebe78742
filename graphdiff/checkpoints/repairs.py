"""What diffusers' pipelines put right in configs of old checkpoints when they are made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TEXT_TO_IMAGE = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
_INPAINT = "StableDiffusionInpaintPipeline"
_DEPTH = "StableDiffusionDepth2ImgPipeline"
# The defaults of schedulers' classes for the keys that are repaired.
_HAS_NO_OFFSET = frozenset(
    {"DPMSolverSinglestepScheduler", "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"}
    | {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"}
)
_CLIPS_BY_DEFAULT = frozenset({"DDIMScheduler", "DDPMScheduler"})


def repaired_scheduler(pipeline: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's configuration as a pipeline of this class would use it.

    Args:
        pipeline: The class that the checkpoint names; others than Stable Diffusion's first three
            repair nothing.
        config: What the file says.
    """
    repaired = dict(config)
    name = str(config.get("_class_name", ""))
    if pipeline not in (*_TEXT_TO_IMAGE, _INPAINT):
        return repaired
    offset = config.get("steps_offset", 1 if name in _HAS_NO_OFFSET else 0)
    if offset != 1:
        repaired["steps_offset"] = 1
    clips = config.get("clip_sample", name in _CLIPS_BY_DEFAULT)
    if clips is True and pipeline in _TEXT_TO_IMAGE:
        repaired["clip_sample"] = False
    warms_up = config.get("skip_prk_steps", name != "PNDMScheduler") is False
    if warms_up and pipeline == _INPAINT:
        repaired["skip_prk_steps"] = True
    return repaired


def repaired_unet(pipeline: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A UNet's configuration as a pipeline of this class would use it.

    Before diffusers 0.9 a UNet's `sample_size` was 32 whatever it was trained on.
    """
    repaired = dict(config)
    size = config.get("sample_size")
    version = re.match(r"(\d+)\.(\d+)", str(config.get("_diffusers_version", "")))
    is_old = version is not None and (int(version[1]), int(version[2])) < (0, 9)
    repairs = pipeline in (*_TEXT_TO_IMAGE, _INPAINT, _DEPTH)
    if repairs and is_old and isinstance(size, int) and size < 64:
        repaired["sample_size"] = 64
    return repaired

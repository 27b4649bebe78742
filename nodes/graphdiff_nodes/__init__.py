"""The built-in nodes: short typed functions over graphdiff's models, schedulers and checkpoints."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphdiff_nodes.conditioning import (
        ApplyControlNet,
        ConditioningAverage,
        ConditioningCombine,
        ConditioningConcat,
        ConditioningSetArea,
        ConditioningSetMask,
        ConditioningSetTimestepRange,
        TextEncode,
    )
    from graphdiff_nodes.cropping import CropAroundMask, PasteArea
    from graphdiff_nodes.data import (
        Calculate,
        FormatText,
        JoinText,
        Length,
        ListItem,
        Ramp,
        Round,
        Seeds,
        SplitText,
    )
    from graphdiff_nodes.images import (
        BatchImages,
        BlendImages,
        CropImage,
        ImageGrid,
        LoadImage,
        PadImage,
        PictureSize,
        ResizeImage,
    )
    from graphdiff_nodes.latents import (
        DepthChannels,
        EmptyLatents,
        ImageToLatents,
        InpaintChannels,
        LatentsToImage,
        RepeatLatents,
        ResizeLatents,
        VAEDecode,
        VAEEncode,
    )
    from graphdiff_nodes.masks import (
        BinarizeMask,
        BlurMask,
        CompositeImage,
        GrowMask,
        InvertMask,
        LoadMask,
        MaskFromBox,
        MaskFromColor,
        MaskFromDepth,
        MaskFromImage,
        MaskImage,
        ResizeMask,
    )
    from graphdiff_nodes.models import (
        LoadControlNet,
        LoadLoRA,
        LoadModel,
        LoadTextualInversion,
        LoadUNet,
        LoadVAE,
        Scheduler,
    )
    from graphdiff_nodes.sampling import (
        AddNoise,
        Guidance,
        MaskedBlend,
        NoiseFromLatents,
        NoiseSample,
        SchedulerStep,
        StepCount,
        Timesteps,
        UNetPredict,
    )
    from graphdiff_nodes.saving import (
        PreviewImage,
        SaveImage,
    )
    from graphdiff_nodes.tiles import VAEDecodeTiled, VAEEncodeTiled
    from graphdiff_nodes.vision import (
        DepthEstimate,
        DepthFromImage,
        SafetyCheck,
    )

NODE_MODULES = (
    "models",
    "conditioning",
    "sampling",
    "latents",
    "tiles",
    "images",
    "masks",
    "cropping",
    "vision",
    "saving",
    "data",
)
PARTS = Path(__file__).parent / "parts"

__all__ = [
    "NODE_MODULES",
    "PARTS",
    "AddNoise",
    "ApplyControlNet",
    "BatchImages",
    "BinarizeMask",
    "BlendImages",
    "BlurMask",
    "Calculate",
    "CompositeImage",
    "ConditioningAverage",
    "ConditioningCombine",
    "ConditioningConcat",
    "ConditioningSetArea",
    "ConditioningSetMask",
    "ConditioningSetTimestepRange",
    "CropAroundMask",
    "CropImage",
    "DepthChannels",
    "DepthEstimate",
    "DepthFromImage",
    "EmptyLatents",
    "FormatText",
    "GrowMask",
    "Guidance",
    "ImageGrid",
    "ImageToLatents",
    "InpaintChannels",
    "InvertMask",
    "JoinText",
    "LatentsToImage",
    "Length",
    "ListItem",
    "LoadControlNet",
    "LoadImage",
    "LoadLoRA",
    "LoadMask",
    "LoadModel",
    "LoadTextualInversion",
    "LoadUNet",
    "LoadVAE",
    "MaskFromBox",
    "MaskFromColor",
    "MaskFromDepth",
    "MaskFromImage",
    "MaskImage",
    "MaskedBlend",
    "NoiseFromLatents",
    "NoiseSample",
    "PadImage",
    "PasteArea",
    "PictureSize",
    "PreviewImage",
    "Ramp",
    "RepeatLatents",
    "ResizeImage",
    "ResizeLatents",
    "ResizeMask",
    "Round",
    "SafetyCheck",
    "SaveImage",
    "Scheduler",
    "SchedulerStep",
    "Seeds",
    "SplitText",
    "StepCount",
    "TextEncode",
    "Timesteps",
    "UNetPredict",
    "VAEDecode",
    "VAEDecodeTiled",
    "VAEEncode",
    "VAEEncodeTiled",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any node
    """Give a node from the module that defines it, imported when it is first asked for."""
    if name in __all__:
        for module in NODE_MODULES:
            node = getattr(import_module(f"{__name__}.{module}"), name, None)
            if node is not None:
                return node
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

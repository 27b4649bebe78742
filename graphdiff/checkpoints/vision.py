"""Models that look at pictures, by transformers: the safety checker and the depth estimator."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import (
    DepthEstimator,
    DeviceKind,
    Dtype,
    SafetyChecker,
    Weights,
)
from graphdiff.checkpoints.weights import MappedTensors, load_into, loaded, match_names
from graphdiff.models.base import without_memory

if TYPE_CHECKING:
    from PIL.Image import Image

CONCEPTS, SPECIAL_CONCEPTS = 17, 3
CARE = 0.01  # what a special concept adds to the scores of all that come after it


class SafetyCheckerModel(nn.Module):
    """Compares what CLIP sees in pictures with concepts that are not to be shown.

    Args:
        config: A CLIP configuration in transformers' keys.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPVisionModel

        clip: Any = CLIPConfig(**_options(config))
        self.vision_model: nn.Module = CLIPVisionModel(clip.vision_config)
        width = int(clip.projection_dim)
        self.visual_projection = nn.Linear(clip.vision_config.hidden_size, width, bias=False)
        self.concept_embeds = nn.Parameter(torch.ones(CONCEPTS, width))
        self.special_care_embeds = nn.Parameter(torch.ones(SPECIAL_CONCEPTS, width))
        self.concept_embeds_weights = nn.Parameter(torch.ones(CONCEPTS))
        self.special_care_embeds_weights = nn.Parameter(torch.ones(SPECIAL_CONCEPTS))

    def forward(self, pixel_values: Tensor) -> tuple[bool, ...]:
        """Which pictures are unfit, from pictures (N, 3, H, W) as CLIP wants them."""
        seen = self.visual_projection(self.vision_model(pixel_values)[1])  # (N, width)
        special = _scores(seen, self.special_care_embeds, self.special_care_embeds_weights)
        concepts = _scores(seen, self.concept_embeds, self.concept_embeds_weights)
        return tuple(map(_is_unfit, special, concepts))


def _scores(seen: Tensor, concepts: Tensor, thresholds: Tensor) -> list[list[float]]:
    """How far each picture's likeness to each concept is above its threshold."""
    likeness = F.normalize(seen) @ F.normalize(concepts).T  # (N, concepts)
    rows: list[list[float]] = (likeness.float() - thresholds.float()).cpu().numpy().tolist()
    return rows


def _is_unfit(special: Sequence[float], concepts: Sequence[float]) -> bool:
    adjustment = 0.0
    for score in special:
        if round(score + adjustment, 3) > 0:
            adjustment = CARE
    return any(round(score + adjustment, 3) > 0 for score in concepts)


def load_vision(
    kind: str, config: Mapping[str, Any], weights: Weights, dtype: Dtype, device: DeviceKind
) -> nn.Module:
    """A safety checker or a depth estimator with its weights.

    Args:
        kind: `SafetyChecker` or `DepthEstimator`.
        config: Its configuration, in transformers' keys.
        weights: Its files.
        dtype: What its weights become.
        device: Where they go.

    Raises:
        CheckpointError: Files are damaged, or of another model.
    """
    if kind == "DepthEstimator":
        return _load_depth(weights, dtype, device)
    model = vision_without_weights(kind, config, weights, device)
    load_into(model, _by_todays_names(model, weights), dtype=getattr(torch, dtype), device=device)
    return model


def vision_without_weights(
    kind: str, config: Mapping[str, Any], weights: Weights, device: DeviceKind
) -> nn.Module:
    """A safety checker or a depth estimator that has no memory yet but for what it counts with.

    Args:
        kind: `SafetyChecker` or `DepthEstimator`.
        config: Its configuration, in transformers' keys.
        weights: Its files.
        device: Where it is going to compute.

    Raises:
        CheckpointError: Its folder is damaged, or it has tensors that are kept in no file.
    """
    with without_memory():
        model = SafetyCheckerModel(config) if kind == "SafetyChecker" else _depth_model(weights)
    for module in model.modules():  # what only counts positions is kept in no file
        counter = getattr(module, "position_ids", None)
        if isinstance(counter, Tensor):
            module.position_ids = torch.arange(counter.shape[-1], device=device)[None]
    kept = model.state_dict()
    lost = [name for name, tensor in model.named_buffers() if tensor.is_meta and name not in kept]
    if lost:
        raise CheckpointError(
            f"{weights.files[0].path}: a {type(model).__name__} computes {', '.join(lost)} when it "
            "is made, and cannot be made without memory: allow more, so that it is not streamed",
            file=weights.files[0].path,
            tensor=lost[0],
        )
    return model


def vision_reader(module: nn.Module, weights: Weights, dtype: Dtype) -> Callable[[str], Tensor]:
    """What reads a weight of such a model by its name, on the CPU, each time it is asked for.

    Args:
        module: The model; it may be without memory.
        weights: Its files.
        dtype: What weights become.

    Raises:
        CheckpointError: Files are damaged, or of another model.
    """
    tensors = MappedTensors([file.path for file in weights.files])
    match_names(module, _by_todays_names(module, weights))
    names = {_todays_name(name, module.state_dict()): name for name in tensors}
    to: torch.dtype = getattr(torch, dtype)
    return lambda name: loaded(tensors, names[name], dtype=to, unmapped=True)


def _by_todays_names(module: nn.Module, weights: Weights) -> dict[str, Tensor]:
    tensors = MappedTensors([file.path for file in weights.files])
    expected = module.state_dict()
    return {_todays_name(name, expected): tensors[name] for name in tensors}


def _todays_name(name: str, expected: Container[str]) -> str:
    """What transformers calls a tensor since its version 5, which has one level less."""
    return name if name in expected else name.replace("vision_model.vision_model.", "vision_model.")


def _load_depth(weights: Weights, dtype: Dtype, device: DeviceKind) -> nn.Module:
    import transformers

    auto: Any = transformers.AutoModelForDepthEstimation
    folder = weights.files[0].path.parent
    try:
        model = auto.from_pretrained(
            folder, torch_dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: {error}", file=folder) from error
    module: nn.Module = model.to(device)
    return module


def _depth_model(weights: Weights) -> nn.Module:
    import transformers

    folder = weights.files[0].path.parent
    auto: Any = transformers.AutoModelForDepthEstimation
    options: Any = transformers.AutoConfig
    try:
        model: nn.Module = auto.from_config(options.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: {error}", file=folder) from error
    return model


def prepared(handle: SafetyChecker | DepthEstimator, pictures: Sequence[Image]) -> Tensor:
    """Pictures as a model wants them: resized, cropped and normalised, (N, 3, H, W).

    Args:
        handle: The model, which brings the settings.
        pictures: The pictures.
    """
    name = "CLIPImageProcessor" if isinstance(handle, SafetyChecker) else "DPTImageProcessor"
    # The form that works on PIL pictures has a name of its own since transformers 5.
    transformers: Any = import_module("transformers")
    found = getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)
    processor: Any = found(**_options(handle.processor))
    pixels: Tensor = processor(list(pictures), return_tensors="pt").pixel_values
    return pixels.to(handle.device, getattr(torch, handle.dtype))


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    notes = ("architectures", "feature_extractor_type", "image_processor_type")
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in notes}

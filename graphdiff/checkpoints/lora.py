"""LoRA files applied: which modules they change, checked before, and the changed weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import LoRA, TextEncoder, UNet
from graphdiff.checkpoints.headers import Header, read_header
from graphdiff.checkpoints.lora_keys import Delta, LoraPart, LoraPlan, Modules, modules_of, plan
from graphdiff.checkpoints.sources import shapes_of
from graphdiff.checkpoints.weights import MappedTensors

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 5  # how many unknown keys a message lists


def unet_modules(unet: UNet) -> dict[LoraPart, Modules]:
    """The modules of a UNet that a LoRA can change, from the headers of its weights."""
    shapes = shapes_of(unet.weights, unet.config)
    return {"unet": modules_of("unet", shapes, unet.config)}


def text_modules(text_encoder: TextEncoder) -> dict[LoraPart, Modules]:
    """The modules of text encoders that a LoRA can change, from the headers of their weights."""
    found: dict[LoraPart, Modules] = {}
    for part, encoder in zip(encoder_parts(text_encoder), text_encoder.encoders, strict=True):
        shapes = shapes_of(encoder.weights, encoder.config)
        found[part] = modules_of(part, shapes, encoder.config)
    return found


def encoder_parts(text_encoder: TextEncoder) -> tuple[LoraPart, ...]:
    """What files call the encoders: SDXL's refiner has the second one only."""
    if text_encoder.family == "sdxl-refiner" and len(text_encoder.encoders) == 1:
        return ("text_encoder_2",)
    names: tuple[LoraPart, ...] = ("text_encoder", "text_encoder_2")
    return names[: len(text_encoder.encoders)]


def check_lora(
    lora: LoRA, *, unet: UNet | None = None, text_encoder: TextEncoder | None = None
) -> LoraPlan:
    """What a LoRA would change, from headers alone.

    Args:
        lora: The LoRA.
        unet: The UNet that it is meant for, if any.
        text_encoder: The text encoders that it is meant for, if any.

    Raises:
        CheckpointError: Keys fit no module (a warning where the LoRA is not strict), none does, or
            shapes are another model's.
    """
    models: dict[LoraPart, Modules] = {}
    if unet is not None:
        models |= unet_modules(unet)
    if text_encoder is not None:
        models |= text_modules(text_encoder)
    return planned(lora, models)


def planned(lora: LoRA, models: Mapping[LoraPart, Modules]) -> LoraPlan:
    """The plan of a LoRA for some models, with its unknown keys reported."""
    header = read_header(lora.file.path)
    shapes = {name: info.shape for name, info in header.tensors.items()}
    try:
        found = plan(shapes, models, header.metadata)
    except ValueError as error:
        raise CheckpointError(f"{header.path}: {error}", file=header.path) from error
    if not found.unknown and (found.deltas or found.other):
        return found
    message = _report(header, found)
    if lora.strict or not (found.deltas or found.other):
        raise CheckpointError(
            message, file=header.path, tensor=next(iter(found.unknown), None), found=found.unknown
        )
    warnings.warn(message, stacklevel=2)
    return found


def _report(header: Header, found: LoraPlan) -> str:
    counts = ", ".join(f"{count} {method}" for method, count in found.methods().items())
    keys = ", ".join(found.unknown[:_SHOWN]) + (", ..." if len(found.unknown) > _SHOWN else "")
    fits = f"{len(found.deltas)} modules fit"
    if not found.deltas and not found.other:
        return (
            f"{header.path}: nothing in this file changes this model ({counts or 'it is empty'}: "
            f"{keys}); is it no LoRA, or one for another family?"
        )
    return (
        f"{header.path}: {len(found.unknown)} of {len(header.tensors)} keys fit no module of this "
        f"model ({counts}), while {fits}: {keys}; is it for another family? strict=False "
        "leaves them out"
    )


Change: TypeAlias = tuple[LoRA, MappedTensors, Delta]
"""What one LoRA does to one weight."""


def changes_of(
    loras: Iterable[LoRA], part: LoraPart, modules: Modules
) -> dict[str, tuple[Change, ...]]:
    """What LoRAs change in a model, by the names of its weights.

    Args:
        loras: What to apply; order does not matter but for the last bits.
        part: Which model it is.
        modules: Its modules.
    """
    changes: dict[str, tuple[Change, ...]] = {}
    for lora in loras:
        tensors = MappedTensors([lora.file.path])
        for delta in planned(lora, {part: modules}).deltas:
            name = f"{delta.module}.weight"
            changes[name] = (*changes.get(name, ()), (lora, tensors, delta))
    return changes


def patched(weight: Tensor, changes: Sequence[Change]) -> Tensor:
    """A weight with LoRAs in it, `W + sum(scale * alpha / rank * up @ down)`.

    They are added up in float32, where the weight is, and cast to what the weight is.
    """
    import torch

    total = weight.detach().to(torch.float32, copy=True)
    for lora, tensors, delta in changes:
        down = tensors[delta.down].to(weight.device, torch.float32).flatten(1)
        up = tensors[delta.up].to(weight.device, torch.float32).flatten(1)
        rank = down.shape[0]
        alpha = tensors[delta.alpha].item() if isinstance(delta.alpha, str) else delta.alpha
        scale = lora.scale * (1.0 if alpha is None else alpha / rank)
        total += (scale * (up @ down)).reshape(total.shape)
    return total.to(weight.dtype)

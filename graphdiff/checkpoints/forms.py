"""The forms that the weights pool makes models in: for a device's kernels, with LoRAs, streamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints.build import (
    TOKEN_EMBEDDING,
    VISION,
    built,
    check_device,
    longer,
    reader,
    with_weights,
    without_weights,
)
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import DeviceKind
from graphdiff.checkpoints.lora import patched
from graphdiff.checkpoints.residents import Base, Form, Loras

if TYPE_CHECKING:
    from torch import Tensor, nn

_CALLED_OFTEN = ("UNet2DConditionModel", "UNet2DModel", "ControlNetModel")  # for each step


def arrangement(device: DeviceKind) -> Form:
    """The form in which models are fastest on a device, as long as nothing is compiled."""
    forms: dict[DeviceKind, Form] = {"cpu": "packed", "cuda": "fused"}
    return forms.get(device, "plain")


def whole(base: Base, form: Form) -> nn.Module:
    """A model as its files have it.

    Args:
        base: The model.
        form: Plain, packed, or with weights that are channels-last.
    """
    packs = form == "packed"
    module = built(base.kind, base.config, base.weights, base.dtype, base.device, packs=packs)
    return _channels_last(module) if form == "channels-last" else module


def sharing(origin: nn.Module, base: Base, loras: Loras, form: Form) -> nn.Module:
    """A model with LoRAs, which shares with `origin` all weights that they leave alone.

    Args:
        origin: The model without them.
        base: What it is.
        loras: What changes it.
        form: What both are. In a packed one what they change is read again, and packed anew.
    """
    packs = form == "packed"
    weight = _reader(base) if packs else origin.state_dict().__getitem__
    changed = {name: patched(weight(name), own) for name, own in loras.changes().items()}
    if not changed:
        return origin
    if packs:
        from graphdiff.models.packed import repacked

        return repacked(origin, changed)
    module = with_weights(origin, changed)
    return _channels_last(module) if form == "channels-last" else module


def alone(base: Base, loras: Loras, form: Form) -> nn.Module:
    """A model with LoRAs that shares nothing, and takes no more memory than one without.

    Args:
        base: The model.
        loras: What changes it.
        form: Plain, packed, or with weights that are channels-last.
    """
    from torch import nn

    from graphdiff.models.packed import packed

    module = whole(base, "plain" if form == "packed" else form)
    for name, changes in loras.changes().items():
        path, _, key = name.rpartition(".")
        owner = module.get_submodule(path)
        weight = patched(getattr(owner, key), changes)
        setattr(owner, key, nn.Parameter(weight, requires_grad=False))
    if form == "packed":
        return packed(module, consumed=True)
    return _channels_last(module) if form == "channels-last" else module


def made_of(origin: nn.Module, base: Base, form: Form) -> nn.Module:
    """A model that shares all weights with another, and computes the same faster.

    Args:
        origin: The model, channels-last for a GPU.
        base: What it is.
        form: Fused; or compiled, whole or by regions.
    """
    if form == "fused":
        from graphdiff.models.fused import fused

        module = fused(origin)
    else:
        from graphdiff.models.compiled import compiled

        module = compiled(origin, by_region=form == "regions")
    if form == "compiled" or base.kind not in _CALLED_OFTEN:
        return module
    from graphdiff.models.graphed import graphed

    return graphed(module)


def streamed_within(
    share: int, base: Base, loras: Loras | None, table: Callable[[Tensor], Tensor] | None
) -> nn.Module:
    """A model of which only some blocks are on the device at a time.

    Args:
        share: The most bytes of weights to have there.
        base: The model.
        loras: What changes it.
        table: What a text encoder's vectors become.

    Raises:
        CheckpointError: It cannot be done in so many bytes, or there is no such device.
    """
    import torch

    from graphdiff.models.streamed import DoesNotFitError, streamed

    check_device(base.device)
    plain = _reader(base)
    changes = loras.changes() if loras else {}
    config = base.config
    if table is not None:
        config = longer(config, len(table(plain(TOKEN_EMBEDDING))))

    def read(name: str) -> Tensor:
        tensor = plain(name)
        if name in changes:
            return patched(tensor, changes[name])
        return table(tensor) if table is not None and name == TOKEN_EMBEDDING else tensor

    dtype: torch.dtype = getattr(torch, base.dtype)
    empty = _empty(base, config)
    try:
        return streamed(empty, read, device=base.device, budget=share, dtype=dtype)
    except DoesNotFitError as error:
        raise _too_large(base, share, str(error)) from error


def _channels_last(module: nn.Module) -> nn.Module:
    """A model whose convolutions have their weights as a GPU's kernels read them."""
    import torch

    to: Any = module.to  # whose annotations leave this out
    made: nn.Module = to(memory_format=torch.channels_last)
    return made


def _too_large(base: Base, share: int, why: str) -> CheckpointError:
    return CheckpointError(
        f"{base.kind} takes {base.size:,} bytes of weights, {share:,} are allowed, and it cannot "
        f"be streamed within these: {why}; allow more",
        expected=base.size,
        found=share,
    )


def _empty(base: Base, config: Mapping[str, Any]) -> nn.Module:
    """A model that has no memory yet."""
    if base.kind in VISION:
        from graphdiff.checkpoints.vision import vision_without_weights

        return vision_without_weights(base.kind, config, base.weights, base.device)
    return without_weights(base.kind, config)


def _reader(base: Base) -> Callable[[str], Tensor]:
    """What reads a weight of a model as its files have it, cast."""
    module = _empty(base, base.config)
    if base.kind in VISION:
        from graphdiff.checkpoints.vision import vision_reader

        return vision_reader(module, base.weights, base.dtype)
    return reader(module, base.config, base.weights, base.dtype)

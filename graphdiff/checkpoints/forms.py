"""The forms that the weights pool makes models in: whole, with LoRAs, streamed block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphdiff.checkpoints.build import (
    TOKEN_EMBEDDING,
    VISION,
    built,
    longer,
    reader,
    with_weights,
    without_weights,
)
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.lora import patched
from graphdiff.checkpoints.residents import Base, Loras

if TYPE_CHECKING:
    from torch import Tensor, nn


def whole(base: Base, *, packs: bool) -> nn.Module:
    """A model as its files have it.

    Args:
        base: The model.
        packs: Whether it is rearranged for a CPU's kernels.
    """
    return built(base.kind, base.config, base.weights, base.dtype, base.device, packs=packs)


def sharing(origin: nn.Module, base: Base, loras: Loras, *, packs: bool) -> nn.Module:
    """A model with LoRAs, which shares with `origin` all weights that they leave alone.

    Args:
        origin: The model without them.
        base: What it is.
        loras: What changes it.
        packs: Whether it is packed: what they change is read again, and packed anew.
    """
    weight = _reader(base) if packs else origin.state_dict().__getitem__
    changed = {name: patched(weight(name), own) for name, own in loras.changes().items()}
    if not changed:
        return origin
    if not packs:
        return with_weights(origin, changed)
    from graphdiff.models.packed import repacked

    return repacked(origin, changed)


def alone(base: Base, loras: Loras, *, packs: bool) -> nn.Module:
    """A model with LoRAs that shares nothing, and takes no more memory than one without.

    Args:
        base: The model.
        loras: What changes it.
        packs: Whether it is rearranged for a CPU's kernels.
    """
    from torch import nn

    from graphdiff.models.packed import packed

    module = whole(base, packs=False)
    for name, changes in loras.changes().items():
        path, _, key = name.rpartition(".")
        owner = module.get_submodule(path)
        weight = patched(getattr(owner, key), changes)
        setattr(owner, key, nn.Parameter(weight, requires_grad=False))
    return packed(module, consumed=True) if packs else module


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
        CheckpointError: It cannot be done in so many bytes.
    """
    import torch

    from graphdiff.models.streamed import DoesNotFitError, streamed

    if base.kind in VISION:
        raise _too_large(base, share, "models of transformers are not divided")
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
    empty = without_weights(base.kind, config)
    try:
        return streamed(empty, read, device=base.device, budget=share, dtype=dtype)
    except DoesNotFitError as error:
        raise _too_large(base, share, str(error)) from error


def _too_large(base: Base, share: int, why: str) -> CheckpointError:
    return CheckpointError(
        f"{base.kind} takes {base.size:,} bytes of weights, {share:,} are allowed, and it cannot "
        f"be streamed within these: {why}; allow more",
        expected=base.size,
        found=share,
    )


def _reader(base: Base) -> Callable[[str], Tensor]:
    """What reads a weight of a model as its files have it, cast."""
    module = without_weights(base.kind, base.config)
    return reader(module, base.config, base.weights, base.dtype)

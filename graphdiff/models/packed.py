"""A model rearranged for inference on a CPU: weights in the blocks that its kernels read."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from copy import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from graphdiff.models.layers import ResnetBlock2D
from graphdiff.models.packed_layers import (
    InPlaceResnetBlock2D,
    PackedConv2d,
    PackedLinear,
    PlanarGroupNorm,
    PointwiseConv2d,
    turned,
    untracked,
)
from graphdiff.models.rearranged import rearranged

M = TypeVar("M", bound=nn.Module)


def packed(model: M, *, consumed: bool = False) -> M:
    """The same function as `model`, faster on a CPU, and only for inference.

    A convolution reorders its weights into blocks on every call, which takes a third of its time
    where pictures are small; here they are reordered once, and so are those of linear layers, which
    wait a quarter of theirs. Maps then stay channels-last, in which a 1x1 convolution is a matrix
    product, and no copy stands between convolutions and attention. Results differ in the last bits
    of float32.

    Args:
        model: A model on the CPU. What need not be reordered is shared with it.
        consumed: Whether it loses each weight that is reordered, so that none is in memory twice,
            and is of no use afterwards; else it is left as it is.

    Returns:
        The rearranged model, whose convolutions, and in bfloat16 linear layers, have left its
        `state_dict`; `model` itself where there is nothing to gain.
    """
    if not any(map(_can_pack, model.modules())):
        return model

    def leaf(name: str, module: nn.Module) -> nn.Module | None:
        replaced: nn.Module | None = None
        if type(module) is ResnetBlock2D and InPlaceResnetBlock2D.can_be(module):
            return InPlaceResnetBlock2D.of(rearranged(module, leaf, f"{name}."))
        if isinstance(module, nn.Conv2d) and _can_pack(module):
            replaced = (PointwiseConv2d if _is_pointwise(module) else PackedConv2d).of(module)
        elif type(module) is nn.Linear and _has_kernels(module.weight):
            if module.weight.dtype == torch.bfloat16:
                replaced = PackedLinear(module.weight, module.bias)
            else:
                replaced = _changed(module, turned(module.weight))
        elif isinstance(module, nn.GroupNorm) and module.weight.dtype == torch.bfloat16:
            return PlanarGroupNorm(module)
        if replaced is not None and consumed:
            del module.weight
        return replaced

    return untracked(rearranged(model, leaf))


def repacked(model: M, weights: Mapping[str, Tensor]) -> M:
    """A packed model with some weights changed, which shares all others with `model`.

    Args:
        model: A packed model; left as it is.
        weights: The changed weights by their names in the plain model, as that has them.
    """

    def leaf(name: str, module: nn.Module) -> nn.Module | None:
        weight = weights.get(f"{name}.weight")
        if weight is None:
            return None
        if isinstance(module, PackedConv2d | PointwiseConv2d | PackedLinear):
            return module.with_weight(weight)
        return _changed(module, turned(weight) if type(module) is nn.Linear else weight)

    return rearranged(model, leaf)


def reordered(model: nn.Module) -> dict[int, int]:
    """The weights that a packed model holds beside its `state_dict`: their bytes by identity."""
    return {
        id(module.weight): module.weight.numel() * module.weight.element_size()
        for module in model.modules()
        if isinstance(module, PackedConv2d | PointwiseConv2d | PackedLinear)
    }


def reorderable(model: nn.Module) -> frozenset[str]:
    """The names of the weights that packing may reorder."""
    named = cast("Iterator[tuple[str, nn.Module]]", model.named_modules())
    return frozenset(
        f"{name}.weight" for name, module in named if isinstance(module, nn.Conv2d | nn.Linear)
    )


def _changed(module: nn.Module, weight: Tensor) -> nn.Module:
    """A copy of a module with another weight, which shares its other parameters."""
    changed = copy(module)
    changed.__dict__["_parameters"] = {
        **module.__dict__["_parameters"],
        "weight": nn.Parameter(weight, requires_grad=False),
    }
    return changed


def _can_pack(module: nn.Module) -> bool:
    """Whether this is a convolution that there are packed kernels for here."""
    if not isinstance(module, nn.Conv2d):
        return False
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return False
    return _has_kernels(module.weight)


def _has_kernels(weight: Tensor) -> bool:
    """Whether oneDNN computes with such weights here."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if weight.device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _is_pointwise(conv: nn.Conv2d) -> bool:
    plain = ((1, 1), (1, 1), (0, 0), (1, 1), 1)
    return (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups) == plain

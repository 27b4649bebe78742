"""A model rearranged for inference on a CPU: weights in the blocks that its kernels read."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Self, TypeAlias, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphdiff.models.rearranged import rearranged

M = TypeVar("M", bound=nn.Module)

Layout: TypeAlias = tuple[list[int], list[int], list[int], int]
"""Padding, stride, dilation and groups of a convolution."""


def packed(model: M, *, consumed: bool = False) -> M:
    """The same function as `model`, faster on a CPU, and only for inference.

    A convolution reorders its weights into blocks on every call, which takes a third of its time
    where pictures are small; here they are reordered once. Maps then stay channels-last, in which
    a 1x1 convolution is a matrix product, and no copy stands between convolutions and attention.
    Results differ in the last bits of float32.

    Args:
        model: A model on the CPU. What need not be reordered is shared with it.
        consumed: Whether it loses each weight that is reordered, so that none is in memory twice,
            and is of no use afterwards; else it is left as it is.

    Returns:
        The rearranged model, whose convolutions have left its `state_dict`; `model` itself where
        there is nothing to gain.
    """
    if not any(map(_can_pack, model.modules())):
        return model

    def leaf(_: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, nn.Conv2d) and _can_pack(module):
            made = PointwiseConv2d if _is_pointwise(module) else PackedConv2d
            replaced = made.of(module)
            if consumed:
                del module.weight
            return replaced
        if isinstance(module, nn.GroupNorm) and module.weight.dtype == torch.bfloat16:
            return PlanarGroupNorm(module)
        return None

    return rearranged(model, leaf)


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
        if isinstance(module, PackedConv2d | PointwiseConv2d):
            return module.with_weight(weight)
        changed = copy(module)  # with parameters of its own, the others shared
        changed.__dict__["_parameters"] = {
            **module.__dict__["_parameters"],
            "weight": nn.Parameter(weight, requires_grad=False),
        }
        return changed

    return rearranged(model, leaf)


def reordered(model: nn.Module) -> dict[int, int]:
    """The weights that a packed model holds beside its `state_dict`: their bytes by identity."""
    return {
        id(module.weight): module.weight.numel() * module.weight.element_size()
        for module in model.modules()
        if isinstance(module, PackedConv2d | PointwiseConv2d)
    }


def convolutions(model: nn.Module) -> frozenset[str]:
    """The names of the weights that packing may reorder."""
    named = cast("Iterator[tuple[str, nn.Module]]", model.named_modules())
    return frozenset(f"{name}.weight" for name, module in named if isinstance(module, nn.Conv2d))


class PackedConv2d(nn.Module):
    """A convolution whose weights are in oneDNN's blocks.

    Args:
        weight: The weights, (C_out, C_in, H, W).
        bias: The bias, (C_out).
        layout: Padding, stride, dilation and groups.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, layout: Layout) -> None:
        super().__init__()
        self.bias = bias
        self.layout = layout
        dense = weight.detach().contiguous()
        self.weight: Tensor = torch.ops.aten.mkldnn_reorder_conv2d_weight(
            dense.to_mkldnn(), *layout
        )

    def with_weight(self, weight: Tensor) -> PackedConv2d:
        """The same with other weights, (C_out, C_in, H, W)."""
        return PackedConv2d(weight, self.bias, self.layout)

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Self:
        """What a convolution becomes."""
        padding = [int(size) for size in conv.padding]
        layout = (padding, list(conv.stride), list(conv.dilation), conv.groups)
        return cls(conv.weight, conv.bias, layout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C_out, H', W'), channels last."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self.layout, "none", [], ""
        )
        return y


class PointwiseConv2d(nn.Module):
    """A 1x1 convolution of maps that are channels last: a linear layer.

    Args:
        weight: The weights, (C_out, C_in, 1, 1).
        bias: The bias, (C_out).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias
        self.weight = weight.detach()[:, :, 0, 0]  # (C_out, C_in)

    def with_weight(self, weight: Tensor) -> PointwiseConv2d:
        """The same with other weights, (C_out, C_in, 1, 1)."""
        return PointwiseConv2d(weight, self.bias)

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Self:
        """What a convolution becomes."""
        return cls(conv.weight, conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C_out, H, W), channels last."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


class PlanarGroupNorm(nn.Module):
    """A group normalisation that works plane by plane.

    In bfloat16 torch's kernel for channels-last maps is twenty times slower than the other one.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return F.group_norm(x.contiguous(), self.groups, self.weight, self.bias, self.eps)


def _can_pack(module: nn.Module) -> bool:
    """Whether this is a convolution that there are packed kernels for here."""
    if not isinstance(module, nn.Conv2d):
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if module.weight.device.type != "cpu":
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    dtype, operators = module.weight.dtype, torch.ops.mkldnn
    has_kernel = dtype == torch.float32 or (
        dtype == torch.bfloat16 and bool(operators._is_mkldnn_bf16_supported())
    )
    return has_kernel and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _is_pointwise(conv: nn.Conv2d) -> bool:
    plain = ((1, 1), (1, 1), (0, 0), (1, 1), 1)
    return (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups) == plain

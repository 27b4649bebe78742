"""A model rearranged for inference on a CPU: weights in the blocks that its kernels read."""

from __future__ import annotations

import platform
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def packed(model: M) -> M:
    """The same function as `model`, faster on a CPU, and only for inference.

    A convolution reorders its weights into blocks on every call, which takes a third of its time
    where pictures are small; here they are reordered once. Maps then stay channels-last, in which
    a 1x1 convolution is a matrix product, and no copy stands between convolutions and attention.
    Results differ in the last bits of float32.

    Args:
        model: A model on the CPU; left as it is. What need not be reordered is shared with it, so
            that letting it go frees what was.

    Returns:
        The rearranged model, whose convolutions have left its `state_dict`; `model` itself where
        there is nothing to gain.
    """
    return _rearranged(model) if any(map(_can_pack, model.modules())) else model


def packed_bytes(model: nn.Module) -> int:
    """The bytes of weights that a packed model holds beside those in its `state_dict`."""
    return sum(
        module.weight.numel() * module.weight.element_size()
        for module in model.modules()
        if isinstance(module, PackedConv2d | PointwiseConv2d)
    )


class PackedConv2d(nn.Module):
    """A convolution whose weights are in oneDNN's blocks."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.bias = conv.bias
        self.layout = (
            [int(size) for size in conv.padding],
            list(conv.stride),
            list(conv.dilation),
            conv.groups,
        )
        dense = conv.weight.detach().contiguous()
        self.weight: Tensor = torch.ops.aten.mkldnn_reorder_conv2d_weight(
            dense.to_mkldnn(), *self.layout
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C_out, H', W'), channels last."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self.layout, "none", [], ""
        )
        return y


class PointwiseConv2d(nn.Module):
    """A 1x1 convolution of maps that are channels last: a linear layer."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.bias = conv.bias
        self.weight = conv.weight.detach()[:, :, 0, 0]  # (C_out, C_in)

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


def _rearranged(module: M) -> M:
    """A copy of a tree of modules with some of its leaves replaced."""
    copy = object.__new__(type(module))
    copy.__dict__ = {
        **module.__dict__,
        "_modules": {name: _replaced(child) for name, child in module.__dict__["_modules"].items()},
    }
    return copy


def _replaced(module: nn.Module | None) -> nn.Module | None:
    if module is None:
        return None
    if isinstance(module, nn.Conv2d) and _can_pack(module):
        return PointwiseConv2d(module) if _is_pointwise(module) else PackedConv2d(module)
    if isinstance(module, nn.GroupNorm) and module.weight.dtype == torch.bfloat16:
        return PlanarGroupNorm(module)
    return _rearranged(module)


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

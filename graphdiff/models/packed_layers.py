"""What modules become in a packed model: the same functions, in the order that a CPU likes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Self, TypeAlias, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphdiff.models.layers import ResnetBlock2D
from graphdiff.models.outputs import SampleOutput

M = TypeVar("M", bound=nn.Module)

Layout: TypeAlias = tuple[list[int], list[int], list[int], int]
"""Padding, stride, dilation and groups of a convolution."""


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
        matrix = weight.detach()[:, :, 0, 0]  # (C_out, C_in)
        self.blocks = matrix.dtype == torch.bfloat16
        self.weight = _blocks(matrix) if self.blocks else turned(matrix)

    def with_weight(self, weight: Tensor) -> PointwiseConv2d:
        """The same with other weights, (C_out, C_in, 1, 1)."""
        return PointwiseConv2d(weight, self.bias)

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Self:
        """What a convolution becomes."""
        return cls(conv.weight, conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C_out, H, W), channels last."""
        rows = x.permute(0, 2, 3, 1).contiguous()  # a copy after a planar normalisation alone
        apply = _times_blocks if self.blocks else F.linear
        return apply(rows, self.weight, self.bias).permute(0, 3, 1, 2)


class PackedLinear(nn.Module):
    """A linear layer in bfloat16 whose weights are in oneDNN's blocks.

    Args:
        weight: The weights, (out, in).
        bias: The bias, (out).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias
        self.weight = _blocks(weight.detach())

    def with_weight(self, weight: Tensor) -> PackedLinear:
        """The same with other weights, (out, in)."""
        return PackedLinear(weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return _times_blocks(x, self.weight, self.bias)


class InPlaceResnetBlock2D(ResnetBlock2D):
    """A residual block that activates and adds in place what it has just computed itself."""

    @staticmethod
    def can_be(block: ResnetBlock2D) -> bool:
        """Whether a block does nothing that this one leaves out."""
        plain = block.resample is None and not block.scale_shift and block.output_scale == 1.0
        return plain and type(block.act) is nn.SiLU

    @classmethod
    def of(cls, block: ResnetBlock2D) -> Self:
        """What a block becomes; it shares all its parts."""
        made = object.__new__(cls)
        made.__dict__ = block.__dict__
        return made

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: Sequence[int] | None = None
    ) -> Tensor:
        """Apply the block to features `x` (N, C_in, H, W) at time `emb` (N, time_width)."""
        h: Tensor = self.conv1(F.silu(self.norm1(x), inplace=True))  # (N, C_out, H, W)
        if self.time_emb_proj is not None:
            h += self.time_emb_proj(self.act(emb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h), inplace=True))
        h += x if self.conv_shortcut is None else self.conv_shortcut(x)
        return h


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


class Untracked(nn.Module):
    """A model that spends nothing on what gradients need: 3 to 5 % of a small one's pass."""

    def forward(self, *args: Any, **kwargs: Any) -> SampleOutput:  # noqa: ANN401 - the model's own
        """As the model's own; what it gives is a tensor like any other."""
        with torch.inference_mode():
            found: SampleOutput = super().forward(*args, **kwargs)
        return SampleOutput(found.sample.clone())


def untracked(model: M) -> M:
    """A model that runs many times a picture, spared of what gradients need; others as they are.

    The names of classes tell which do: to import them would make what only decodes depend on their
    source too.

    Args:
        model: The model; what is given shares all its parts.
    """
    kind: Any = type(model)
    if kind.__name__ not in ("UNet2DModel", "UNet2DConditionModel"):
        return model
    made = object.__new__(_untracked(kind))
    made.__dict__ = model.__dict__
    return cast("M", made)


@cache
def _untracked(kind: type[nn.Module]) -> type[Untracked]:
    return type(kind.__name__, (Untracked, kind), {})


def turned(weight: Tensor) -> Tensor:
    """A matrix (out, in) column by column, in which order a product reads it."""
    return weight.detach().t().contiguous().t()


def _blocks(weight: Tensor) -> Tensor:
    """A matrix (out, in) in oneDNN's blocks."""
    blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
    return blocks


def _times_blocks(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer of such a matrix."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y

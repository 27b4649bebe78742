"""A model rearranged for inference on a GPU: what stands between matrix products in few kernels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphdiff.models.attention import (
    GEGLU,
    Attention,
    BasicTransformerBlock,
    Context,
    SpatialAttention,
    Transformer2DModel,
)
from graphdiff.models.layers import ResnetBlock2D, upsample
from graphdiff.models.rearranged import rearranged
from graphdiff.models.unet_2d_condition import UNet2DConditionModel

M = TypeVar("M", bound=nn.Module)


def fused(model: M) -> M:
    """The same function as `model`, faster on a GPU, and only for inference.

    Torch runs each normalisation, activation, bias and addition as a kernel of its own, each of
    which reads and writes the whole map. Here normalisations take in what comes before and after
    them, and a skip the bias of the convolution that it goes around. Results differ in the last
    bits, where what was rounded in between no longer is.

    Args:
        model: A model, best with the weights of its convolutions channels-last, since that is what
            maps are here; left as it is. All weights are shared with it, under the same names.

    Returns:
        The rearranged model; `model` itself where there is nothing to gain, or where Triton, which
        compiles the kernels, is missing or does not work (which is said).
    """
    if not any(isinstance(module, nn.GroupNorm | GEGLU) for module in model.modules()):
        return model
    if not _has_kernels(next(model.parameters())):
        return model
    # All residual blocks are told the same time: its activation need not be in each of them.
    is_told = isinstance(model, UNet2DConditionModel) and all(
        isinstance(module.act, nn.SiLU)
        for module in model.modules()
        if isinstance(module, ResnetBlock2D)
    )

    def replace(name: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, ResnetBlock2D) and isinstance(module.act, nn.SiLU):
            return _as(FusedResnetBlock2D, module, told_active=is_told)
        if isinstance(module, Transformer2DModel):
            return _as(FusedTransformer2DModel, rearranged(module, replace, f"{name}."))
        if isinstance(module, BasicTransformerBlock):
            return _as(FusedTransformerBlock, rearranged(module, replace, f"{name}."))
        if isinstance(module, SpatialAttention):
            return _as(FusedSpatialAttention, module)
        if isinstance(module, GEGLU):
            return _as(FusedGEGLU, module)
        if isinstance(module, nn.Conv2d) and _is_pointwise(module):
            return _as(PointwiseConv2d, module)
        if name == "time_embed_act" and is_told:
            return nn.Sequential(module, nn.SiLU())
        owner, _, own_name = name.rpartition(".")
        ends_in_silu = isinstance(getattr(model.get_submodule(owner), "conv_act", None), nn.SiLU)
        if own_name == "conv_act" and ends_in_silu:
            return nn.Identity()  # the normalisation before it has done it
        if isinstance(module, nn.GroupNorm) and module.affine:
            silu = own_name == "conv_norm_out" and ends_in_silu
            return _as(FusedGroupNorm, module, silu=silu)
        return None

    return rearranged(model, replace)


class FusedGroupNorm(nn.GroupNorm):
    """A group normalisation, with the SiLU after it, if there is one."""

    silu: bool

    def forward(self, input: Tensor) -> Tensor:  # noqa: D102 - as in what it replaces
        return _normalised(self, input, silu=self.silu)


class FusedResnetBlock2D(ResnetBlock2D):
    """A residual block whose convolutions leave their biases to what comes after them."""

    told_active: bool  # the time has been through its activation

    def forward(  # noqa: D102
        self, x: Tensor, emb: Tensor | None = None, size: Sequence[int] | None = None
    ) -> Tensor:
        from graphdiff.models import kernels

        h = _normalised(self.norm1, x, silu=True)  # (N, C_in, H, W)
        if self.resample == "up":
            x, h = upsample(x, size), upsample(h, size)
        elif self.resample == "down":
            x, h = F.avg_pool2d(x, 2), F.avg_pool2d(h, 2)
        time: Tensor | None = None
        if self.time_emb_proj is not None:
            time = self.time_emb_proj(emb if self.told_active else self.act(emb))
        h = kernels.group_norm(
            _unbiased(self.conv1, h),  # (N, C_out, H, W)
            self.norm2.num_groups,
            self.norm2.weight,
            self.norm2.bias,
            self.norm2.eps,
            silu=True,
            conv_bias=self.conv1.bias,
            time=time,
            scales=self.scale_shift and time is not None,
            in_place=True,
        )
        if self.conv_shortcut is not None:
            x = _pointwise(self.conv_shortcut, x)
        return kernels.add(_unbiased(self.conv2, h), x, self.conv2.bias, scale=self.output_scale)


class FusedSpatialAttention(SpatialAttention):
    """Attention among the pixels of a map, of which the pixels are read as they lie."""

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:  # noqa: D102
        from graphdiff.models import kernels

        h = x if self.group_norm is None else _normalised(self.group_norm, x)
        h = Attention.forward(self, h.flatten(2).transpose(1, 2))  # (N, HW, C)
        return kernels.add(h.transpose(1, 2).reshape(x.shape), x, scale=self.output_scale)


class FusedTransformer2DModel(Transformer2DModel):
    """Transformer blocks, each of which also normalises for the next one."""

    def forward(self, x: Tensor, context: Context) -> Tensor:  # noqa: D102
        from graphdiff.models import kernels

        h = _pointwise(self.proj_in, _normalised(self.norm, x))
        h = h.flatten(2).transpose(1, 2)  # (N, HW, C)
        normed: Tensor | None = None
        blocks: list[Any] = [*self.transformer_blocks]
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            h, normed = block.chained(h, normed, context, following)
        h = h.transpose(1, 2).reshape(x.shape)  # (N, C, H, W)
        return kernels.add(_pointwise(self.proj_out, h), x)


class FusedTransformerBlock(BasicTransformerBlock):
    """A transformer block whose sums are normalised as they are made."""

    def forward(self, x: Tensor, context: Context) -> Tensor:  # noqa: D102
        return self.chained(x, None, context, None)[0]

    def chained(
        self,
        x: Tensor,
        normed: Tensor | None,
        context: Context,
        following: BasicTransformerBlock | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Apply the block to tokens that the block before it may have normalised.

        Args:
            x: The tokens, (N, T, width).
            normed: What the first normalisation gives for them, if that is known.
            context: As ever.
            following: The block that comes next.

        Returns:
            The tokens, and what that one's first normalisation gives for them.
        """
        normed = self.norm1(x) if normed is None else normed
        a = self.attn1(normed, context if self.only_cross_attention else None)
        x, normed = _added_and_normalised(a, x, self.norm2)
        x, normed = _added_and_normalised(self.attn2(normed, context), x, self.norm3)
        a = self.ff(normed)
        return (
            (a.add_(x), None) if following is None else _added_and_normalised(a, x, following.norm1)
        )


class FusedGEGLU(GEGLU):
    """A linear layer whose one half gates the other, in one kernel."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        from graphdiff.models import kernels

        return kernels.geglu(self.proj(x))


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution as the matrix product that it is, which adds the bias by itself."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: D102
        return _pointwise(self, input)


def _as(made: type[M], module: nn.Module, **own: bool) -> M:
    """A module of another class with all that `module` has, and some attributes of its own."""
    copied = object.__new__(made)
    copied.__dict__ = {**module.__dict__, **own}
    return copied


def _has_kernels(weight: Tensor) -> bool:
    """Whether there are kernels for such weights, and they run where these are."""
    if weight.device.type == "meta":
        return False
    probe = torch.zeros(2, dtype=weight.dtype, device=weight.device)
    try:
        from graphdiff.models import kernels

        if weight.dtype not in kernels.FLOATS:
            return False
        kernels.geglu(probe)
    except Exception as error:  # whatever a compiler, a linker or a driver may lack
        if weight.device.type != "cpu":
            warnings.warn(
                f"models are slower than they could be: Triton does not work on {weight.device} "
                f"({type(error).__name__}: {error}). It comes with torch on Linux, and needs a C "
                "compiler and a cache folder that it may write to (TRITON_CACHE_DIR)",
                stacklevel=3,
            )
        return False
    return True


def _is_pointwise(conv: nn.Conv2d) -> bool:
    plain = ((1, 1), (1, 1), (0, 0), (1, 1), 1)
    return (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups) == plain


def _normalised(norm: nn.GroupNorm, x: Tensor, *, silu: bool = False) -> Tensor:
    """A map, normalised; (N, C, H, W) to the same."""
    from graphdiff.models import kernels

    return kernels.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps, silu=silu)


def _added_and_normalised(a: Tensor, x: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """`a + x`, written over `a`, and what `norm` gives for it."""
    from graphdiff.models import kernels

    return kernels.add_layer_norm(a, x, norm.weight, norm.bias, norm.eps)


def _unbiased(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution without its bias, which torch would add in a kernel of its own."""
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def _pointwise(layer: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """A 1x1 convolution, or a linear layer over pixels; (N, C, H, W) to (N, C', H, W)."""
    samples, _, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).flatten(0, 2)  # (NHW, C): of two dimensions, for the bias to be
    y = F.linear(rows, layer.weight.flatten(1), layer.bias)  # added by the matrix product itself
    return y.view(samples, height, width, -1).permute(0, 3, 1, 2)

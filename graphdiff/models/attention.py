"""Attention: of a picture to itself, and of a picture to a text."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Context(NamedTuple):
    """What a picture attends to.

    Args:
        tokens: The text's vectors, shape (N, L, width).
        bias: Added to the attention scores of each token, shape (N, 1, 1, L); None adds nothing.
    """

    tokens: Tensor
    bias: Tensor | None = None


class Attention(nn.Module):
    """Multi-head attention of tokens to themselves, or to those of a context.

    `scaled_dot_product_attention` keeps its scores in float32 whatever the inputs are, which is
    all that a config's `upcast_attention` asks for.

    Args:
        width: Width of the tokens.
        heads: How many heads.
        head_width: The width of each.
        context_width: Width of the context's tokens; None where there is no context.
        bias: Whether queries, keys and values have a bias.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        head_width: int,
        context_width: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.to_q = nn.Linear(width, inner, bias=bias)
        self.to_k = nn.Linear(context_width or width, inner, bias=bias)
        self.to_v = nn.Linear(context_width or width, inner, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])  # a list, as files name it to_out.0

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Attend from `x` (N, T, width) to the context, or without one to itself."""
        tokens, bias = (x, None) if context is None else context
        q = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, T, D)
        k = self.to_k(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, D)
        v = self.to_v(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, D)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (N, heads, T, D)
        y: Tensor = self.to_out[0](h.transpose(1, 2).flatten(2))  # (N, T, width)
        return y


class SpatialAttention(Attention):
    """Attention among the pixels of a feature map, around a skip.

    Args:
        channels: Channels of the map.
        head_width: The width of a head; there are as many as fit.
        groups: Groups of the normalisation; None for none.
        eps: Added to its variance.
        output_scale: What the result is divided by.
    """

    def __init__(
        self,
        channels: int,
        *,
        head_width: int,
        groups: int | None,
        eps: float,
        output_scale: float = 1.0,
    ) -> None:
        if head_width > channels:
            raise ValueError(
                f"attention heads are {head_width} wide, but there are {channels} channels"
            )
        super().__init__(channels, heads=channels // head_width, head_width=head_width, bias=True)
        self.group_norm = None if groups is None else nn.GroupNorm(groups, channels, eps=eps)
        self.output_scale = output_scale

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Attend among the pixels of `x` (N, C, H, W); `context` is for the other kinds."""
        h = x if self.group_norm is None else self.group_norm(x)
        h = super().forward(h.flatten(2).transpose(1, 2))  # (N, HW, C)
        y = x + h.transpose(1, 2).reshape(x.shape)
        return y if self.output_scale == 1.0 else y / self.output_scale


class GEGLU(nn.Module):
    """A linear layer whose one half gates the other. Shazeer 2020, arXiv:2002.05202."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner * 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to (N, T, inner)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        gated: Tensor = value * F.gelu(gate)
        return gated


class FeedForward(nn.Module):
    """A gated layer four times as wide, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The middle is where files count a dropout that is always 0 in these families.
        self.net = nn.Sequential(
            GEGLU(width, width * 4), nn.Identity(), nn.Linear(width * 4, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        y: Tensor = self.net(x)
        return y


class BasicTransformerBlock(nn.Module):
    """Attend to the picture, attend to the text, think.

    Args:
        width: Width of the tokens.
        heads: How many heads.
        context_width: Width of the text's tokens.
        only_cross_attention: Whether the first attention, too, is to the text.
    """

    def __init__(
        self, width: int, *, heads: int, context_width: int, only_cross_attention: bool = False
    ) -> None:
        super().__init__()
        first_context = context_width if only_cross_attention else None
        attention = partial(Attention, width, heads=heads, head_width=width // heads)
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = attention(context_width=first_context)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = attention(context_width=context_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)
        self.only_cross_attention = only_cross_attention

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Apply the block to tokens `x` (N, T, width)."""
        x = x + self.attn1(self.norm1(x), context if self.only_cross_attention else None)
        x = x + self.attn2(self.norm2(x), context)
        x = x + self.ff(self.norm3(x))
        return x


class Transformer2DModel(nn.Module):
    """Transformer blocks over the pixels of a feature map, around a skip.

    Args:
        channels: Channels of the map.
        heads: How many heads.
        context_width: Width of the text's tokens.
        layers: How many blocks.
        groups: Groups of the normalisation.
        linear: Whether the projections around the blocks are linear layers rather than 1x1
            convolutions: the same function, but other shapes in the file.
        only_cross_attention: Whether pixels attend to the text alone.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        context_width: int,
        layers: int,
        groups: int,
        linear: bool = False,
        only_cross_attention: bool = False,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} attention heads do not divide {channels} channels")
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            BasicTransformerBlock(
                channels,
                heads=heads,
                context_width=context_width,
                only_cross_attention=only_cross_attention,
            )
            for _ in range(layers)
        )
        self.proj_out = (
            nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        )
        self.linear = linear

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Apply the blocks to features `x` (N, C, H, W)."""
        h: Tensor = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        h = h.flatten(2).transpose(1, 2).contiguous()  # (N, HW, C)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, context)
        if self.linear:
            h = self.proj_out(h)
        h = h.transpose(1, 2).reshape(x.shape)  # (N, C, H, W)
        if not self.linear:
            h = self.proj_out(h)
        return x + h

"""The blocks that UNets are made of, and which of them a config names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from graphdiff.models.attention import Context, SpatialAttention, Transformer2DModel
from graphdiff.models.configs import ControlNetConfig, UNet2DConditionConfig, per_block
from graphdiff.models.layers import Downsample2D, ResnetBlock2D, Upsample2D

MakeResnet = Callable[..., ResnetBlock2D]
MakeAttention = Callable[[str, int, int], nn.Module]


class DownBlock(nn.Module):
    """Residual blocks, each maybe with attention, then maybe half the size.

    Args:
        resnets: The residual blocks.
        attentions: One for each of them, or none at all.
        downsampler: What halves the size; None keeps it.
    """

    def __init__(
        self,
        resnets: Iterable[nn.Module],
        attentions: Iterable[nn.Module] = (),
        downsampler: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        self.downsamplers = nn.ModuleList([] if downsampler is None else [downsampler])

    def forward(
        self, x: Tensor, emb: Tensor, context: Context | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Apply the block to `x` (N, C, H, W); also gives what the way up will need."""
        skips: list[Tensor] = []
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, emb)
            if self.attentions:
                x = self.attentions[i](x, context)
            skips.append(x)
        for downsampler in self.downsamplers:
            x = downsampler(x, emb)
            skips.append(x)
        return x, skips


class MidBlock(nn.Module):
    """A residual block, then maybe attention and another one.

    Args:
        resnets: One more than there are attentions, or two without.
        attentions: What stands between them; may be empty.
    """

    def __init__(self, resnets: Iterable[nn.Module], attentions: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(attentions)
        self.resnets = nn.ModuleList(resnets)

    def forward(
        self, x: Tensor, emb: Tensor | None = None, context: Context | None = None
    ) -> Tensor:
        """Apply the block to `x` (N, C, H, W)."""
        for i, resnet in enumerate(self.resnets):
            if i > 0 and self.attentions:
                x = self.attentions[i - 1](x, context)
            x = resnet(x, emb)
        return x


class UpBlock(nn.Module):
    """Residual blocks that take in the features of the way down, then maybe twice the size.

    Args:
        resnets: The residual blocks.
        attentions: One for each of them, or none at all.
        upsampler: What doubles the size; None keeps it.
    """

    def __init__(
        self,
        resnets: Iterable[nn.Module],
        attentions: Iterable[nn.Module] = (),
        upsampler: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(attentions)
        self.resnets = nn.ModuleList(resnets)
        self.upsamplers = nn.ModuleList([] if upsampler is None else [upsampler])

    def forward(
        self, x: Tensor, skips: list[Tensor], emb: Tensor, context: Context | None = None
    ) -> Tensor:
        """Apply the block to `x` (N, C, H, W), taking what it needs off the end of `skips`."""
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), emb)
            if self.attentions:
                x = self.attentions[i](x, context)
        for upsampler in self.upsamplers:
            # Not just twice the size: an odd one was rounded up on the way down.
            x = upsampler(x, emb, skips[-1].shape[-2:])
        return x


def down_blocks(
    kinds: Sequence[str],
    channels: Sequence[int],
    layers: Sequence[int],
    *,
    resnet: MakeResnet,
    attention: MakeAttention,
    padding: int,
    resample: str = "conv",
) -> nn.ModuleList:
    """The way down.

    Args:
        kinds: What a config calls each block.
        channels: The channels of each.
        layers: How many residual blocks each has.
        resnet: Makes a residual block from its channels in and out.
        attention: Makes the attention of block i and layer j.
        padding: Of the convolutions that halve the size.
        resample: What halves the size in an AttnDownBlock2D: "conv" or "resnet".
    """
    blocks = nn.ModuleList()
    for i, (kind, width) in enumerate(zip(kinds, channels, strict=True)):
        resnets = [
            resnet(channels[max(i - 1, 0)] if j == 0 else width, width) for j in range(layers[i])
        ]
        attentions = [attention(kind, i, j) for j in range(layers[i]) if "Attn" in kind]
        downsampler: nn.Module | None = None
        if i < len(channels) - 1:
            by_resnet = kind.startswith("Resnet") or (
                kind.startswith("Attn") and resample != "conv"
            )
            downsampler = (
                resnet(width, width, resample="down")
                if by_resnet
                else Downsample2D(width, padding=padding)
            )
        blocks.append(DownBlock(resnets, attentions, downsampler))
    return blocks


def up_blocks(
    kinds: Sequence[str],
    channels: Sequence[int],
    layers: Sequence[int],
    *,
    resnet: MakeResnet,
    attention: MakeAttention,
    resample: str = "conv",
) -> nn.ModuleList:
    """The way up; `channels` and `layers` are in its own order, deepest first.

    Each block has one layer more than its counterpart on the way down, which also had the features
    before its first layer to give.
    """
    blocks = nn.ModuleList()
    for i, (kind, width) in enumerate(zip(kinds, channels, strict=True)):
        is_last = i == len(channels) - 1
        resnets: list[nn.Module] = []
        for j in range(layers[i] + 1):
            below = channels[max(i - 1, 0)] if j == 0 else width
            skip = channels[i if is_last else i + 1] if j == layers[i] else width
            resnets.append(resnet(below + skip, width))
        attentions = [attention(kind, i, j) for j in range(layers[i] + 1) if "Attn" in kind]
        upsampler: nn.Module | None = None
        if not is_last:
            by_resnet = kind.startswith("Resnet") or (
                kind.startswith("Attn") and resample != "conv"
            )
            upsampler = resnet(width, width, resample="up") if by_resnet else Upsample2D(width)
        blocks.append(UpBlock(resnets, attentions, upsampler))
    return blocks


@dataclass(frozen=True)
class TextAttention:
    """Makes the attentions of a UNet that reads text, block by block.

    Args:
        channels: The channels of each block.
        heads: How many heads in each.
        head_width: Width of a head where a block attends to the picture alone.
        context_width: Width of the text's tokens, for each block.
        depth: How many transformer blocks, for each block, or for each layer of it.
        only_cross_attention: Whether pixels attend to the text alone, for each block.
        groups: Groups of the normalisations.
        eps: Of the normalisation in blocks that attend to the picture alone.
        linear: Whether projections are linear layers.
    """

    channels: Sequence[int]
    heads: Sequence[int]
    head_width: Sequence[int]
    context_width: Sequence[int]
    depth: Sequence[int | tuple[int, ...]]
    only_cross_attention: Sequence[bool]
    groups: int
    eps: float
    linear: bool

    @classmethod
    def of(cls, config: UNet2DConditionConfig | ControlNetConfig) -> TextAttention:
        """What a config says for the way down."""
        blocks = len(config.block_out_channels)
        return cls(
            channels=config.block_out_channels,
            heads=per_block(config.num_attention_heads or config.attention_head_dim, blocks),
            head_width=per_block(config.attention_head_dim, blocks),
            context_width=per_block(config.cross_attention_dim, blocks),
            depth=per_block(config.transformer_layers_per_block, blocks),
            only_cross_attention=per_block(config.only_cross_attention, blocks),
            groups=config.norm_num_groups,
            eps=config.norm_eps,
            linear=config.use_linear_projection,
        )

    def upwards(self, depth: Sequence[int | tuple[int, ...]] | None) -> TextAttention:
        """The same for the way up, where `depth` may have a value of its own."""
        return replace(
            self,
            channels=self.channels[::-1],
            heads=self.heads[::-1],
            context_width=self.context_width[::-1],
            depth=self.depth[::-1] if depth is None else depth,
            only_cross_attention=self.only_cross_attention[::-1],
        )  # head_width stays: diffusers, and so the files, read it from the front in both ways

    def __call__(self, kind: str, i: int, j: int) -> nn.Module:
        """The attention of layer j in block i."""
        if not kind.startswith("CrossAttn"):
            return SpatialAttention(
                self.channels[i], head_width=self.head_width[i], groups=self.groups, eps=self.eps
            )
        return self.transformer(i, j, only_cross_attention=self.only_cross_attention[i])

    def transformer(
        self, i: int, j: int, *, only_cross_attention: bool = False
    ) -> Transformer2DModel:
        """The transformer of layer j in block i."""
        depth = self.depth[i]
        return Transformer2DModel(
            self.channels[i],
            heads=self.heads[i],
            context_width=self.context_width[i],
            layers=depth[j] if isinstance(depth, tuple) else depth,
            groups=self.groups,
            linear=self.linear,
            only_cross_attention=only_cross_attention,
        )

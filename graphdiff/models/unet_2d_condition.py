"""The UNet that predicts noise under a text: Stable Diffusion 1.x, 2.x, XL and their variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from graphdiff.models.attention import Context
from graphdiff.models.base import Model
from graphdiff.models.blocks import MidBlock, TextAttention, down_blocks, up_blocks
from graphdiff.models.configs import ControlNetConfig, UNet2DConditionConfig, per_block
from graphdiff.models.layers import (
    ResnetBlock2D,
    TimestepEmbedding,
    activation,
    expand_timestep,
    sinusoidal_embedding,
)
from graphdiff.models.outputs import SampleOutput

C = TypeVar("C", bound=UNet2DConditionConfig | ControlNetConfig)


class ConditionedModel(Model[C]):
    """What nets that read text share: one vector of the time and all else that is no sequence."""

    def _make_embeddings(
        self,
        *,
        time_width: int,
        act: str,
        post_act: str | None = None,
        condition_width: int | None = None,
    ) -> None:
        config = self.config
        width_in = config.block_out_channels[0]
        self.time_embedding = TimestepEmbedding(
            width_in,
            time_width,
            act=act,
            post_act=post_act,
            condition_width=condition_width,
        )
        self.class_embedding: nn.Module | None = None
        class_width = config.projection_class_embeddings_input_dim or 0
        if config.class_embed_type == "timestep":
            self.class_embedding = TimestepEmbedding(width_in, time_width, act=act)
        elif config.class_embed_type == "identity":
            self.class_embedding = nn.Identity()
        elif config.class_embed_type == "projection":
            self.class_embedding = TimestepEmbedding(class_width, time_width)
        elif config.class_embed_type == "simple_projection":
            self.class_embedding = nn.Linear(class_width, time_width)
        elif config.num_class_embeds is not None:
            self.class_embedding = nn.Embedding(config.num_class_embeds, time_width)
        self.add_embedding = (
            TimestepEmbedding(class_width, time_width)
            if config.addition_embed_type == "text_time"
            else None
        )
        self.encoder_hid_proj: nn.Linear | None = None
        if config.encoder_hid_dim_type == "text_proj":
            text_width = per_block(config.cross_attention_dim, 1)[0]
            self.encoder_hid_proj = nn.Linear(config.encoder_hid_dim or 0, text_width)

    def _embed(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None,
        timestep_cond: Tensor | None,
        added_cond_kwargs: Mapping[str, Tensor] | None,
        *,
        concat_class: bool = False,
    ) -> Tensor:
        """The vector that each residual block is told, shape (N, time_width)."""
        width_in = self.config.block_out_channels[0]
        times = self._sinusoids(expand_timestep(timestep, sample), width_in).to(sample.dtype)
        emb: Tensor = self.time_embedding(times, timestep_cond)  # (N, time_width)

        if self.class_embedding is not None:
            if class_labels is None:
                raise ValueError("this model has classes: give class_labels, one for each sample")
            if self.config.class_embed_type == "timestep":
                class_labels = self._sinusoids(class_labels, width_in).to(sample.dtype)
            class_emb = self.class_embedding(class_labels).to(sample.dtype)
            emb = torch.cat([emb, class_emb], dim=-1) if concat_class else emb + class_emb
        elif class_labels is not None:
            raise ValueError("class_labels were given, but this model has no classes")

        if self.add_embedding is not None:
            added = added_cond_kwargs or {}
            missing = [key for key in ("text_embeds", "time_ids") if key not in added]
            if missing:
                raise ValueError(
                    "this model (SDXL) also takes a pooled text vector and sizes: "
                    f"added_cond_kwargs lacks {' and '.join(missing)}"
                )
            text, ids = added["text_embeds"], added["time_ids"]  # (N, pooled), (N, 5 or 6)
            id_width = self.config.addition_time_embed_dim or 0
            id_emb = self._sinusoids(ids.flatten(), id_width).reshape(text.shape[0], -1)
            emb = emb + self.add_embedding(torch.cat([text, id_emb], dim=-1).to(emb.dtype))
        return emb

    def _sinusoids(self, values: Tensor, width: int) -> Tensor:
        return sinusoidal_embedding(
            values,
            width,
            flip_sin_to_cos=self.config.flip_sin_to_cos,
            freq_shift=self.config.freq_shift,
        )

    def _context(self, tokens: Tensor, mask: Tensor | None, dtype: torch.dtype) -> Context:
        """What pixels attend to; a masked token scores 10000 less."""
        bias = None if mask is None else (1 - mask.to(dtype))[:, None, None, :] * -10000.0
        return Context(
            tokens if self.encoder_hid_proj is None else self.encoder_hid_proj(tokens), bias
        )


class UNet2DConditionModel(ConditionedModel[UNet2DConditionConfig]):
    """A UNet that reads text. Rombach et al. 2022, arXiv:2112.10752; SDXL: arXiv:2307.01952.

    Args:
        config: Its configuration.
    """

    config_class: ClassVar[type[UNet2DConditionConfig]] = UNet2DConditionConfig

    def __init__(self, config: UNet2DConditionConfig) -> None:
        super().__init__(config)
        channels = config.block_out_channels
        layers = per_block(config.layers_per_block, len(channels))
        time_width = config.time_embedding_dim or channels[0] * 4

        kernel = config.conv_in_kernel
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], kernel, padding=(kernel - 1) // 2)
        self._make_embeddings(
            time_width=time_width,
            act=config.act_fn,
            post_act=config.timestep_post_act,
            condition_width=config.time_cond_proj_dim,
        )
        name = config.time_embedding_act_fn
        self.time_embed_act = nn.Identity() if name is None else activation(name)

        resnet = partial(
            ResnetBlock2D,
            time_width=time_width * 2 if config.class_embeddings_concat else time_width,
            groups=config.norm_num_groups,
            eps=config.norm_eps,
            dropout=config.dropout,
            act=config.act_fn,
            scale_shift=config.resnet_time_scale_shift == "scale_shift",
        )
        attention = TextAttention.of(config)
        self.down_blocks = down_blocks(
            config.down_block_types,
            channels,
            layers,
            resnet=resnet,
            attention=attention,
            padding=config.downsample_padding,
        )
        self.mid_block = mid_block(config, resnet, attention)
        self.up_blocks = up_blocks(
            config.up_block_types,
            channels[::-1],
            layers[::-1],
            resnet=resnet,
            attention=attention.upwards(config.reverse_transformer_layers_per_block),
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[0], eps=config.norm_eps)
        self.conv_act = activation(config.act_fn)
        kernel = config.conv_out_kernel
        self.conv_out = nn.Conv2d(
            channels[0], config.out_channels, kernel, padding=(kernel - 1) // 2
        )

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        class_labels: Tensor | None = None,
        timestep_cond: Tensor | None = None,
        *,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        return_dict: bool = True,
    ) -> SampleOutput:
        """Predict from a noisy sample and a text.

        Args:
            sample: The noisy sample, shape (N, in_channels, H, W); sides may be odd.
            timestep: A number, a 0-d tensor, or one for each sample (N,); may be fractional.
            encoder_hidden_states: The text's vectors, shape (N, L, width).
            class_labels: For models with classes: ids (N,), or vectors where they are projected.
            timestep_cond: The embedded guidance scale of a distilled model, (N, width).
            added_cond_kwargs: For SDXL: `text_embeds` (N, pooled) and `time_ids` (N, 5 or 6).
            down_block_additional_residuals: A ControlNet's features, one for each on the way down.
            mid_block_additional_residual: A ControlNet's features of the middle.
            encoder_attention_mask: 1 where a token counts and 0 where it does not, shape (N, L).
            return_dict: What comes back is a tuple with names, whichever is asked for.

        Returns:
            `.sample` of shape (N, out_channels, H, W).

        Raises:
            ValueError: Something that the config asks for is missing, or given for nothing.
        """
        if self.config.center_input_sample:
            sample = 2 * sample - 1.0

        emb = self._embed(
            sample,
            timestep,
            class_labels,
            timestep_cond,
            added_cond_kwargs,
            concat_class=self.config.class_embeddings_concat,
        )
        emb = self.time_embed_act(emb)
        context = self._context(encoder_hidden_states, encoder_attention_mask, sample.dtype)

        h: Tensor = self.conv_in(sample)  # (N, C0, H, W)
        skips = [h]
        for block in self.down_blocks:
            h, block_skips = block(h, emb, context)
            skips += block_skips
        if self.mid_block is not None:
            h = self.mid_block(h, emb, context)

        if down_block_additional_residuals is not None or mid_block_additional_residual is not None:
            extra = down_block_additional_residuals
            if extra is None or mid_block_additional_residual is None or len(extra) != len(skips):
                raise ValueError(
                    f"a ControlNet for this model gives {len(skips)} features of the way down and "
                    f"one of the middle; found {'none' if extra is None else len(extra)} and "
                    f"{'none' if mid_block_additional_residual is None else 'one'}"
                )
            skips = [skip + residual for skip, residual in zip(skips, extra, strict=True)]
            h = h + mid_block_additional_residual

        for block in self.up_blocks:
            h = block(h, skips, emb, context)
        return SampleOutput(self.conv_out(self.conv_act(self.conv_norm_out(h))))


def mid_block(
    config: UNet2DConditionConfig | ControlNetConfig,
    resnet: partial[ResnetBlock2D],
    attention: TextAttention,
) -> MidBlock | None:
    """The middle of a net that reads text: with attention to it, a lone resnet, or nothing."""
    if config.mid_block_type is None:
        return None
    width = config.block_out_channels[-1]
    resnet = partial(resnet, output_scale=config.mid_block_scale_factor)
    if config.mid_block_type == "UNetMidBlock2D":
        return MidBlock([resnet(width, width)])
    transformer = attention.transformer(len(config.block_out_channels) - 1, 0)
    return MidBlock([resnet(width, width), resnet(width, width)], [transformer])

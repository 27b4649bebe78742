"""The UNet that predicts noise from a noisy sample and its time alone (DDPM and kin)."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from graphdiff.models.attention import SpatialAttention
from graphdiff.models.base import Model
from graphdiff.models.blocks import MidBlock, down_blocks, up_blocks
from graphdiff.models.configs import UNet2DConfig
from graphdiff.models.layers import (
    FourierEmbedding,
    ResnetBlock2D,
    TimestepEmbedding,
    expand_timestep,
    sinusoidal_embedding,
)
from graphdiff.models.outputs import SampleOutput


class UNet2DModel(Model[UNet2DConfig]):
    """A UNet without text. Ho et al. 2020, arXiv:2006.11239.

    Args:
        config: Its configuration.
    """

    config_class: ClassVar[type[UNet2DConfig]] = UNet2DConfig

    def __init__(self, config: UNet2DConfig) -> None:
        super().__init__(config)
        channels = config.block_out_channels
        layers = (config.layers_per_block,) * len(channels)
        time_width = config.time_embedding_dim or channels[0] * 4

        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        time_width_in = channels[0]
        if config.time_embedding_type == "fourier":
            self.time_proj: nn.Module = FourierEmbedding(channels[0])
            time_width_in = 2 * channels[0]
        elif config.time_embedding_type == "learned":
            self.time_proj = nn.Embedding(config.num_train_timesteps or 0, channels[0])
        self.time_embedding = TimestepEmbedding(time_width_in, time_width)
        self.class_embedding: nn.Module | None = None
        if config.class_embed_type == "timestep":
            self.class_embedding = TimestepEmbedding(time_width_in, time_width)
        elif config.class_embed_type == "identity":
            self.class_embedding = nn.Identity()
        elif config.num_class_embeds is not None:
            self.class_embedding = nn.Embedding(config.num_class_embeds, time_width)

        resnet = partial(
            ResnetBlock2D,
            time_width=time_width,
            groups=config.norm_num_groups,
            eps=config.norm_eps,
            dropout=config.dropout,
            act=config.act_fn,
            scale_shift=config.resnet_time_scale_shift == "scale_shift",
        )

        def attention(kind: str, i: int, _j: int) -> SpatialAttention:
            width = channels[::-1][i] if "Up" in kind else channels[i]
            return SpatialAttention(
                width,
                head_width=config.attention_head_dim or width,
                groups=config.norm_num_groups,
                eps=config.norm_eps,
            )

        self.down_blocks = down_blocks(
            config.down_block_types,
            channels,
            layers,
            resnet=resnet,
            attention=attention,
            padding=config.downsample_padding,
            resample=config.downsample_type,
        )
        self.mid_block = self._make_mid_block(resnet) if config.mid_block_type else None
        self.up_blocks = up_blocks(
            config.up_block_types,
            channels[::-1],
            layers,
            resnet=resnet,
            attention=attention,
            resample=config.upsample_type,
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[0], eps=config.norm_eps)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(channels[0], config.out_channels, 3, padding=1)

    def _make_mid_block(self, resnet: partial[ResnetBlock2D]) -> MidBlock:
        config = self.config
        width = config.block_out_channels[-1]
        scale = config.mid_block_scale_factor
        is_plain = config.resnet_time_scale_shift == "default"
        attention = SpatialAttention(
            width,
            head_width=config.attention_head_dim or width,
            groups=config.attn_norm_num_groups or (config.norm_num_groups if is_plain else None),
            eps=config.norm_eps,
            output_scale=scale,
        )
        resnets = [resnet(width, width, output_scale=scale) for _ in range(2)]
        return MidBlock(resnets, [attention] if config.add_attention else [])

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        *,
        return_dict: bool = True,
    ) -> SampleOutput:
        """Predict from a noisy sample.

        Args:
            sample: The noisy sample, shape (N, in_channels, H, W); sides may be odd.
            timestep: A number, a 0-d tensor, or one for each sample (N,); may be fractional.
            class_labels: What it shows, for models with classes: ids of shape (N,).
            return_dict: What comes back is a tuple with names, whichever is asked for.

        Returns:
            `.sample` of shape (N, out_channels, H, W).

        Raises:
            ValueError: Classes are given to a model without, or are missing.
        """
        if self.config.center_input_sample:
            sample = 2 * sample - 1.0

        times = expand_timestep(timestep, sample)  # (N,)
        emb: Tensor = self.time_embedding(self._project_time(times).to(sample.dtype))
        if self.class_embedding is not None:
            if class_labels is None:
                raise ValueError("this model has classes: give class_labels, one for each sample")
            if self.config.class_embed_type == "timestep":
                class_labels = self._project_time(class_labels).to(sample.dtype)
            emb = emb + self.class_embedding(class_labels).to(sample.dtype)
        elif class_labels is not None:
            raise ValueError("class_labels were given, but this model has no classes")

        h: Tensor = self.conv_in(sample)  # (N, C0, H, W)
        skips = [h]
        for block in self.down_blocks:
            h, block_skips = block(h, emb)
            skips += block_skips
        if self.mid_block is not None:
            h = self.mid_block(h, emb)
        for block in self.up_blocks:
            h = block(h, skips, emb)
        h = self.conv_out(self.conv_act(self.conv_norm_out(h)))

        if self.config.time_embedding_type == "fourier":
            h = h / times.reshape(-1, 1, 1, 1)
        return SampleOutput(h)

    def _project_time(self, times: Tensor) -> Tensor:
        if self.config.time_embedding_type == "positional":
            return sinusoidal_embedding(
                times,
                self.config.block_out_channels[0],
                flip_sin_to_cos=self.config.flip_sin_to_cos,
                freq_shift=self.config.freq_shift,
            )
        is_index = self.config.time_embedding_type == "learned"
        projected: Tensor = self.time_proj(times.long() if is_index else times)
        return projected

"""ControlNets: what steers a UNet by a picture, such as edges or a depth map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphdiff.models.blocks import TextAttention, down_blocks
from graphdiff.models.configs import ControlNetConfig
from graphdiff.models.layers import ResnetBlock2D
from graphdiff.models.unet_2d_condition import ConditionedModel, mid_block


class ControlNetOutput(NamedTuple):
    """What is added to the features of a UNet.

    Args:
        down_block_res_samples: For those of the way down, in their order.
        mid_block_res_sample: For those of the middle.
    """

    down_block_res_samples: tuple[Tensor, ...]
    mid_block_res_sample: Tensor


class PictureEmbedding(nn.Module):
    """From the picture that steers to features of the latents' size."""

    def __init__(self, channels_in: int, channels: Sequence[int], channels_out: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels_in, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, next_width in pairwise(channels):
            self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
            self.blocks.append(nn.Conv2d(width, next_width, 3, padding=1, stride=2))
        self.conv_out = _zeroed(nn.Conv2d(channels[-1], channels_out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, H/f, W/f)."""
        x = F.silu(self.conv_in(x))
        for block in self.blocks:
            x = F.silu(block(x))
        y: Tensor = self.conv_out(x)
        return y


class ControlNetModel(ConditionedModel[ControlNetConfig]):
    """The first half of a UNet, fed with a picture too. Zhang et al. 2023, arXiv:2302.05543.

    Args:
        config: Its configuration.
    """

    config_class: ClassVar[type[ControlNetConfig]] = ControlNetConfig

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__(config)
        channels = config.block_out_channels
        time_width = channels[0] * 4
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self._make_embeddings(time_width=time_width, act=config.act_fn)
        self.controlnet_cond_embedding = PictureEmbedding(
            config.conditioning_channels, config.conditioning_embedding_out_channels, channels[0]
        )
        resnet = partial(
            ResnetBlock2D,
            time_width=time_width,
            groups=config.norm_num_groups,
            eps=config.norm_eps,
            act=config.act_fn,
            scale_shift=config.resnet_time_scale_shift == "scale_shift",
        )
        attention = TextAttention.of(config)
        self.down_blocks = down_blocks(
            config.down_block_types,
            channels,
            (config.layers_per_block,) * len(channels),
            resnet=resnet,
            attention=attention,
            padding=config.downsample_padding,
        )
        self.mid_block = mid_block(config, resnet, attention)
        # One output for the features before the first block, each layer and each halving.
        widths = [channels[0]]
        for i, width in enumerate(channels):
            is_last = i == len(channels) - 1
            widths += [width] * (config.layers_per_block + (0 if is_last else 1))
        self.controlnet_down_blocks = nn.ModuleList(
            _zeroed(nn.Conv2d(width, width, 1)) for width in widths
        )
        self.controlnet_mid_block = _zeroed(nn.Conv2d(channels[-1], channels[-1], 1))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        controlnet_cond: Tensor,
        conditioning_scale: float = 1.0,
        class_labels: Tensor | None = None,
        timestep_cond: Tensor | None = None,
        *,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        encoder_attention_mask: Tensor | None = None,
        guess_mode: bool = False,
        return_dict: bool = True,
    ) -> ControlNetOutput:
        """What to add to the UNet's features for a picture.

        Args:
            sample: The noisy sample, shape (N, in_channels, H, W).
            timestep: A number, a 0-d tensor, or one for each sample (N,).
            encoder_hidden_states: The text's vectors, shape (N, L, width).
            controlnet_cond: The picture that steers, in [0, 1], shape (N, channels, 8H, 8W).
            conditioning_scale: How strongly it steers.
            class_labels: As for the UNet.
            timestep_cond: As for the UNet.
            added_cond_kwargs: As for the UNet.
            encoder_attention_mask: As for the UNet.
            guess_mode: Fade from a tenth in the first features to the whole in the middle, for
                when the picture must do without a text.
            return_dict: What comes back is a tuple with names, whichever is asked for.

        Raises:
            ValueError: Something that the config asks for is missing, or given for nothing.
        """
        if self.config.controlnet_conditioning_channel_order == "bgr":
            controlnet_cond = controlnet_cond.flip(1)
        emb = self._embed(sample, timestep, class_labels, timestep_cond, added_cond_kwargs)
        context = self._context(encoder_hidden_states, encoder_attention_mask, sample.dtype)

        h: Tensor = self.conv_in(sample) + self.controlnet_cond_embedding(controlnet_cond)
        skips = [h]
        for block in self.down_blocks:
            h, block_skips = block(h, emb, context)
            skips += block_skips
        if self.mid_block is not None:
            h = self.mid_block(h, emb, context)

        outputs: list[Tensor] = [
            project(skip) for project, skip in zip(self.controlnet_down_blocks, skips, strict=True)
        ]
        outputs.append(self.controlnet_mid_block(h))
        if self.config.global_pool_conditions:
            outputs = [output.mean(dim=(2, 3), keepdim=True) for output in outputs]
        elif guess_mode:
            last = len(outputs) - 1
            outputs = [output * 10 ** (i / last - 1) for i, output in enumerate(outputs)]
        if conditioning_scale != 1.0:
            outputs = [output * conditioning_scale for output in outputs]
        return ControlNetOutput(tuple(outputs[:-1]), outputs[-1])


class MultiControlNetModel(nn.Module):
    """Several ControlNets at once: what they give is added up.

    Args:
        nets: The ControlNets.
    """

    def __init__(self, nets: Iterable[ControlNetModel]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        controlnet_cond: Sequence[Tensor],
        conditioning_scale: Sequence[float],
        class_labels: Tensor | None = None,
        timestep_cond: Tensor | None = None,
        *,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        encoder_attention_mask: Tensor | None = None,
        guess_mode: bool = False,
        return_dict: bool = True,
    ) -> ControlNetOutput:
        """As `ControlNetModel.forward`, with a picture and a scale for each net.

        Raises:
            ValueError: There are not as many pictures and scales as nets.
        """
        if not len(self.nets) == len(controlnet_cond) == len(conditioning_scale):
            raise ValueError(
                f"{len(self.nets)} ControlNets need as many pictures and scales; found "
                f"{len(controlnet_cond)} pictures and {len(conditioning_scale)} scales"
            )
        outputs: list[ControlNetOutput] = [
            net(
                sample,
                timestep,
                encoder_hidden_states,
                picture,
                scale,
                class_labels,
                timestep_cond,
                added_cond_kwargs=added_cond_kwargs,
                encoder_attention_mask=encoder_attention_mask,
                guess_mode=guess_mode,
            )
            for net, picture, scale in zip(
                self.nets, controlnet_cond, conditioning_scale, strict=True
            )
        ]
        first, *others = outputs
        for other in others:
            first = ControlNetOutput(
                tuple(
                    a + b
                    for a, b in zip(
                        first.down_block_res_samples, other.down_block_res_samples, strict=True
                    )
                ),
                first.mid_block_res_sample + other.mid_block_res_sample,
            )
        return first


def _zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution that starts at zero, so that a new ControlNet changes nothing yet."""
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.zero_()
    return conv

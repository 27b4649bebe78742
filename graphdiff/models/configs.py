"""What each model's config.json says: one frozen dataclass a model, without torch.

Keys and defaults are diffusers' and transformers'. A key that no config of the class has, or a
value that the model does not support, is an error that names it; nothing is silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from graphdiff.models.model_config import (
    ConfigError,
    ModelConfig,
    config_class,
    config_path,
    per_block,
    read_json,
)

__all__ = [
    "CONFIGS",
    "AutoencoderKLConfig",
    "AutoencoderTinyConfig",
    "CLIPTextConfig",
    "ConfigError",
    "ControlNetConfig",
    "ModelConfig",
    "UNet2DConditionConfig",
    "UNet2DConfig",
    "per_block",
    "read_config",
    "read_json",
]

ACTIVATIONS = ("silu", "swish", "mish", "gelu", "relu")
DOWN_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D")
UP_BLOCKS = ("UpBlock2D", "AttnUpBlock2D", "CrossAttnUpBlock2D", "ResnetUpsampleBlock2D")
UNCONDITIONAL_DOWN_BLOCKS = tuple(name for name in DOWN_BLOCKS if "Cross" not in name)
UNCONDITIONAL_UP_BLOCKS = tuple(name for name in UP_BLOCKS if "Cross" not in name)

# What transformers writes into any config, and what does not change a text encoder's numbers.
TRANSFORMERS_BOOKKEEPING = frozenset(
    "architectures model_type torch_dtype dtype transformers_version return_dict "  # noqa: SIM905
    "tokenizer_class output_hidden_states output_attentions torchscript use_bfloat16 pruned_heads "
    "tf_legacy_loss tie_word_embeddings chunk_size_feed_forward is_encoder_decoder is_decoder "
    "cross_attention_hidden_size add_cross_attention tie_encoder_decoder max_length min_length "
    "do_sample prefix early_stopping num_beams num_beam_groups diversity_penalty temperature "
    "top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size bad_words_ids "
    "encoder_no_repeat_ngram_size num_return_sequences output_scores return_dict_in_generate "
    "forced_bos_token_id forced_eos_token_id remove_invalid_values finetuning_task problem_type "
    "id2label label2id exponential_decay_length_penalty suppress_tokens begin_suppress_tokens "
    "sep_token_id decoder_start_token_id task_specific_params".split()
)


@config_class
class UNet2DConfig(ModelConfig):
    """A UNet without text, as of DDPM. `attention_head_dim` is a width; None is one head."""

    class_name = "UNet2DModel"
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "time_embedding_type": ("positional", "fourier", "learned"),
        "down_block_types": UNCONDITIONAL_DOWN_BLOCKS,
        "mid_block_type": ("UNetMidBlock2D", None),
        "up_block_types": UNCONDITIONAL_UP_BLOCKS,
        "downsample_type": ("conv", "resnet"),
        "upsample_type": ("conv", "resnet"),
        "act_fn": ACTIVATIONS,
        "resnet_time_scale_shift": ("default", "scale_shift"),
        "class_embed_type": (None, "timestep", "identity"),
    }

    sample_size: int | tuple[int, ...] | None = None
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: int = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = (
        "DownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
    )
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = (
        "AttnUpBlock2D",
        "AttnUpBlock2D",
        "AttnUpBlock2D",
        "UpBlock2D",
    )
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: int | None = None

    @classmethod
    def _renew(cls, stated: dict[str, Any]) -> dict[str, Any]:
        return _strip_unet_res(stated)

    def _check(self) -> None:
        self._check_lengths("block_out_channels", "down_block_types", "up_block_types")
        if self.time_embedding_type == "learned" and self.num_train_timesteps is None:
            self._refuse("num_train_timesteps", None, "learned time embeddings need their number")


@config_class
class UNet2DConditionConfig(ModelConfig):
    """A UNet conditioned on text. `attention_head_dim` is, in spite of its name, how many heads."""

    class_name = "UNet2DConditionModel"
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "down_block_types": DOWN_BLOCKS,
        "mid_block_type": ("UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None),
        "up_block_types": UP_BLOCKS,
        "act_fn": ACTIVATIONS,
        "encoder_hid_dim_type": (None, "text_proj"),
        "num_attention_heads": (None,),
        "dual_cross_attention": (False,),
        "class_embed_type": (None, "timestep", "identity", "projection", "simple_projection"),
        "addition_embed_type": (None, "text_time"),
        "resnet_time_scale_shift": ("default", "scale_shift"),
        "resnet_skip_time_act": (False,),
        "resnet_out_scale_factor": (1.0,),
        "time_embedding_type": ("positional",),
        "time_embedding_act_fn": (None, *ACTIVATIONS),
        "timestep_post_act": (None, *ACTIVATIONS),
        "attention_type": ("default",),
        "mid_block_only_cross_attention": (None, False),
        "cross_attention_norm": (None,),
    }

    sample_size: int | tuple[int, ...] | None = None
    in_channels: int = 4
    out_channels: int = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    down_block_types: tuple[str, ...] = (
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "DownBlock2D",
    )
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[str, ...] = (
        "UpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
    )
    only_cross_attention: bool | tuple[bool, ...] = False
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int | tuple[int, ...] = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1
    dropout: float = 0.0
    act_fn: str = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int | tuple[int, ...] = 1280
    transformer_layers_per_block: int | tuple[int | tuple[int, ...], ...] = 1
    reverse_transformer_layers_per_block: tuple[int | tuple[int, ...], ...] | None = None
    encoder_hid_dim: int | None = None
    encoder_hid_dim_type: str | None = None
    attention_head_dim: int | tuple[int, ...] = 8
    num_attention_heads: int | tuple[int, ...] | None = None
    dual_cross_attention: bool = False
    use_linear_projection: bool = False
    class_embed_type: str | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    num_class_embeds: int | None = None
    upcast_attention: bool | None = False
    resnet_time_scale_shift: str = "default"
    resnet_skip_time_act: bool = False
    resnet_out_scale_factor: float = 1.0
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    time_embedding_act_fn: str | None = None
    timestep_post_act: str | None = None
    time_cond_proj_dim: int | None = None
    conv_in_kernel: int = 3
    conv_out_kernel: int = 3
    projection_class_embeddings_input_dim: int | None = None
    attention_type: str = "default"
    class_embeddings_concat: bool = False
    mid_block_only_cross_attention: bool | None = None
    cross_attention_norm: str | None = None
    addition_embed_type_num_heads: int = 64

    @classmethod
    def _renew(cls, stated: dict[str, Any]) -> dict[str, Any]:
        return _strip_unet_res(_name_text_projection(stated))

    def _check(self) -> None:
        self._check_lengths(
            "block_out_channels",
            "down_block_types",
            "up_block_types",
            "only_cross_attention",
            "layers_per_block",
            "attention_head_dim",
            "cross_attention_dim",
            "transformer_layers_per_block",
            "reverse_transformer_layers_per_block",
        )
        _check_embeddings(self)
        layers = self.transformer_layers_per_block
        nested = isinstance(layers, tuple) and any(isinstance(item, tuple) for item in layers)
        if nested and self.reverse_transformer_layers_per_block is None:
            self._refuse(
                "transformer_layers_per_block",
                layers,
                "one number a layer needs reverse_transformer_layers_per_block for the way up",
            )


@config_class
class ControlNetConfig(ModelConfig):
    """The encoder half of a conditional UNet with an entry for a picture that guides it."""

    class_name = "ControlNetModel"
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "down_block_types": DOWN_BLOCKS,
        "mid_block_type": ("UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
        "act_fn": ACTIVATIONS,
        "encoder_hid_dim_type": (None,),
        "class_embed_type": (None, "timestep", "identity", "projection"),
        "addition_embed_type": (None, "text_time"),
        "resnet_time_scale_shift": ("default", "scale_shift"),
        "controlnet_conditioning_channel_order": ("rgb", "bgr"),
    }

    in_channels: int = 4
    conditioning_channels: int = 3
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    down_block_types: tuple[str, ...] = (
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "DownBlock2D",
    )
    mid_block_type: str = "UNetMidBlock2DCrossAttn"
    only_cross_attention: bool | tuple[bool, ...] = False
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1
    act_fn: str = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int = 1280
    transformer_layers_per_block: int | tuple[int, ...] = 1
    encoder_hid_dim: int | None = None
    encoder_hid_dim_type: str | None = None
    attention_head_dim: int | tuple[int, ...] = 8
    num_attention_heads: int | tuple[int, ...] | None = None
    use_linear_projection: bool = False
    class_embed_type: str | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    num_class_embeds: int | None = None
    upcast_attention: bool | None = False
    resnet_time_scale_shift: str = "default"
    projection_class_embeddings_input_dim: int | None = None
    controlnet_conditioning_channel_order: str = "rgb"
    conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 96, 256)
    global_pool_conditions: bool = False
    addition_embed_type_num_heads: int = 64

    @classmethod
    def _renew(cls, stated: dict[str, Any]) -> dict[str, Any]:
        return _name_text_projection(stated)

    def _check(self) -> None:
        self._check_lengths(
            "block_out_channels",
            "down_block_types",
            "only_cross_attention",
            "attention_head_dim",
            "num_attention_heads",
            "transformer_layers_per_block",
        )
        _check_embeddings(self)


@config_class
class AutoencoderKLConfig(ModelConfig):
    """A variational autoencoder between pictures and latents."""

    class_name = "AutoencoderKL"
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "down_block_types": ("DownEncoderBlock2D",),
        "up_block_types": ("UpDecoderBlock2D",),
        "act_fn": ACTIVATIONS,
    }

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 4
    norm_num_groups: int = 32
    sample_size: int | tuple[int, ...] = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def _check(self) -> None:
        self._check_lengths("block_out_channels", "down_block_types", "up_block_types")


@config_class
class AutoencoderTinyConfig(ModelConfig):
    """A small distilled autoencoder (TAESD). `block_out_channels` is a note for other tools."""

    class_name = "AutoencoderTiny"
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "act_fn": ACTIVATIONS,
        "upsample_fn": ("nearest", "bilinear", "bicubic"),
    }

    in_channels: int = 3
    out_channels: int = 3
    encoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    decoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    act_fn: str = "relu"
    upsample_fn: str = "nearest"
    latent_channels: int = 4
    upsampling_scaling_factor: int = 2
    num_encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    num_decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)
    latent_magnitude: float = 3
    latent_shift: float = 0.5
    force_upcast: bool = False
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    block_out_channels: tuple[int, ...] | None = None

    def _check(self) -> None:
        self._check_lengths("encoder_block_out_channels", "num_encoder_blocks")
        self._check_lengths("decoder_block_out_channels", "num_decoder_blocks")


@config_class
class CLIPTextConfig(ModelConfig):
    """CLIP's text encoder, with transformers' keys.

    An `eos_token_id` of 2 is what old files say whatever their vocabulary: the pooled token is
    then the one with the highest id.
    """

    class_name = "CLIPTextModel"
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_act": ("quick_gelu", "gelu"),
        "dropout": (0.0,),
    }
    bookkeeping: ClassVar[frozenset[str]] = TRANSFORMERS_BOOKKEEPING

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    projection_dim: int | None = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    dropout: float = 0.0
    initializer_range: float = 0.02
    initializer_factor: float = 1.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 49406
    eos_token_id: int = 49407
    use_attention_mask: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """As `ModelConfig.from_dict`; a config of another transformers family is refused."""
        found = data.get("model_type", "clip_text_model")
        if found != "clip_text_model":
            raise ConfigError(
                f"this is the config of a {found!r} model, not of CLIP's text encoder "
                "('clip_text_model')",
                key="model_type",
                value=found,
            )
        return super().from_dict({k: v for k, v in data.items() if k != "_class_name"})

    def to_dict(self) -> dict[str, Any]:
        """The content of a transformers config.json."""
        notes = {"architectures": [self.class_name], "model_type": "clip_text_model"}
        return notes | {key: value for key, value in super().to_dict().items() if key[0] != "_"}

    def _check(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            self._refuse(
                "num_attention_heads",
                self.num_attention_heads,
                f"it must divide hidden_size = {self.hidden_size}",
            )


CONFIGS: Mapping[str, type[ModelConfig]] = {
    config.class_name: config
    for config in (
        UNet2DConfig,
        UNet2DConditionConfig,
        ControlNetConfig,
        AutoencoderKLConfig,
        AutoencoderTinyConfig,
        CLIPTextConfig,
    )
} | {"CLIPTextModelWithProjection": CLIPTextConfig}


def read_config(path: str | Path) -> ModelConfig:
    """Read the config of whichever model a folder (or its config.json) holds.

    Raises:
        ConfigError: The file does not say its class, or its class is not one of ours.
    """
    path = config_path(path)
    data = read_json(path)
    name = data.get("_class_name") or (data.get("architectures") or [None])[0]
    config = CONFIGS.get(str(name))
    if config is None:
        known = ", ".join(CONFIGS)
        raise ConfigError(
            f"{path}: the config of a {name}; known: {known}",
            file=path,
            key="_class_name",
            value=name,
        )
    return config.from_file(path)


def _strip_unet_res(stated: dict[str, Any]) -> dict[str, Any]:
    # The first releases called some blocks UNetResDownBlock2D, UNetResAttnUpBlock2D, ...
    for key in ("down_block_types", "up_block_types"):
        if isinstance(stated.get(key), tuple):
            stated[key] = tuple(str(name).removeprefix("UNetRes") for name in stated[key])
    return stated


def _name_text_projection(stated: dict[str, Any]) -> dict[str, Any]:
    # Before the type had a key, a width alone meant a projection of the text.
    if stated.get("encoder_hid_dim") is not None and stated.get("encoder_hid_dim_type") is None:
        stated["encoder_hid_dim_type"] = "text_proj"
    return stated


def _check_embeddings(config: UNet2DConditionConfig | ControlNetConfig) -> None:
    """Check that each kind of added embedding has the sizes it needs."""
    needed = {
        "encoder_hid_dim": config.encoder_hid_dim_type == "text_proj",
        "addition_time_embed_dim": config.addition_embed_type == "text_time",
        "projection_class_embeddings_input_dim": config.addition_embed_type == "text_time"
        or config.class_embed_type in ("projection", "simple_projection"),
    }
    for key, is_needed in needed.items():
        if is_needed and config[key] is None:
            config._refuse(key, None, "the embedding that this config asks for needs it")  # pyright: ignore[reportPrivateUsage]

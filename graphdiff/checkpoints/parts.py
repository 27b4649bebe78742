"""The parts of a checkpoint as handles, from their folders or from a single file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from graphdiff.checkpoints.devices import resolve_device, resolve_dtype
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import (
    VAE,
    ClipEncoder,
    DepthEstimator,
    DeviceKind,
    Dtype,
    Family,
    PredictionType,
    SafetyChecker,
    TextEncoder,
    TokenizerFiles,
    UNet,
    Weights,
)
from graphdiff.checkpoints.headers import Header, read_header
from graphdiff.checkpoints.ldm import Part
from graphdiff.checkpoints.names import weight_file
from graphdiff.checkpoints.sources import LdmTensors
from graphdiff.checkpoints.weight_files import find_weights
from graphdiff.config import FrozenConfig
from graphdiff.fingerprint import sha256_of
from graphdiff.models.configs import (
    AutoencoderKLConfig,
    AutoencoderTinyConfig,
    CLIPTextConfig,
    ConfigError,
    ControlNetConfig,
    ModelConfig,
    UNet2DConditionConfig,
    UNet2DConfig,
    read_json,
)

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
TEXT_CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")
UNetConfig = UNet2DConditionConfig | UNet2DConfig
C = TypeVar("C", bound=ModelConfig)


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which models are asked for.

    Args:
        dtype: What to compute in.
        device: Where.
        variant: Which of several weight files.
        plain_too: Whether a folder without that variant may give its plain weights.
    """

    dtype: Dtype
    device: DeviceKind
    variant: str | None = None
    plain_too: bool = False

    @classmethod
    def of(cls, dtype: str, device: str, variant: str | None = None) -> Form:
        """The form that these words mean on this machine."""
        kind = resolve_device(device)
        return cls(resolve_dtype(dtype, kind), kind, variant)


def make_unet(
    config: UNetConfig,
    weights: Weights,
    form: Form,
    *,
    prediction_type: PredictionType,
    spatial_factor: int | None = None,
    pooled_width: int | None = None,
) -> UNet:
    """A UNet's handle, with the family that its config tells.

    Args:
        config: Its configuration.
        weights: Its tensors.
        form: What to compute in, and where.
        prediction_type: What it predicts.
        spatial_factor: How many pixels a cell is, along a side; None for what its family has.
        pooled_width: The width of the pooled vector of the encoder beside it, where there is one.
    """
    family = family_of(config, pooled_width=pooled_width)
    return UNet(
        config,
        weights,
        (),
        form.dtype,
        form.device,
        family,
        prediction_type,
        spatial_factor or (1 if family == "unconditional" else 8),
        pooled_width_of(config, family),
    )


def family_of(
    config: UNetConfig | ControlNetConfig,
    *,
    pooled_width: int | None = None,
) -> Family:
    """The family of a UNet, by the conditioning that it takes.

    Args:
        config: Its configuration.
        pooled_width: The width of the pooled vector of the encoder beside it, where there is one.
    """
    if isinstance(config, UNet2DConfig):
        return "unconditional"
    if config.addition_embed_type == "text_time":
        total = config.projection_class_embeddings_input_dim or 0
        each = config.addition_time_embed_dim or 1
        pooled = pooled_width or _OPEN_CLIP_G_WIDTH
        return "sdxl-refiner" if total - pooled == 5 * each else "sdxl"
    return "sd2" if config.use_linear_projection else "sd1"


_OPEN_CLIP_G_WIDTH = 1280


def pooled_width_of(config: UNetConfig | ControlNetConfig, family: Family) -> int:
    """The width of the pooled text vector that a UNet of this family takes; 0 for none."""
    numbers = {"sdxl": 6, "sdxl-refiner": 5}.get(family)
    if numbers is None or isinstance(config, UNet2DConfig):
        return 0
    total = config.projection_class_embeddings_input_dim or 0
    return total - numbers * (config.addition_time_embed_dim or 0)


def make_text_encoder(
    encoders: tuple[ClipEncoder, ...], unet: UNet, form: Form, *, force_zeros: bool
) -> TextEncoder | None:
    """The text encoders beside a UNet as one handle; None where there are none."""
    if not encoders:
        return None
    return TextEncoder(
        encoders, (), form.dtype, form.device, unet.family, force_zeros_for_empty_prompt=force_zeros
    )


def read_encoder(folder: Path, tokenizer: Path, form: Form) -> ClipEncoder:
    """One text encoder and its tokenizer, from their folders.

    Raises:
        CheckpointError: It is no CLIP, damaged, or not there.
    """
    data = read_json(folder / "config.json")
    name = (data.get("architectures") or TEXT_CLASSES[:1])[0]
    if name not in TEXT_CLASSES:
        raise CheckpointError(
            f"{folder}: the text encoder {name} is not supported; supported are "
            f"{' and '.join(TEXT_CLASSES)}",
            file=folder / "config.json",
            expected=TEXT_CLASSES,
            found=name,
        )
    return ClipEncoder(
        read_config_of(folder, CLIPTextConfig, data),
        read_weights(folder, form),
        read_tokenizer_files(tokenizer),
        projection=name == TEXT_CLASSES[1],
    )


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """A tokenizer's folder, known by the bytes of its files.

    Raises:
        CheckpointError: It holds no tokenizer of CLIP's kind.
    """
    digest = hashlib.sha256()
    names = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= set(names):
        raise CheckpointError(
            f"{folder}: no tokenizer: expected tokenizer.json, or vocab.json and merges.txt",
            file=folder,
            expected="vocab.json and merges.txt",
            found=tuple(names),
        )
    for name in names:
        digest.update(f"{name}\0{sha256_of(folder / name)}\n".encode())
    return TokenizerFiles(digest.hexdigest(), folder)


def read_vae(folder: Path, form: Form) -> VAE:
    """A VAE's folder."""
    data = read_json(folder / "config.json")
    config: AutoencoderKLConfig | AutoencoderTinyConfig
    if data.get("_class_name") == AutoencoderTinyConfig.class_name:
        config = read_config_of(folder, AutoencoderTinyConfig, data)
    else:
        config = read_config_of(folder, AutoencoderKLConfig, data)
    return make_vae(config, read_weights(folder, form), form, stated=data)


def make_vae(
    config: AutoencoderKLConfig | AutoencoderTinyConfig,
    weights: Weights,
    form: Form,
    *,
    stated: Mapping[str, Any],
) -> VAE:
    """A VAE's handle.

    One whose config states `force_upcast` overflows in float16, and computes in float32 then;
    bfloat16 has the range to decode, and only encoding is worth more digits, as in diffusers.

    Args:
        config: Its configuration.
        weights: Its tensors.
        form: What to compute in, and where.
        stated: What its config says itself, without its class's defaults.
    """
    precise = stated.get("force_upcast") is True
    dtype: Dtype = "float32" if precise and form.dtype == "float16" else form.dtype
    return VAE(config, weights, dtype, form.device, precise)


def read_safety_checker(folder: Path, form: Form) -> SafetyChecker:
    """The safety checker of a checkpoint's folder."""
    place = folder / "safety_checker"
    config = FrozenConfig(read_json(place / "config.json"))
    return SafetyChecker(
        config, read_weights(place, form), _processor(folder), form.dtype, form.device
    )


def read_depth_estimator(folder: Path, form: Form) -> DepthEstimator:
    """The depth model of a checkpoint's folder."""
    place = folder / "depth_estimator"
    config = FrozenConfig(read_json(place / "config.json"))
    return DepthEstimator(
        config, read_weights(place, form), _processor(folder), form.dtype, form.device
    )


def _processor(folder: Path) -> FrozenConfig:
    return FrozenConfig(read_json(folder / "feature_extractor" / "preprocessor_config.json"))


def read_weights(folder: Path, form: Form) -> Weights:
    """The weights of a model's folder, whose headers are checked."""
    has_variant = any(folder.glob(f"*.{form.variant}*.safetensors"))
    variant = form.variant if has_variant or not form.plain_too else None
    paths = find_weights(folder, variant=variant)
    for path in paths:
        read_header(path)  # what is damaged is found before anything runs
    return Weights(tuple(weight_file(path) for path in paths))


def single_file_part(header: Header, part: Part, config: ModelConfig) -> Weights:
    """One model of a single file, whose tensors are all there and known."""
    LdmTensors(header.path, part, config)
    return Weights((weight_file(header.path),), "ldm", part)


def read_unet_config(folder: Path, data: Mapping[str, Any]) -> UNetConfig:
    """What a UNet's config.json says, of either class."""
    if data.get("_class_name") == UNet2DConfig.class_name:
        return read_config_of(folder, UNet2DConfig, data)
    return read_config_of(folder, UNet2DConditionConfig, data)


def read_config_of(folder: Path, cls: type[C], data: Mapping[str, Any]) -> C:
    """What a folder's config.json says, as a config of `cls`."""
    try:
        return cls.from_dict(data)
    except ConfigError as error:
        path = folder / "config.json"
        raise CheckpointError(f"{path}: {error}", file=path, found=error.found) from error

"""Models as they travel on wires: pure data that says which weights, and in which form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from graphdiff.config import FrozenConfig
from graphdiff.models.configs import (
    AutoencoderKLConfig,
    AutoencoderTinyConfig,
    CLIPTextConfig,
    ControlNetConfig,
    UNet2DConditionConfig,
    UNet2DConfig,
)

Dtype = Literal["float32", "bfloat16", "float16"]
DeviceKind = Literal["cpu", "cuda", "mps"]
Layout = Literal["diffusers", "ldm"]
Family = Literal["sd1", "sd2", "sdxl", "sdxl-refiner", "unconditional"]
PredictionType = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file, known by its bytes; where it lies is no part of what it is.

    Args:
        sha256: The hash of its bytes.
        path: Where it lies on this machine.
    """

    sha256: str
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of one model.

    Args:
        files: One file, or the shards of one in the order of their index.
        layout: How its tensors are named: as diffusers names them, or as the original
            latent-diffusion code does.
        part: Which model of a single file that holds several; empty for a file of its own.
    """

    files: tuple[WeightFile, ...]
    layout: Layout = "diffusers"
    part: Literal["", "unet", "vae", "text_encoder", "text_encoder_2", "controlnet"] = ""


@dataclass(frozen=True, slots=True)
class LoRA:
    """A low-rank change of a model's weights, and how much of it to apply.

    Args:
        file: The LoRA's file; it may hold changes for several models, each takes its own.
        scale: How strongly it is applied; 0 changes nothing, negative values are allowed.
        strict: Whether keys of the file that fit no module are an error, or a warning.
    """

    file: WeightFile
    scale: float = 1.0
    strict: bool = True


@dataclass(frozen=True, slots=True)
class TextualInversion:
    """New words for a text encoder.

    Args:
        file: The file of their vectors.
        token: The word to write in a prompt; one that has n vectors stands for n tokens.
    """

    file: WeightFile
    token: str


@dataclass(frozen=True, slots=True)
class UNet:
    """A noise predictor.

    Args:
        config: Its configuration, in diffusers' keys.
        weights: Its tensors.
        patches: The LoRAs that change it, applied together.
        dtype: What it computes in.
        device: The kind of device it computes on.
        family: Which conditioning it takes.
        prediction_type: What its output means.
        spatial_factor: How many pixels one cell of its sample stands for, along a side.
        pooled_width: The width of the pooled text vector that it takes; 0 where it takes none.
        compiled: Whether it is compiled, which changes the last bits of what it predicts.
    """

    config: UNet2DConditionConfig | UNet2DConfig
    weights: Weights
    patches: tuple[LoRA, ...] = ()
    dtype: Dtype = "float32"
    device: DeviceKind = "cpu"
    family: Family = "sd1"
    prediction_type: PredictionType = "epsilon"
    spatial_factor: int = 8
    pooled_width: int = 0
    compiled: bool = False

    @property
    def kind(self) -> str:
        """The class of model: UNet2DConditionModel or UNet2DModel."""
        return self.config.class_name

    @property
    def in_channels(self) -> int:
        """Channels that go in: 4, or 9 for inpainting, 5 with depth, 8 with a picture to edit."""
        return self.config.in_channels

    @property
    def latent_channels(self) -> int:
        """Channels of the sample that it denoises.

        Where text guides it, those that come out, since more go in for inpainting and the like;
        else those that go in, since more come out where it predicts its variance too.
        """
        if isinstance(self.config, UNet2DConfig):
            return self.config.in_channels
        return self.config.out_channels

    @property
    def cross_attention_width(self) -> int:
        """The width of the text vectors it attends to; 0 where it takes none."""
        if isinstance(self.config, UNet2DConfig):
            return 0
        if self.config.encoder_hid_dim is not None:
            return self.config.encoder_hid_dim  # projected by the UNet itself
        width = self.config.cross_attention_dim
        return width[0] if isinstance(width, tuple) else width

    @property
    def sample_size(self) -> tuple[int, int]:
        """Height and width of the sample that it was trained on, in cells of the latents."""
        size = self.config.sample_size or 64
        return (size[0], size[1]) if isinstance(size, tuple) else (size, size)

    @property
    def default_size(self) -> tuple[int, int]:
        """Height and width of the pictures that it was trained on, in pixels."""
        height, width = self.sample_size
        return height * self.spatial_factor, width * self.spatial_factor

    @property
    def time_ids(self) -> int:
        """How many numbers of size, crop and score it takes beside the text; 0 for none."""
        return {"sdxl": 6, "sdxl-refiner": 5}.get(self.family, 0)

    @property
    def guidance_width(self) -> int:
        """The width of the embedded guidance scale of a distilled model; 0 where it takes none."""
        if isinstance(self.config, UNet2DConfig):
            return 0
        return self.config.time_cond_proj_dim or 0

    def patched(self, *patches: LoRA) -> UNet:
        """This model with `patches` on top of those that it has."""
        return replace(self, patches=(*self.patches, *patches))


@dataclass(frozen=True, slots=True)
class VAE:
    """What turns pictures into latents and back.

    Args:
        config: Its configuration, in diffusers' keys.
        weights: Its tensors.
        dtype: What it computes in: float32 where its checkpoint asks for that.
        device: The kind of device it computes on.
        precise: Whether its checkpoint asks for float32 where digits count, see `for_encoding`.
    """

    config: AutoencoderKLConfig | AutoencoderTinyConfig
    weights: Weights
    dtype: Dtype = "float32"
    device: DeviceKind = "cpu"
    precise: bool = False

    @property
    def for_encoding(self) -> VAE:
        """The one that encodes: in float32 where its checkpoint asks for that."""
        return replace(self, dtype="float32") if self.precise else self

    @property
    def kind(self) -> str:
        """The class of model: AutoencoderKL or AutoencoderTiny."""
        return self.config.class_name

    @property
    def latent_channels(self) -> int:
        """Channels of its latents."""
        return self.config.latent_channels

    @property
    def spatial_factor(self) -> int:
        """How many pixels one cell of its latents stands for, along a side."""
        blocks = (
            self.config.encoder_block_out_channels
            if isinstance(self.config, AutoencoderTinyConfig)
            else self.config.block_out_channels
        )
        return 1 << (len(blocks) - 1)

    @property
    def scaling_factor(self) -> float:
        """What latents are multiplied with after encoding, so that a UNet finds them near 1."""
        return float(self.config.scaling_factor)

    @property
    def shift_factor(self) -> float:
        """What is taken off latents before they are scaled."""
        return float(self.config.shift_factor or 0.0)

    @property
    def latents_mean(self) -> tuple[float, ...] | None:
        """The mean of each channel, for the few that normalise by channel."""
        if isinstance(self.config, AutoencoderTinyConfig):
            return None
        return self.config.latents_mean

    @property
    def latents_std(self) -> tuple[float, ...] | None:
        """The deviation of each channel, for the few that normalise by channel."""
        if isinstance(self.config, AutoencoderTinyConfig):
            return None
        return self.config.latents_std


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """The vocabulary of a CLIP tokenizer.

    Args:
        sha256: One hash over the bytes of all its files.
        folder: Where they lie on this machine.
    """

    sha256: str
    folder: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class ClipEncoder:
    """One CLIP text model and its tokenizer.

    Args:
        config: Its configuration, in transformers' keys.
        weights: Its tensors.
        tokenizer: Its vocabulary.
        projection: Whether it ends in a projection, whose output is the pooled vector.
    """

    config: CLIPTextConfig
    weights: Weights
    tokenizer: TokenizerFiles
    projection: bool = False

    @property
    def width(self) -> int:
        """The width of its vectors."""
        return self.config.hidden_size

    @property
    def pooled_width(self) -> int:
        """The width of its pooled vector: projected, or as wide as the others."""
        return (self.config.projection_dim or self.width) if self.projection else self.width

    @property
    def max_tokens(self) -> int:
        """How many tokens it reads, start and end included."""
        return self.config.max_position_embeddings


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """What turns prompts into conditioning: one to three encoders, side by side.

    Args:
        encoders: The encoders, in the order in which their vectors are joined.
        patches: The LoRAs and new words that change them.
        dtype: What they compute in.
        device: The kind of device they compute on.
        family: Which UNets take what they give.
        force_zeros_for_empty_prompt: Whether a missing prompt means zeros (SDXL base) rather than
            an encoded empty text.
    """

    encoders: tuple[ClipEncoder, ...]
    patches: tuple[LoRA | TextualInversion, ...] = ()
    dtype: Dtype = "float32"
    device: DeviceKind = "cpu"
    family: Family = "sd1"
    force_zeros_for_empty_prompt: bool = False

    @property
    def width(self) -> int:
        """The width of the vectors that it gives."""
        return sum(encoder.width for encoder in self.encoders)

    @property
    def pooled_width(self) -> int:
        """The width of the pooled vector; 0 where its family uses none."""
        return self.encoders[-1].pooled_width if self.family.startswith("sdxl") else 0

    def patched(self, *patches: LoRA | TextualInversion) -> TextEncoder:
        """This encoder with `patches` on top of those that it has."""
        return replace(self, patches=(*self.patches, *patches))


@dataclass(frozen=True, slots=True)
class ControlNet:
    """A net that steers a UNet by a picture.

    Args:
        config: Its configuration, in diffusers' keys.
        weights: Its tensors.
        dtype: What it computes in.
        device: The kind of device it computes on.
        family: Which UNets it steers.
        pooled_width: The width of the pooled text vector that it takes; 0 where it takes none.
    """

    config: ControlNetConfig
    weights: Weights
    dtype: Dtype = "float32"
    device: DeviceKind = "cpu"
    family: Family = "sd1"
    pooled_width: int = 0

    @property
    def in_channels(self) -> int:
        """Channels of the latents that go in."""
        return self.config.in_channels

    @property
    def conditioning_channels(self) -> int:
        """Channels of the picture that steers."""
        return self.config.conditioning_channels

    @property
    def cross_attention_width(self) -> int:
        """The width of the text vectors it attends to."""
        return self.config.encoder_hid_dim or self.config.cross_attention_dim


@dataclass(frozen=True, slots=True)
class SafetyChecker:
    """What says whether a picture is unfit to be shown.

    Args:
        config: Its configuration, a CLIP vision model's in transformers' keys.
        weights: Its tensors.
        processor: How pictures are prepared for it, in transformers' keys.
        dtype: What it computes in.
        device: The kind of device it computes on.
    """

    config: FrozenConfig = field(hash=False)
    weights: Weights
    processor: FrozenConfig = field(hash=False)
    dtype: Dtype = "float32"
    device: DeviceKind = "cpu"


@dataclass(frozen=True, slots=True)
class DepthEstimator:
    """What says how far away each pixel is.

    Args:
        config: Its configuration, in transformers' keys.
        weights: Its tensors.
        processor: How pictures are prepared for it, in transformers' keys.
        dtype: What it computes in.
        device: The kind of device it computes on.
    """

    config: FrozenConfig = field(hash=False)
    weights: Weights
    processor: FrozenConfig = field(hash=False)
    dtype: Dtype = "float32"
    device: DeviceKind = "cpu"


Handle = UNet | VAE | TextEncoder | ControlNet | SafetyChecker | DepthEstimator


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a checkpoint holds, read without its weights.

    Args:
        name: As it was asked for.
        pipeline_class: The diffusers class that it names.
        unet: Its noise predictor.
        scheduler: The configuration of its scheduler; `_class_name` names the class.
        vae: Its autoencoder; None where the UNet works on pixels.
        text_encoder: Its text encoders; None where it takes no text.
        safety_checker: Its safety checker, if it brings one.
        depth_estimator: Its depth model, if it brings one.
        requires_safety_checker: Whether whoever published it asks for the safety checker to be run.
        force_zeros_for_empty_prompt: Whether a missing prompt means zeros.
    """

    name: str
    pipeline_class: str
    unet: UNet
    scheduler: FrozenConfig = field(hash=False)
    vae: VAE | None = None
    text_encoder: TextEncoder | None = None
    safety_checker: SafetyChecker | None = None
    depth_estimator: DepthEstimator | None = None
    requires_safety_checker: bool = False
    force_zeros_for_empty_prompt: bool = False

    @property
    def family(self) -> Family:
        """Which family its UNet is of."""
        return self.unet.family

    @property
    def default_size(self) -> tuple[int, int]:
        """Height and width of the pictures that it was trained on, in pixels."""
        return self.unet.default_size

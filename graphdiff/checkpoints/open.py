"""From a checkpoint's name to handles: names resolved, configs and headers read, no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from graphdiff.checkpoints import single_file
from graphdiff.checkpoints.clip_vocabulary import tokenizer_folder
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import (
    VAE,
    Checkpoint,
    ClipEncoder,
    ControlNet,
    Family,
    LoRA,
    PredictionType,
    TextEncoder,
    TextualInversion,
    TokenizerFiles,
    UNet,
)
from graphdiff.checkpoints.headers import Header, read_header
from graphdiff.checkpoints.names import bundled_names, locate, only_file, weight_file
from graphdiff.checkpoints.parts import (
    TEXT_CLASSES,
    Form,
    family_of,
    make_text_encoder,
    make_unet,
    make_vae,
    pooled_width_of,
    read_config_of,
    read_depth_estimator,
    read_encoder,
    read_safety_checker,
    read_tokenizer_files,
    read_unet_config,
    read_vae,
    read_weights,
    single_file_part,
)
from graphdiff.checkpoints.repairs import repaired_scheduler, repaired_unet
from graphdiff.checkpoints.unchanged import unchanged
from graphdiff.config import FrozenConfig
from graphdiff.models.configs import (
    AutoencoderKLConfig,
    CLIPTextConfig,
    ControlNetConfig,
    UNet2DConditionConfig,
    read_json,
)

__all__ = [
    "bundled_names",
    "locate",
    "open_checkpoint",
    "open_controlnet",
    "open_lora",
    "open_textual_inversion",
    "open_unet",
    "open_vae",
    "weight_file",
]

T = TypeVar("T")

# What a pipeline's folder may hold; the rest is another architecture, never silently left out.
KNOWN_PARTS = frozenset(
    {"unet", "vae", "scheduler", "safety_checker", "feature_extractor", "depth_estimator"}
    | {"text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "controlnet", "image_encoder"}
)
# What a ControlNet has in common with the UNet that it was made from.
CONTROLNET_KEYS = frozenset(
    {"block_out_channels", "down_block_types", "attention_head_dim", "layers_per_block"}
    | {"cross_attention_dim", "use_linear_projection", "norm_num_groups"}
)


def open_checkpoint(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    variant: str | None = None,
    config: str | Path | None = None,
) -> Checkpoint:
    """What a checkpoint holds, without its weights and without the network.

    Args:
        name: A bundled model, a folder in diffusers' layout, a single file, or a hub id.
        dtype: What to compute in; `auto` is float32 on a CPU, 16 bits elsewhere.
        device: What to compute on.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files, such as `fp16`.
        config: For a single file of an unusual model, the folder that holds its configs.

    Raises:
        CheckpointError: It is not there, damaged, or of a family that is not supported.
    """
    form = Form.of(dtype, device, variant)
    path = locate(name, revision=revision)
    places = [path] if config is None else [path, Path(config)]
    return _once("checkpoint", name, form, places, lambda: _open(str(name), path, form, config))


def open_unet(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    variant: str | None = None,
    prediction_type: PredictionType | None = None,
) -> UNet:
    """A UNet of its own: a folder with its config, or the one in a checkpoint.

    Args:
        name: As for `open_checkpoint`.
        dtype: What to compute in.
        device: What to compute on.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files.
        prediction_type: What it predicts; None goes by the checkpoint, and is noise for a folder of
            its own, which does not say.

    Raises:
        CheckpointError: It is not there, damaged, or another model.
    """
    path = locate(name, revision=revision)
    if path.is_file() or (path / "model_index.json").is_file():
        checkpoint = open_checkpoint(
            name, dtype=dtype, device=device, revision=revision, variant=variant
        )
        unet = checkpoint.unet
        if prediction_type in (None, unet.prediction_type):
            return unet
        return replace(unet, prediction_type=prediction_type)
    form = Form.of(dtype, device, variant)

    def read() -> UNet:
        config = read_unet_config(path, read_json(path / "config.json"))
        predicts: PredictionType = prediction_type or "epsilon"
        return make_unet(config, read_weights(path, form), form, prediction_type=predicts)

    return _once(f"unet {prediction_type}", name, form, [path], read)


def open_vae(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    variant: str | None = None,
    family: Family | None = None,
) -> VAE:
    """A VAE of its own: a folder, a single file, or the one in a checkpoint.

    Args:
        name: As for `open_checkpoint`.
        dtype: What to compute in; a VAE whose config asks for float32 gets it.
        device: What to compute on.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files.
        family: Whose latents a single file makes; None goes by its notes, then by its name.

    Raises:
        CheckpointError: It is not there, damaged, or another model.
    """
    form = Form.of(dtype, device, variant)
    path = locate(name, revision=revision)
    return _once(
        f"vae {family}", name, form, [path], lambda: _open_vae(str(name), path, form, family)
    )


def open_controlnet(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    variant: str | None = None,
) -> ControlNet:
    """A ControlNet: a folder, or a single file in the original layout for SD 1 or 2.

    Args:
        name: As for `open_checkpoint`.
        dtype: What to compute in.
        device: What to compute on.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files.

    Raises:
        CheckpointError: It is not there, damaged, or another model.
    """
    form = Form.of(dtype, device, variant)
    path = locate(name, revision=revision)
    return _once("controlnet", name, form, [path], lambda: _open_controlnet(path, form))


def open_lora(
    name: str | Path,
    *,
    scale: float = 1.0,
    strict: bool = True,
    revision: str | None = None,
    unet: UNet | None = None,
    text_encoder: TextEncoder | None = None,
) -> LoRA:
    """A LoRA, checked against the models that it is to change.

    Args:
        name: A .safetensors file, a folder or hub id that holds one.
        scale: How strongly it is applied.
        strict: Whether keys that fit no module are an error, or a warning.
        revision: A branch, tag or commit of a hub id.
        unet: The UNet that it is for.
        text_encoder: The text encoders that it is for.

    Raises:
        CheckpointError: It is not there, damaged, or for other models.
    """
    path = only_file(locate(name, revision=revision), "pytorch_lora_weights.safetensors")
    lora = LoRA(weight_file(path), scale, strict)
    if unet is not None or text_encoder is not None:
        from graphdiff.checkpoints.lora import check_lora

        check_lora(lora, unet=unet, text_encoder=text_encoder)
    return lora


def open_textual_inversion(
    name: str | Path,
    *,
    token: str | None = None,
    revision: str | None = None,
    text_encoder: TextEncoder | None = None,
) -> TextualInversion:
    """New words, checked against the text encoder that is to learn them.

    Args:
        name: A .safetensors file, a folder or hub id that holds one.
        token: The word to write in prompts; None takes what the file says, or is called.
        revision: A branch, tag or commit of a hub id.
        text_encoder: The text encoders that they are for.

    Raises:
        CheckpointError: It is not there, damaged, or for other encoders.
    """
    path = only_file(locate(name, revision=revision), "learned_embeds.safetensors")
    from graphdiff.checkpoints.textual_inversion import check_inversion, token_of

    inversion = TextualInversion(weight_file(path), token or token_of(path))
    if text_encoder is not None:
        check_inversion(inversion, text_encoder)
    return inversion


def _once(
    what: str, name: str | Path, form: Form, places: Sequence[Path], read: Callable[[], T]
) -> T:
    """What is read of a checkpoint, again only when its files have changed."""
    question = (what, str(name), form, *(str(place.absolute()) for place in places))
    return unchanged(question, places, read)


def _open(name: str, path: Path, form: Form, config: str | Path | None) -> Checkpoint:
    if path.is_file():
        return _open_file(name, path, form, config)
    if (path / "model_index.json").is_file():
        return _open_folder(name, path, form)
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1 and single_file.is_single_file(read_header(files[0]).tensors):
        return _open_file(name, files[0], form, config)
    held = ", ".join(sorted(entry.name for entry in path.iterdir())[:20])
    raise CheckpointError(
        f"{path}: no checkpoint: there is no model_index.json; it holds {held or 'nothing'}",
        file=path,
        expected="model_index.json, or a single .safetensors file",
    )


def _open_vae(name: str, path: Path, form: Form, family: Family | None) -> VAE:
    if path.is_dir():
        folder = path / "vae" if (path / "model_index.json").is_file() else path
        return read_vae(folder, form)
    header = read_header(path)
    if single_file.is_single_file(header.tensors):
        vae = _open_file(name, path, form, None).vae
        if vae is None:
            raise CheckpointError(f"{path}: it holds no VAE", file=path, expected="a VAE")
        return vae
    data = single_file.shipped(family or single_file.vae_family(header))["vae"]
    config = AutoencoderKLConfig.from_dict(data)
    weights = single_file_part(header, "vae", config)
    return make_vae(config, weights, form, stated=data)


def _open_controlnet(path: Path, form: Form) -> ControlNet:
    if path.is_dir():
        config = read_config_of(path, ControlNetConfig, read_json(path / "config.json"))
        weights = read_weights(path, form)
    else:
        header = read_header(path)
        widths = [info.shape[-1] for key, info in header.tensors.items() if ".attn2.to_k." in key]
        family: Family = "sd2" if widths and widths[0] == 1024 else "sd1"
        unet = single_file.shipped(family)["unet"]
        shared = {key: unet[key] for key in unet.keys() & CONTROLNET_KEYS}
        config = ControlNetConfig.from_dict(shared)
        weights = single_file_part(header, "controlnet", config)
    family = family_of(config)
    return ControlNet(
        config, weights, form.dtype, form.device, family, pooled_width_of(config, family)
    )


def _open_folder(name: str, folder: Path, form: Form) -> Checkpoint:
    if form.variant and any(folder.glob(f"*/*.{form.variant}*.safetensors")):
        form = replace(form, plain_too=True)  # parts that have no such variant come without
    index = read_json(folder / "model_index.json")
    entries: dict[str, list[Any]] = {k: v for k, v in index.items() if isinstance(v, list)}
    present = {part for part, entry in entries.items() if len(entry) == 2 and entry[1] is not None}
    pipeline = str(index.get("_class_name", ""))
    strange = sorted(present - KNOWN_PARTS)
    if "unet" not in present or "scheduler" not in present or strange:
        raise CheckpointError(
            f"{folder}: a {pipeline} with {', '.join(strange) or 'no unet or scheduler'} is not "
            "supported; supported are UNets with a CLIP text encoder (Stable Diffusion 1.x, 2.x, "
            "SDXL) or without text",
            file=folder / "model_index.json",
            found=tuple(strange),
        )
    scheduler = _scheduler(pipeline, read_json(folder / "scheduler" / "scheduler_config.json"))
    data = repaired_unet(pipeline, read_json(folder / "unet" / "config.json"))
    unet_config = read_unet_config(folder / "unet", data)
    vae = read_vae(folder / "vae", form) if "vae" in present else None
    encoders = tuple(
        read_encoder(folder / part, folder / part.replace("text_encoder", "tokenizer"), form)
        for part in ("text_encoder", "text_encoder_2")
        if part in present
    )
    unet = make_unet(
        unet_config,
        read_weights(folder / "unet", form),
        form,
        prediction_type=scheduler.get("prediction_type", "epsilon"),
        spatial_factor=vae.spatial_factor if vae else 1,
        pooled_width=encoders[-1].pooled_width if encoders else None,
    )
    force_zeros = bool(index.get("force_zeros_for_empty_prompt", "XL" in pipeline))
    return Checkpoint(
        name,
        pipeline,
        unet,
        scheduler,
        vae,
        make_text_encoder(encoders, unet, form, force_zeros=force_zeros),
        read_safety_checker(folder, form) if "safety_checker" in present else None,
        read_depth_estimator(folder, form) if "depth_estimator" in present else None,
        bool(index.get("requires_safety_checker", "safety_checker" in present)),
        force_zeros,
    )


def _open_file(name: str, path: Path, form: Form, config_folder: str | Path | None) -> Checkpoint:
    header = read_header(path)
    configs, pipeline, tokenizers = _file_configs(header, config_folder)
    parts = single_file.parts_of(header.tensors)
    scheduler = _scheduler(pipeline, configs["scheduler"])
    unet_data = repaired_unet(pipeline, configs["unet"])
    unet_config = UNet2DConditionConfig.from_dict(unet_data)
    vae = None
    if "vae" in parts:
        vae_config = AutoencoderKLConfig.from_dict(configs["vae"])
        weights = single_file_part(header, "vae", vae_config)
        vae = make_vae(vae_config, weights, form, stated=configs["vae"])
    encoders: list[ClipEncoder] = []
    for part, tokenizer in tokenizers.items():
        if part not in parts:
            continue
        data = configs[part]
        text_config = CLIPTextConfig.from_dict(data)
        text_weights = single_file_part(header, part, text_config)
        projection = TEXT_CLASSES[1] in data.get("architectures", ())
        encoders.append(ClipEncoder(text_config, text_weights, tokenizer, projection))
    unet = make_unet(
        unet_config,
        single_file_part(header, "unet", unet_config),
        form,
        prediction_type=scheduler.get("prediction_type", "epsilon"),
        spatial_factor=vae.spatial_factor if vae else 8,
        pooled_width=encoders[-1].pooled_width if encoders else None,
    )
    force_zeros = bool(configs["model_index"].get("force_zeros_for_empty_prompt", False))
    return Checkpoint(
        name,
        pipeline,
        unet,
        scheduler,
        vae,
        make_text_encoder(tuple(encoders), unet, form, force_zeros=force_zeros),
        force_zeros_for_empty_prompt=force_zeros,
    )


def _scheduler(pipeline: str, stated: Mapping[str, Any]) -> FrozenConfig:
    """A scheduler's config; what a repair adds is, when schedulers are swapped, not stated."""
    repaired = repaired_scheduler(pipeline, stated)
    return FrozenConfig(repaired, defaulted=frozenset(repaired.keys() - stated.keys()))


def _file_configs(
    header: Header, folder: str | Path | None
) -> tuple[Mapping[str, Mapping[str, Any]], str, dict[str, TokenizerFiles]]:
    """The configs of a single file, its pipeline's class, and the tokenizers of its encoders."""
    if folder is None:
        found = single_file.contents(header)
        tokenizers = {
            part: read_tokenizer_files(tokenizer_folder(found.configs[tokenizer]["pad_token"]))
            for part, tokenizer in _ENCODERS.items()
            if part in found.configs
        }
        return found.configs, found.pipeline_class, tokenizers
    folder = Path(folder)
    configs = {"model_index": read_json(folder / "model_index.json")}
    configs["scheduler"] = read_json(folder / "scheduler" / "scheduler_config.json")
    for part in ("unet", "vae", *_ENCODERS):
        if (folder / part / "config.json").is_file():
            configs[part] = read_json(folder / part / "config.json")
    tokenizers = {
        part: read_tokenizer_files(folder / tokenizer)
        for part, tokenizer in _ENCODERS.items()
        if part in configs
    }
    return configs, str(configs["model_index"].get("_class_name", "")), tokenizers


_ENCODERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}

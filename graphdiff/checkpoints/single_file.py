"""What a single file in the original layout holds, told by its keys, and the configs it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphdiff.checkpoints import ldm
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Family, PredictionType
from graphdiff.checkpoints.headers import Header

CONFIGS = Path(__file__).parent / "configs"
_UNET = "model.diffusion_model."
_TEXT_KEY = re.compile(rf"{re.escape(_UNET)}.*\.attn2\.to_k\.weight$")
_FAMILY_OF_WIDTH: Mapping[int, Family] = {
    768: "sd1",
    1024: "sd2",
    1280: "sdxl-refiner",
    2048: "sdxl",
}
# What tells checkpoints of families that are not supported.
_OTHERS = (
    ("joint_blocks.0.", "Stable Diffusion 3"),
    ("double_blocks.0.", "Flux"),
    ("double_layers.0.", "AuraFlow"),
    ("transformer_blocks.0.img_mlp.", "Qwen-Image"),
    ("cap_embedder.0.", "Lumina or Z-Image"),
    ("clip_txt_mapper.", "Stable Cascade"),
    ("motion_modules.0.", "AnimateDiff"),
)
_PIPELINES: Mapping[tuple[bool, int], str] = {
    (False, 9): "StableDiffusionInpaintPipeline",
    (False, 5): "StableDiffusionDepth2ImgPipeline",
    (False, 8): "StableDiffusionInstructPix2PixPipeline",
    (True, 9): "StableDiffusionXLInpaintPipeline",
    (True, 8): "StableDiffusionXLInstructPix2PixPipeline",
}
_SD2_BASE_STEPS = 875_000  # how long Stable Diffusion 2 was trained to predict noise


@dataclass(frozen=True, slots=True)
class Contents:
    """What a single file holds.

    Args:
        family: The family of its UNet.
        pipeline_class: The diffusers class that it would be saved under.
        configs: The configuration of each part, by part, as config files have it; `scheduler`,
            `model_index`, `tokenizer` and `tokenizer_2` too.
        parts: Which models it holds.
    """

    family: Family
    pipeline_class: str
    configs: Mapping[str, Mapping[str, Any]]
    parts: frozenset[ldm.Part]


def shipped(family: Family) -> dict[str, dict[str, Any]]:
    """The configurations of a family's published checkpoint, which are shipped with us."""
    data: dict[str, dict[str, Any]] = json.loads((CONFIGS / f"{family}.json").read_text())
    return data


def is_single_file(keys: Iterable[str]) -> bool:
    """Whether names of tensors are those of a checkpoint in the original layout."""
    return any(key.startswith(_UNET) for key in keys)


def contents(header: Header) -> Contents:
    """What a whole checkpoint in one file holds.

    Raises:
        CheckpointError: It has no UNet that we know; says what it seems to be.
    """
    tensors = header.tensors
    widths = [info.shape[-1] for key, info in tensors.items() if _TEXT_KEY.match(key)]
    if not widths:
        raise _unknown(header)
    family = _FAMILY_OF_WIDTH.get(widths[0])
    if family is None:
        raise CheckpointError(
            f"{header.path}: its UNet takes text vectors of width {widths[0]}, which is none of "
            "the families known for single files; give the folder of its configs with config=",
            file=header.path,
            expected=tuple(_FAMILY_OF_WIDTH),
            found=widths[0],
        )
    configs = shipped(family)
    unet = configs["unet"] | _unet_of(header)
    configs["unet"] = unet
    configs["scheduler"] = configs["scheduler"] | _scheduler_of(header, family)
    if family == "sd2" and configs["scheduler"].get("prediction_type") == "epsilon":
        unet["sample_size"] = 64  # the base model's pictures have 512 pixels a side
    is_xl = family.startswith("sdxl")
    pipeline = _PIPELINES.get(
        (is_xl, int(unet["in_channels"])), str(configs["model_index"]["_class_name"])
    )
    return Contents(family, pipeline, configs, parts_of(tensors))


def parts_of(keys: Iterable[str]) -> frozenset[ldm.Part]:
    """Which models a file in the original layout holds."""
    held = tuple(keys)
    return frozenset(part for part in ldm.PREFIXES if ldm.prefix_of(part, held) is not None)


def vae_family(header: Header) -> Family:
    """Which family's latents a lone VAE makes, which its tensors alone do not tell.

    The notes in its header decide, then its name; SD 1 and 2 share one scale, SDXL has its own.
    """
    notes = header.metadata.get("modelspec.architecture", "")
    is_xl = "xl" in (notes or header.path.name).lower()
    return "sdxl" if is_xl else "sd1"


def _unet_of(header: Header) -> dict[str, Any]:
    """What the shapes of a UNet say about it."""
    shapes = {key: info.shape for key, info in header.tensors.items()}
    stated: dict[str, Any] = {}
    for key, axis, option in (
        (f"{_UNET}input_blocks.0.0.weight", 1, "in_channels"),
        (f"{_UNET}out.2.weight", 0, "out_channels"),
        (f"{_UNET}time_embed.cond_proj.weight", 1, "time_cond_proj_dim"),
    ):
        if key in shapes:
            stated[option] = shapes[key][axis]
    return stated


def _scheduler_of(header: Header, family: Family) -> dict[str, Any]:
    """What a file says about how it was trained to be sampled."""
    stated: dict[str, Any] = {}
    prediction = _prediction_of(header, family)
    if prediction is not None:
        stated["prediction_type"] = prediction
    if "ztsnr" in header.tensors:
        stated |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return stated


def _prediction_of(header: Header, family: Family) -> PredictionType | None:
    """What its UNet predicts, where file, notes or a config beside it tell."""
    noted = header.metadata.get("modelspec.prediction_type", "").lower()
    if noted:
        return "v_prediction" if noted.startswith("v") else "epsilon"
    if "v_pred" in header.tensors:
        return "v_prediction"
    original = header.path.with_suffix(".yaml")
    if original.is_file():
        is_v = re.search(r"parameterization:\s*[\"']?v\b", original.read_text(encoding="utf-8"))
        return "v_prediction" if is_v else "epsilon"
    if family == "sd2" and _global_step(header) == _SD2_BASE_STEPS:
        return "epsilon"
    return None


def _global_step(header: Header) -> int | None:
    info = header.tensors.get("global_step")
    if info is None or info.dtype not in ("I64", "I32"):
        return None
    with header.path.open("rb") as file:
        file.seek(info.start)
        return int.from_bytes(file.read(info.end - info.start), "little", signed=True)


def _unknown(header: Header) -> CheckpointError:
    for sign, name in _OTHERS:
        if any(sign in key for key in header.tensors):
            return CheckpointError(
                f"{header.path}: this is a checkpoint of {name}, a family that is not supported; "
                "supported are Stable Diffusion 1.x, 2.x and SDXL",
                file=header.path,
                found=name,
            )
    parts = ", ".join(sorted(parts_of(header.tensors)))
    first = ", ".join(list(header.tensors)[:3])
    what = f"it holds a {parts} alone" if parts else f"its first tensors are {first or 'none'}"
    return CheckpointError(
        f"{header.path}: this is no checkpoint with a UNet in the original layout: {what}",
        file=header.path,
        expected=f"{_UNET}...",
        found=tuple(header.tensors)[:3],
    )

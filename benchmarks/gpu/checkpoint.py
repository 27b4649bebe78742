"""A checkpoint with random weights, in a folder that both sides read."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu.families import Config, Family

if TYPE_CHECKING:
    from torch import Tensor, nn

_LIBRARIES = {"text_encoder": "transformers", "tokenizer": "transformers"}
_WEIGHTS = {"text_encoder": "model.safetensors"}
_OTHERS = "diffusion_pytorch_model.safetensors"


def written(family: Family, parent: Path, *, dtype: torch.dtype, device: str) -> Path:
    """The folder of a family's checkpoint, written unless it is there from before.

    Args:
        family: What it is.
        parent: The folder that it lies in.
        dtype: What its weights are kept in.
        device: Where they are drawn; on a GPU that takes no time.
    """
    folder = parent / f"{family.name}-{str(dtype).removeprefix('torch.')}"
    index = folder / "model_index.json"  # written last
    if index.exists():
        return folder
    for number, (name, config) in enumerate(family.parts.items()):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        if name == "scheduler":
            (place / "scheduler_config.json").write_text(json.dumps(config), encoding="utf-8")
        else:
            _write_model(place, name, config, dtype=dtype, device=device, seed=number)
    for name, pad in family.pads.items():
        _write_tokenizer(folder / name, pad)
    index.write_text(json.dumps(_index(family)), encoding="utf-8")
    return folder


def without_memory(config: Config) -> nn.Module:
    """A model of ours, for its shapes alone."""
    from graphdiff import models
    from graphdiff.models.base import without_memory

    kind: Any = getattr(models, _class_of(config))
    with without_memory():
        model: nn.Module = kind.from_config(dict(config))
    return model


def _class_of(config: Config) -> str:
    name: str = config.get("_class_name") or config["architectures"][0]
    return name


def _write_model(
    folder: Path, name: str, config: Config, *, dtype: torch.dtype, device: str, seed: int
) -> None:
    from safetensors.torch import save_file

    generator = torch.Generator(device).manual_seed(seed)
    shapes = {key: tensor.shape for key, tensor in without_memory(config).state_dict().items()}
    tensors = {key: _drawn(key, shape, generator).to(dtype) for key, shape in shapes.items()}
    part = name.removesuffix("_2")
    save_file(
        {key: tensor.cpu() for key, tensor in tensors.items()},
        folder / _WEIGHTS.get(part, _OTHERS),
        metadata={"format": "pt"},
    )
    (folder / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")


def _drawn(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Weights that keep the scale of what goes through them; no zeros, which run faster."""
    device = generator.device
    drawn = torch.randn(shape, generator=generator, device=device)
    if len(shape) > 1:
        return drawn / math.sqrt(math.prod(shape[1:]))
    is_scale = "norm" in name and name.endswith("weight")
    return drawn * 0.1 + 1.0 if is_scale else drawn * 0.1


def _write_tokenizer(folder: Path, pad: str) -> None:
    from graphdiff.checkpoints.clip_vocabulary import tokenizer_folder

    shutil.copytree(tokenizer_folder(pad), folder, dirs_exist_ok=True)


def _index(family: Family) -> dict[str, Any]:
    """What diffusers reads first."""
    classes = {
        name: config.get("_class_name") or config["architectures"][0]
        for name, config in family.parts.items()
    }
    classes |= dict.fromkeys(family.pads, "CLIPTokenizer")
    entries: dict[str, Any] = {
        name: [_LIBRARIES.get(name.removesuffix("_2"), "diffusers"), kind]
        for name, kind in classes.items()
    }
    if family.is_xl:
        entries["force_zeros_for_empty_prompt"] = True
    else:
        entries |= {
            "safety_checker": [None, None],
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
        }
    return {"_class_name": family.pipeline, "_diffusers_version": "0.42.1", **entries}

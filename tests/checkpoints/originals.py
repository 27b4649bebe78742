"""Checkpoints written in the original layout, by the tables read backwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from graphdiff.checkpoints import ldm

Tensors = dict[str, Tensor]


def read(folder: Path, part: str) -> tuple[dict[str, Any], Tensors]:
    """A part of a folder: its config, and its tensors."""
    config = json.loads((folder / part / "config.json").read_text())
    (file,) = (folder / part).glob("*.safetensors")
    return config, load_file(file)


def backwards(table: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in table.items()}


def original_unet(config: Mapping[str, Any], tensors: Tensors) -> Tensors:
    blocks = backwards(ldm.unet_blocks(config))
    found: Tensors = {}
    for name, tensor in tensors.items():
        theirs = ldm.rename(name, blocks, backwards(ldm.RESNET))
        assert theirs is not None, name
        if ".upsamplers." in name:
            block = name.split(".")[1]
            has_attention = any(key.startswith(f"up_blocks.{block}.attentions") for key in tensors)
            place = theirs.split(".")[1]
            theirs = f"output_blocks.{place}.{2 if has_attention else 1}.{theirs.split('.', 3)[3]}"
        found[f"model.diffusion_model.{theirs}"] = tensor
    return found


def original_vae(config: Mapping[str, Any], tensors: Tensors) -> Tensors:
    blocks = backwards(ldm.vae_blocks(config))
    found: Tensors = {}
    for name, tensor in tensors.items():
        is_attention = ".attentions." in name
        inside = backwards(ldm.VAE_INSIDE)
        theirs = ldm.rename(name, blocks, inside)
        assert theirs is not None, name
        if is_attention and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]  # the original's attention is made of convolutions
        found[f"first_stage_model.{theirs}"] = tensor.contiguous()
    return found


def original_open_clip(prefix: str, tensors: Tensors, *, extra_layer: bool) -> Tensors:
    """OpenCLIP's names: joint projections, and for Stable Diffusion 2 a layer that is not used."""
    found: Tensors = {}
    count = 1 + max(
        int(name.split("layers.")[1].split(".")[0]) for name in tensors if "layers." in name
    )
    top, layer = backwards(ldm.OPEN_CLIP), backwards(ldm.OPEN_CLIP_LAYER)
    for name, tensor in tensors.items():
        name = name if name.startswith("text_") else f"text_model.{name}"
        if ".layers." not in name:
            theirs = ldm.rename(name, top, {})
            assert theirs is not None, name
            found[prefix + theirs] = (tensor.T if name.startswith("text_proj") else tensor).clone()
            continue
        number, rest = name.split("layers.")[1].split(".", 1)
        block = f"{prefix}transformer.resblocks.{number}."
        if rest.startswith("self_attn.q_proj."):
            kind = rest.rsplit(".", 1)[1]
            rows = [tensors[_other(name, tensors, third)] for third in "qkv"]
            found[f"{block}attn.in_proj_{kind}"] = torch.cat(rows)
        elif not rest.startswith(("self_attn.k_proj.", "self_attn.v_proj.")):
            theirs = ldm.rename(rest, layer, {})
            assert theirs is not None, name
            found[block + theirs] = tensor
    if extra_layer:
        last = f"{prefix}transformer.resblocks.{count - 1}."
        again = f"{prefix}transformer.resblocks.{count}."
        found |= {
            again + key.removeprefix(last): tensor + 1
            for key, tensor in list(found.items())
            if key.startswith(last)
        }
    return found


def _other(name: str, tensors: Tensors, third: str) -> str:
    wanted = name.replace("q_proj", f"{third}_proj")
    return wanted if wanted in tensors else wanted.removeprefix("text_model.")


def original_clip(prefix: str, tensors: Tensors) -> Tensors:
    return {
        prefix + (name if name.startswith("text_") else f"text_model.{name}"): tensor
        for name, tensor in tensors.items()
    }


def write_single_file(folder: Path, family: str, path: Path) -> Path:
    """The single file of a checkpoint's folder, with the odds and ends that real ones have."""
    tensors: Tensors = {"betas": torch.ones(4)}
    tensors |= original_unet(*read(folder, "unet"))
    tensors |= original_vae(*read(folder, "vae"))
    _, text = read(folder, "text_encoder")
    if family == "sd1":
        tensors |= original_clip("cond_stage_model.transformer.", text)
        key = "cond_stage_model.transformer.text_model.embeddings.position_ids"
        tensors[key] = torch.arange(77)[None]
    elif family == "sd2":
        prefix = "cond_stage_model.model."
        tensors |= original_open_clip(prefix, text, extra_layer=True)
        tensors[f"{prefix}text_projection"] = torch.ones(32, 24)
        tensors[f"{prefix}logit_scale"] = torch.ones(())
    else:
        tensors |= original_clip("conditioner.embedders.0.transformer.", text)
        _, second = read(folder, "text_encoder_2")
        prefix = "conditioner.embedders.1.model."
        tensors |= original_open_clip(prefix, second, extra_layer=False)
        tensors[f"{prefix}logit_scale"] = torch.ones(())
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path

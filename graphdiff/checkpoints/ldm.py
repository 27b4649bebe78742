"""How the original latent-diffusion code names tensors, as tables from its names to diffusers'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from graphdiff.models.configs import per_block

Part = Literal["unet", "vae", "text_encoder", "text_encoder_2", "controlnet"]
Take = Literal["whole", "transposed", "linear", "query", "key", "value"]

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "time_embed.cond_proj": "time_embedding.cond_proj",
    "input_blocks.0.0": "conv_in",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
VAE_ENDS = {
    f"{half}.{ldm}": f"{half}.{ours}"
    for half in ("encoder", "decoder")
    for ldm, ours in {
        "conv_in": "conv_in",
        "mid.block_1": "mid_block.resnets.0",
        "mid.attn_1": "mid_block.attentions.0",
        "mid.block_2": "mid_block.resnets.1",
        "norm_out": "conv_norm_out",
        "conv_out": "conv_out",
    }.items()
} | {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
VAE_INSIDE = {
    "nin_shortcut": "conv_shortcut",
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
OPEN_CLIP = {
    "token_embedding": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
}
OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
HINT_CONVOLUTIONS = range(2, 14, 2)  # the picture's entry of a ControlNet: 0, 2, ..., 14

PREFIXES: Mapping[Part, tuple[str, ...]] = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.", "vae.", ""),
    "text_encoder": (
        "cond_stage_model.transformer.",
        "cond_stage_model.model.",
        "conditioner.embedders.0.transformer.",
    ),
    # the refiner has SDXL's second encoder only, in the first place
    "text_encoder_2": ("conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
    "controlnet": ("control_model.", ""),
}
# Tensors inside a part that no model has a use for: buffers, losses, the other half of a CLIP.
UNUSED = ("position_ids", "logit_scale", "attn_mask", "visual.", "loss.", "model_ema.")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor comes from: a key of the file, and what to take of its tensor.

    Args:
        key: The name in the file.
        take: All of it, its transpose, a 1x1 convolution's weight as a matrix, or one third of the
            rows of a joint projection.
    """

    key: str
    take: Take = "whole"


def prefix_of(part: Part, keys: Iterable[str]) -> str | None:
    """What stands before the names of a part's tensors; None where a file has no such part."""
    held = list(keys)
    signs = {"vae": ("encoder.down.", "decoder.up."), "controlnet": ("zero_convs.",)}
    for prefix in PREFIXES[part]:
        wanted = tuple(prefix + sign for sign in signs.get(part, ("",)))
        if any(key.startswith(wanted) for key in held):
            return prefix
    return None


def sources(
    part: Part, config: Mapping[str, Any], keys: Iterable[str]
) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Where each tensor of a model lies in a single file.

    Args:
        part: Which model.
        config: Its configuration.
        keys: The names of all tensors in the file.

    Returns:
        The source of each tensor by its name in diffusers, and the keys of this part that the
        tables do not know.
    """
    held = tuple(keys)
    prefix = prefix_of(part, held)
    if prefix is None:
        return {}, ()
    rename = _renamer(part, config, open_clip=prefix.endswith(".model."))
    found: dict[str, Source] = {}
    unknown: list[str] = []
    for key in held:
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or name.startswith(UNUSED) or name.endswith(UNUSED):
            continue
        targets = rename(name)
        if targets is None:
            unknown.append(key)
        else:
            found |= {target: Source(key, take) for target, take in targets}
    return found, tuple(unknown)


def unet_blocks(config: Mapping[str, Any], *, with_up: bool = True) -> dict[str, str]:
    """The modules of a UNet: the name in latent-diffusion code, the name in diffusers."""
    layers = int(per_block(config["layers_per_block"], 1)[0])  # the same in all blocks there
    table = dict(UNET_ENDS)
    has_classes = config.get("class_embed_type") is not None
    for ldm, ours in (("0", "linear_1"), ("2", "linear_2")):
        owner = "class_embedding" if has_classes else "add_embedding"
        table[f"label_emb.0.{ldm}"] = f"{owner}.{ours}"
    table["label_emb"] = "class_embedding"
    blocks = len(config["block_out_channels"])
    for block in range(blocks):
        for layer in range(layers):
            place = 1 + block * (layers + 1) + layer
            table[f"input_blocks.{place}.0"] = f"down_blocks.{block}.resnets.{layer}"
            table[f"input_blocks.{place}.1"] = f"down_blocks.{block}.attentions.{layer}"
        down = f"input_blocks.{(block + 1) * (layers + 1)}.0.op"
        table[down] = f"down_blocks.{block}.downsamplers.0.conv"
        if not with_up:
            continue
        for layer in range(layers + 1):
            place = block * (layers + 1) + layer
            table[f"output_blocks.{place}.0"] = f"up_blocks.{block}.resnets.{layer}"
            table[f"output_blocks.{place}.1"] = f"up_blocks.{block}.attentions.{layer}"
            for second in ("1.conv", "2.conv"):  # behind the attention where there is one
                table[f"output_blocks.{place}.{second}"] = f"up_blocks.{block}.upsamplers.0.conv"
    return table


def controlnet_blocks(config: Mapping[str, Any]) -> dict[str, str]:
    """The modules of a ControlNet, as `unet_blocks`."""
    table = unet_blocks(config, with_up=False)
    layers = int(config["layers_per_block"])
    table["input_hint_block.0"] = "controlnet_cond_embedding.conv_in"
    for block, place in enumerate(HINT_CONVOLUTIONS):
        table[f"input_hint_block.{place}"] = f"controlnet_cond_embedding.blocks.{block}"
    table[f"input_hint_block.{HINT_CONVOLUTIONS.stop}"] = "controlnet_cond_embedding.conv_out"
    for place in range(len(config["block_out_channels"]) * (layers + 1)):
        table[f"zero_convs.{place}.0"] = f"controlnet_down_blocks.{place}"
    table["middle_block_out.0"] = "controlnet_mid_block"
    return table


def vae_blocks(config: Mapping[str, Any]) -> dict[str, str]:
    """The modules of a VAE, as `unet_blocks`."""
    table = dict(VAE_ENDS)
    blocks = len(config["block_out_channels"])
    for block, layers in enumerate(per_block(config["layers_per_block"], blocks)):
        up = f"decoder.up.{blocks - 1 - block}"  # counted from the picture, ours from the latents
        for layer in range(layers + 1):
            down = f"encoder.down.{block}.block.{layer}"
            table[down] = f"encoder.down_blocks.{block}.resnets.{layer}"
            table[f"{up}.block.{layer}"] = f"decoder.up_blocks.{block}.resnets.{layer}"
        table[f"encoder.down.{block}.downsample.conv"] = (
            f"encoder.down_blocks.{block}.downsamplers.0.conv"
        )
        table[f"{up}.upsample.conv"] = f"decoder.up_blocks.{block}.upsamplers.0.conv"
    return table


_Renamer = Callable[[str], tuple[tuple[str, Take], ...] | None]


def _renamer(part: Part, config: Mapping[str, Any], *, open_clip: bool) -> _Renamer:
    """What says, for one name in the file, which tensors of the model come from it."""
    if part in ("unet", "controlnet"):
        blocks = controlnet_blocks(config) if part == "controlnet" else unet_blocks(config)
        return lambda name: _whole(rename(name, blocks, RESNET))
    if part == "vae":
        table = vae_blocks(config)
        return lambda name: _vae_tensor(name, rename(name, table, VAE_INSIDE))
    if open_clip:
        layers = int(config["num_hidden_layers"])
        projects = part == "text_encoder_2"
        return lambda name: _open_clip_tensor(name, layers, projects=projects)
    return lambda name: _whole(name if name.startswith("text_") else f"text_model.{name}")


def rename(name: str, blocks: Mapping[str, str], inside: Mapping[str, str]) -> str | None:
    """The new name of a tensor or module: its block's by one table, the rest by another.

    The longest beginning that `blocks` knows decides; None where it knows none.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        block = blocks.get(".".join(parts[:length]))
        if block is not None:
            return ".".join([block, *_renamed_start(parts[length:], inside)])
    return None


def _renamed_start(parts: list[str], table: Mapping[str, str]) -> list[str]:
    for length in range(len(parts), 0, -1):
        start = table.get(".".join(parts[:length]))
        if start is not None:
            return [start, *parts[length:]]
    return parts


def _whole(name: str | None) -> tuple[tuple[str, Take], ...] | None:
    return None if name is None else ((name, "whole"),)


def _vae_tensor(name: str, target: str | None) -> tuple[tuple[str, Take], ...] | None:
    if target is None:
        return None
    is_matrix = ".attn_" in name and name.endswith(".weight") and ".norm." not in name
    return ((target, "linear" if is_matrix else "whole"),)


def _open_clip_tensor(
    name: str, layers: int, *, projects: bool
) -> tuple[tuple[str, Take], ...] | None:
    if name == "text_projection" and not projects:
        return ()  # SD 2 has no use for a vector of the whole text
    if not name.startswith("transformer.resblocks."):
        target = rename(name, OPEN_CLIP, {})
        if target is None:
            return None
        return ((target, "transposed" if name == "text_projection" else "whole"),)
    number, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
    if int(number) >= layers:
        return ()  # SD 2 was trained on the last layer but one, its file has them all
    layer = f"text_model.encoder.layers.{number}"
    for kind in ("weight", "bias"):
        if rest == f"attn.in_proj_{kind}":
            thirds: tuple[tuple[str, Take], ...] = (("q", "query"), ("k", "key"), ("v", "value"))
            return tuple((f"{layer}.self_attn.{one}_proj.{kind}", take) for one, take in thirds)
    target = rename(rest, OPEN_CLIP_LAYER, {})
    return _whole(None if target is None else f"{layer}.{target}")

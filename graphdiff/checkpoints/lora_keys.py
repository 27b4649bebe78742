"""Which modules a LoRA file changes, read from the names in it: PEFT's, diffusers' or kohya's."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from graphdiff.checkpoints.ldm import RESNET, rename, unet_blocks

LoraPart = Literal["unet", "text_encoder", "text_encoder_2"]
Role = Literal["down", "up", "alpha"]
Shape = tuple[int, ...]

# What a name ends with, longest first where one ends another.
ROLES: tuple[tuple[str, Role], ...] = (
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    (".lora_A.default.weight", "down"),
    (".lora_B.default.weight", "up"),
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    ("_lora.down.weight", "down"),
    ("_lora.up.weight", "up"),
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".lora_linear_layer.alpha", "alpha"),
    (".lora.alpha", "alpha"),
    ("_lora.alpha", "alpha"),
    (".alpha", "alpha"),
)
# What a name begins with; a name that begins with none of these is the UNet's.
PARTS: tuple[tuple[str, LoraPart], ...] = (
    ("unet.", "unet"),
    ("diffusion_model.", "unet"),
    ("model.diffusion_model.", "unet"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("lora_unet_", "unet"),
    ("lora_te_", "text_encoder"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
)
# The attention of diffusers' first LoRAs, as a text encoder calls it.
TEXT_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
# What other methods than LoRA leave in a file.
OTHER_METHODS: tuple[tuple[str, str], ...] = (
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".oft_", "OFT"),
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".lora_mid.", "LoCon with a core tensor"),
    (".diff", "full differences"),
)


@dataclass(frozen=True, slots=True)
class Delta:
    """The change of one module: `weight += scale * alpha / rank * up @ down`.

    Args:
        part: The model that the module belongs to.
        module: The module, as diffusers names it.
        down: The key of the tensor that narrows to the rank.
        up: The key of the tensor that widens from it.
        alpha: The key of alpha, or its value; None where it is the rank.
    """

    part: LoraPart
    module: str
    down: str
    up: str
    alpha: str | float | None = None


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules of a model that a LoRA can change.

    Args:
        shapes: The shape of each one's weight, by its name in diffusers.
        aliases: Its name by the names it may have in a file, all with `_` for `.`.
    """

    shapes: Mapping[str, Shape]
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LoraPlan:
    """What a LoRA file does to the models it is planned for.

    Args:
        deltas: The changes.
        unknown: Keys that fit no module, or belong to no known method.
        other: How many keys are for models that it was not planned for.
    """

    deltas: tuple[Delta, ...]
    unknown: tuple[str, ...] = ()
    other: int = 0

    def methods(self) -> Mapping[str, int]:
        """What the unknown keys seem to be, and how many of each."""
        counts: Counter[str] = Counter()
        for key in self.unknown:
            named = [method for sign, method in OTHER_METHODS if sign in key]
            counts[named[0] if named else "unknown"] += 1
        return counts


def modules_of(part: LoraPart, shapes: Mapping[str, Shape], config: Mapping[str, Any]) -> Modules:
    """The modules among a model's tensors, with all names that LoRA files have for them.

    Args:
        part: Which model.
        shapes: The shapes of its tensors, by diffusers' names.
        config: Its configuration.
    """
    weights = {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) in (2, 4)
    }
    if part == "unet":
        aliases = _original_names(weights, config)
        return Modules(weights, aliases | {_flat(name): name for name in weights})
    # Files of newer transformers leave out what stands before all names but the projection's.
    named = {
        name if name.startswith("text_") else f"text_model.{name}": shape
        for name, shape in weights.items()
    }
    short = {_flat(name.removeprefix("text_model.")): name for name in named}
    return Modules(named, short | {_flat(name): name for name in named})


def _original_names(modules: Iterable[str], config: Mapping[str, Any]) -> dict[str, str]:
    """The modules of a UNet by the names of the original code, which SDXL's trainers use."""
    if "cross_attention_dim" not in config:
        return {}
    inside = {ours: ldm for ldm, ours in RESNET.items()}
    tables: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for ldm, ours in unet_blocks(config).items():
        # an upsampler comes second, or third behind attention: both names lead to it
        tables[1 if ldm.endswith(".2.conv") else 0][ours] = ldm
    found: dict[str, str] = {}
    for table in tables:
        for module in modules:
            ldm_name = rename(module, table, inside)
            if ldm_name is not None:
                found[_flat(ldm_name)] = module
    return found


def plan(
    shapes: Mapping[str, Shape],
    models: Mapping[LoraPart, Modules],
    metadata: Mapping[str, str] | None = None,
) -> LoraPlan:
    """What a LoRA file does to `models`.

    Args:
        shapes: The shapes of the file's tensors, by their names.
        models: The modules of the models that are at hand.
        metadata: What else its header says; diffusers keeps PEFT's alphas there.

    Raises:
        ValueError: a module has one half of its change only, or one whose shape does not fit.
    """
    alphas = _Alphas.read(metadata or {})
    pieces: dict[tuple[LoraPart, str], dict[Role, str]] = {}
    unknown: list[str] = []
    other = 0
    for key in shapes:
        name, role = _role(key.removeprefix("base_model.model."))
        if role is None:
            unknown.append(key)
            continue
        part, name = _part(name)
        if part not in models:
            other += 1
            continue
        module = _module(name, part, models[part])
        if module is None:
            unknown.append(key)
        else:
            pieces.setdefault((part, module), {})[role] = key
    deltas: list[Delta] = []
    for (part, module), found in pieces.items():
        if "down" not in found or "up" not in found:
            has, lacks = ("down", "up") if "down" in found else ("up", "down")
            held = found.get(cast("Role", has)) or found["alpha"]
            raise ValueError(f"{held} has no {lacks!r} half for {part}.{module}")
        _check_shapes(shapes, found, models[part].shapes[module], f"{part}.{module}")
        alpha = found.get("alpha") or alphas.of(part, module, rank=shapes[found["down"]][0])
        deltas.append(Delta(part, module, found["down"], found["up"], alpha))
    return LoraPlan(tuple(deltas), tuple(unknown), other)


def role_of(key: str) -> Role | None:
    """Which piece of a change a key of a LoRA file is; None where it is none."""
    return _role(key)[1]


def _role(key: str) -> tuple[str, Role | None]:
    for ending, role in ROLES:
        if key.endswith(ending):
            return key.removesuffix(ending), role
    return key, None


def _part(name: str) -> tuple[LoraPart, str]:
    for beginning, part in PARTS:
        if name.startswith(beginning):
            return part, name.removeprefix(beginning)
    return "unet", name


def _module(name: str, part: LoraPart, modules: Modules) -> str | None:
    """The module that a name stands for, by every way in which files write it."""
    name = name.replace(".processor", "")
    if part != "unet":
        head, _, tail = name.rpartition(".")
        name = f"{head}.{TEXT_ATTENTION[tail]}" if tail in TEXT_ATTENTION else name
    flat = _flat(name)
    return modules.aliases.get(flat) or modules.aliases.get(f"{flat}_0")  # to_out is to_out.0


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _check_shapes(
    shapes: Mapping[str, Shape], found: Mapping[Role, str], weight: Shape, module: str
) -> None:
    down, up = shapes[found["down"]], shapes[found["up"]]
    product = (up[0], math.prod(down[1:])) if up and down else ()
    wanted = (weight[0], math.prod(weight[1:]))
    fits = product == wanted and math.prod(up[1:]) == down[0]
    if not fits:
        raise ValueError(
            f"{found['down']} of shape {list(down)} and {found['up']} of shape {list(up)} do not "
            f"make a change of {module}, whose weight has the shape {list(weight)}; is this LoRA "
            "for a model of another family?"
        )


@dataclass(frozen=True, slots=True)
class _Alphas:
    """The alphas that PEFT's configuration, in a file's metadata, gives to its modules."""

    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> _Alphas:
        text = metadata.get("lora_adapter_metadata")
        if text is None:
            return cls()
        try:
            flat = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"its lora_adapter_metadata is no JSON: {error}") from error
        configs: dict[str, dict[str, Any]] = {}
        for key, value in flat.items():
            part, _, option = key.partition(".")
            configs.setdefault(part, {})[option] = value
        return cls(configs)

    def of(self, part: LoraPart, module: str, *, rank: int) -> float | None:
        config = self.configs.get(part, {})
        alpha = config.get("lora_alpha")
        for pattern, value in config.get("alpha_pattern", {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                alpha = value
                break
        if alpha is None:
            return None
        # rank-stabilised LoRA divides by the root of the rank
        return float(alpha) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)

"""A checkpoint of a pipeline: where it lies, what it says, and its parts as objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints import hub
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint, TextEncoder
from graphdiff.checkpoints.open import (
    locate,
    open_checkpoint,
    open_controlnet,
    open_lora,
    open_textual_inversion,
    open_unet,
    open_vae,
)
from graphdiff.pipelines.written import FeatureExtractor, Origin, remember

if TYPE_CHECKING:
    from graphdiff.checkpoints.pool import WeightsPool
    from graphdiff.pipelines.setup import Setup

INDEX = "model_index.json"


def located(
    name: str,
    *,
    revision: str | None,
    variant: str | None,
    local_files_only: bool,
    token: str | bool | None,
) -> str:
    """A checkpoint's name; what is only on the hub is fetched first.

    Raises:
        CheckpointError: There is no such checkpoint.
    """
    try:
        path = locate(name, revision=revision)
    except CheckpointError:
        if local_files_only or not hub.is_hub_id(name):
            raise
        hub.download(name, revision=revision, variant=variant, token=token)
        return name
    # A path is said whole, so that the workflow means the same from any folder.
    return str(path.absolute()) if Path(name).expanduser().exists() else name


def read_index(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint's model_index.json says; for a single file, what it would say."""
    path = locate(checkpoint.name)
    if (path / INDEX).is_file():
        index: dict[str, Any] = json.loads((path / INDEX).read_text(encoding="utf-8"))
        return index
    encoders = checkpoint.text_encoder.encoders if checkpoint.text_encoder else ()
    found: dict[str, Any] = {
        "_class_name": checkpoint.pipeline_class,
        "scheduler": ["diffusers", str(checkpoint.scheduler.get("_class_name"))],
        "unet": ["diffusers", checkpoint.unet.kind],
    }
    if checkpoint.vae is not None:
        found["vae"] = ["diffusers", checkpoint.vae.kind]
    for encoder, suffix in zip(encoders, ("", "_2"), strict=False):
        name = "CLIPTextModelWithProjection" if encoder.projection else "CLIPTextModel"
        found[f"text_encoder{suffix}"] = ["transformers", name]
        found[f"tokenizer{suffix}"] = ["transformers", "CLIPTokenizer"]
    return found


def own_controlnets(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The folders of the ControlNets that a checkpoint brings along."""
    path = locate(checkpoint.name)
    found = [path / "controlnet", *sorted(path.glob("controlnet_[0-9]*"))]
    return tuple(str(each.absolute()) for each in found if (each / "config.json").is_file())


def component(setup: Setup, name: str, device: str, dtype: str) -> Any:  # noqa: ANN401 - any part
    """A pipeline's model or tokenizer, as an object, with the LoRAs and words that it runs with.

    None where the pipeline has none.
    """
    plain = _Plain(is_half=(device, dtype) == ("cpu", "float16"))
    form: dict[str, Any] = {"dtype": "float32" if plain.is_half else dtype, "device": device}
    if name == "controlnet":
        nets = [plain.module(open_controlnet(folder, **form)) for folder in setup.controlnets]
        return nets[0] if len(nets) == 1 else nets or None
    if name == "vae" and name in setup.replaced:
        return remember(plain.module(open_vae(setup.replaced[name], **form)))
    checkpoint = open_checkpoint(
        setup.checkpoint.name,
        revision=setup.revision,
        variant=setup.variant,
        config=setup.config,
        **form,
    )
    if name.startswith(("text_encoder", "tokenizer")):
        return _text_part(setup, checkpoint, name, plain)
    if name == "unet":
        unet = (
            open_unet(setup.replaced[name], **form) if name in setup.replaced else checkpoint.unet
        )
        changes = [(lora, scale) for lora, scale, _ in setup.loras() if scale]
        loras = [open_lora(a.file, scale=scale, strict=a.is_strict) for a, scale in changes]
        return remember(plain.module(unet.patched(*loras) if loras else unet))
    if name == "vae":
        return None if checkpoint.vae is None else remember(plain.module(checkpoint.vae))
    seers = {"depth_estimator": checkpoint.depth_estimator}
    if setup.is_checked:
        seers["safety_checker"] = checkpoint.safety_checker  # type: ignore[assignment]
    if name == "feature_extractor":
        given = next((seer for seer in seers.values() if seer is not None), None)
        return None if given is None else FeatureExtractor(given.processor)
    seer = seers.get(name)
    return None if seer is None else remember(plain.module(seer), Origin(seer.weights, seer.config))


def _text_part(setup: Setup, checkpoint: Checkpoint, name: str, plain: _Plain) -> Any:  # noqa: ANN401 - any part
    encoders = checkpoint.text_encoder
    names = [key for key in ("text_encoder", "text_encoder_2") if _has(checkpoint, key)]
    part = name.replace("tokenizer", "text_encoder")
    if encoders is None or part not in names:
        return None
    place = names.index(part)
    changes = [(lora, scale) for lora, _, scale in setup.loras() if scale]
    loras = [open_lora(a.file, scale=scale, strict=a.is_strict) for a, scale in changes]
    words = [open_textual_inversion(file, token=token) for file, token in setup.words]
    if loras or words:
        encoders = encoders.patched(*loras, *words)
    loaded = plain.module(encoders)[place]
    if name == part:
        return remember(loaded.model)
    added = tuple(token for word in loaded.words for token in word.tokens)
    return remember(
        loaded.tokenizer, Origin(tokenizer=encoders.encoders[place].tokenizer, added=added)
    )


@dataclass(frozen=True, slots=True)
class _Plain:
    """Makes models as files have them, to be looked at and saved: those that run are rearranged.

    Args:
        is_half: Whether they are to be float16 on a CPU, where nothing computes in it.
    """

    is_half: bool

    def module(self, handle: Any) -> Any:  # noqa: ANN401 - as the pool has it
        """A model; for a text encoder, its models and tokenizers."""
        pool: Any = _plain_pool(is_half=self.is_half)
        made: Any = pool.module(handle)
        if self.is_half:
            models = [each.model for each in made] if isinstance(handle, TextEncoder) else [made]
            for model in models:
                model.half()
        return made


@cache
def _plain_pool(*, is_half: bool) -> WeightsPool:
    from graphdiff.checkpoints.pool import WeightsPool

    return WeightsPool()


def _has(checkpoint: Checkpoint, part: str) -> bool:
    entry = read_index(checkpoint).get(part)
    return isinstance(entry, list) and entry[1] is not None

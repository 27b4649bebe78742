"""A pipeline's parts and the folders that they lie in: found, shown, and written."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints import hub
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint
from graphdiff.checkpoints.open import locate, open_checkpoint, open_controlnet, open_unet, open_vae

if TYPE_CHECKING:
    from graphdiff.checkpoints.pool import WeightsPool
    from graphdiff.pipelines.setup import Setup

INDEX = "model_index.json"
_TRANSFORMERS = ("text_encoder", "tokenizer", "feature_extractor", "depth_estimator", "image")
_folders: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()


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


def component(setup: Setup, name: str, device: str, dtype: str) -> Any:  # noqa: ANN401 - any part
    """A pipeline's model or tokenizer, as an object; None where it has none."""
    plain = _plain_pool()
    if name in setup.replaced:
        opened = open_vae if name == "vae" else open_unet
        return plain.module(opened(setup.replaced[name], device=device, dtype=dtype))
    if name == "controlnet":
        return [
            plain.module(open_controlnet(folder, device=device, dtype=dtype))
            for folder in setup.controlnets
        ]
    if name == "safety_checker" and not setup.is_checked:
        return None
    checkpoint = open_checkpoint(
        setup.checkpoint.name,
        dtype=dtype,
        device=device,
        revision=setup.revision,
        variant=setup.variant,
        config=setup.config,
    )
    if name.startswith(("text_encoder", "tokenizer")):
        if checkpoint.text_encoder is None:
            return None
        names = [key for key in ("text_encoder", "text_encoder_2") if _has(checkpoint, key)]
        part = name.replace("tokenizer", "text_encoder")
        if part not in names:
            return None
        loaded = plain.module(checkpoint.text_encoder)[names.index(part)]
        return loaded.tokenizer if name.startswith("tokenizer") else loaded.model
    handles = {
        "unet": checkpoint.unet,
        "vae": checkpoint.vae,
        "safety_checker": checkpoint.safety_checker,
        "depth_estimator": checkpoint.depth_estimator,
    }
    handle = handles.get(name)
    return None if handle is None else plain.module(handle)


@cache
def _plain_pool() -> WeightsPool:
    """Models as files have them, to be looked at and saved; those that run may be rearranged."""
    from graphdiff.checkpoints.pool import WeightsPool

    return WeightsPool()


def _has(checkpoint: Checkpoint, part: str) -> bool:
    entry = read_index(checkpoint).get(part)
    return isinstance(entry, list) and entry[1] is not None


def component_folder(component: object) -> str:
    """The folder of a component: it is one already, or the component is written to one.

    Raises:
        TypeError: It is neither a folder nor something that can be written.
    """
    if isinstance(component, str | Path):
        return str(component)
    write = getattr(component, "save_pretrained", None)
    if write is None:
        raise TypeError(
            "a component is a folder, or what from_pretrained gives, not "
            f"{type(component).__name__}"
        )
    folder = _folders.get(component)
    if folder is None:
        folder = _folders[component] = _folder_for(component)
        write(folder)
    return folder


def pipeline_folder(name: str, components: Mapping[str, Any]) -> str:
    """Write a pipeline made of components to a folder, which lasts as long as the first of them.

    Raises:
        TypeError: There are none, or one cannot be written.
    """
    models = {key: value for key, value in components.items() if hasattr(value, "save_pretrained")}
    if not models:
        raise TypeError(
            f"{name}(...) takes a pipeline's components; a checkpoint is loaded with "
            f"{name}.from_pretrained(...)"
        )
    folder = _folder_for(next(iter(models.values())))
    index: dict[str, Any] = {"_class_name": name}
    for key, value in components.items():
        if key in models or value is None:
            library = "transformers" if key.startswith(_TRANSFORMERS) else "diffusers"
            index[key] = [None, None] if value is None else [library, type(value).__name__]
        else:
            index[key] = value
    save(Path(folder), index, models)
    return folder


def _folder_for(owner: object) -> str:
    """A new folder that lasts as long as an object."""
    folder = tempfile.mkdtemp(prefix="graphdiff-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def save(folder: Path, index: Mapping[str, Any], components: Mapping[str, Any]) -> None:
    """Write components and the model_index.json that lists them.

    Args:
        folder: Where to.
        index: What model_index.json says.
        components: What is written, each into a folder of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in components.items():
        if part is None:
            continue
        write = getattr(part, "save_pretrained", None)
        if write is None:
            raise TypeError(f"the {name}, a {type(part).__name__}, cannot be written")
        write(str(folder / name))
    text = json.dumps(dict(index), indent=2, sort_keys=True) + "\n"
    (folder / INDEX).write_text(text, encoding="utf-8")

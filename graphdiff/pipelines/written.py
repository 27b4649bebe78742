"""A pipeline's parts written to folders: one for a new pipeline, or for others to read."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from graphdiff.checkpoints.handles import TokenizerFiles, Weights
from graphdiff.config import FrozenConfig

T = TypeVar("T")

INDEX = "model_index.json"
_TRANSFORMERS = ("text_encoder", "tokenizer", "feature_extractor", "depth_estimator", "image")
_VOCABULARY = ("*.json", "*.txt", "*.model")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part was read from, for those that cannot write themselves.

    Args:
        weights: A model's files.
        config: A model's configuration.
        tokenizer: A tokenizer's files.
        added: The words that a tokenizer was taught.
    """

    weights: Weights | None = None
    config: Mapping[str, Any] | None = None
    tokenizer: TokenizerFiles | None = None
    added: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """How pictures are prepared for a model that looks at them; the nodes that do it read this.

    Args:
        config: In transformers' keys.
    """

    config: FrozenConfig

    def save_pretrained(self, folder: str | Path) -> None:
        """Write it as transformers reads it."""
        _write_json(Path(folder) / "preprocessor_config.json", dict(self.config))


class Place:
    """A folder; one that was made for a part lasts as long as this object.

    Args:
        path: Where it lies; a new one where None.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path or tempfile.mkdtemp(prefix="graphdiff-")
        if path is None:
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a part: where it came from, and in which state it was then."""

    origin: Origin
    state: int


_known: weakref.WeakKeyDictionary[object, _Known] = weakref.WeakKeyDictionary()
_places: weakref.WeakKeyDictionary[object, tuple[int, Place]] = weakref.WeakKeyDictionary()


def remember(part: T, origin: Origin | None = None) -> T:
    """Note that a part is as its files have it, and where these lie.

    Args:
        part: A model or tokenizer.
        origin: Where it was read from, if it cannot write itself.
    """
    if part not in _known:
        _known[part] = _Known(origin or Origin(), _state(part))
    return part


def is_unchanged(part: object) -> bool:
    """Whether a pipeline gave this part, and nothing has changed its weights since."""
    return _is_known(part) and _known[part].state == _state(part)


def component_place(component: object) -> Place:
    """The folder of a component: it is one already, or the component is written to one.

    Raises:
        TypeError: It is neither a folder nor something that can be written.
    """
    if isinstance(component, str | Path):
        path = Path(component).expanduser()
        return Place(str(path.absolute()) if path.exists() else str(component))
    if not is_writable(component):
        raise _no_component(component)
    known = _places.get(component)
    if known is not None and known[0] == _state(component):
        return known[1]
    place = Place()
    write(component, Path(place.path))
    _places[component] = _state(component), place
    return place


def pipeline_place(name: str, components: Mapping[str, Any]) -> Place:
    """Write a pipeline made of components to a folder.

    Raises:
        TypeError: There are none, or one cannot be written.
    """
    models = {key: value for key, value in components.items() if is_writable(value)}
    if not models:
        raise TypeError(
            f"{name}(...) takes a pipeline's components; a checkpoint is loaded with "
            f"{name}.from_pretrained(...)"
        )
    index: dict[str, Any] = {"_class_name": name}
    for key, value in components.items():
        if key in models or value is None:
            index[key] = _entry(key, value)
        elif isinstance(value, bool | int | float | str):
            index[key] = value
        else:
            raise TypeError(f"the {key}, a {type(value).__name__}, cannot be taken")
    place = Place()
    save(Path(place.path), index, models)
    return place


def place_with(origin: Path, index: Mapping[str, Any], parts: Mapping[str, Any]) -> Place:
    """A checkpoint's folder with other parts; what stays is linked.

    Args:
        origin: The checkpoint's own folder.
        index: What its model_index.json says.
        parts: What takes the place of its parts: folders, objects, or None.

    Raises:
        TypeError: The checkpoint is a single file, or a part cannot be written.
    """
    if not origin.is_dir():
        raise TypeError(
            f"{', '.join(parts)} cannot be put in the place of a single file's: make a pipeline of "
            "components, as in StableDiffusionPipeline(**{**pipeline.components, ...})"
        )
    place = Place()
    folder = Path(place.path)
    for entry in origin.iterdir():
        if entry.name not in (*parts, INDEX):
            (folder / entry.name).symlink_to(entry.absolute())
    changed = dict(index)
    for key, part in parts.items():
        if isinstance(part, str | Path):
            (folder / key).symlink_to(Path(part).expanduser().absolute())
            continue
        changed[key] = _entry(key, part)
        if part is not None:
            write(part, folder / key)
    _write_json(folder / INDEX, changed)
    return place


def save(
    folder: Path,
    index: Mapping[str, Any],
    components: Mapping[str, Any],
    *,
    variant: str | None = None,
    max_shard_size: int | str | None = None,
) -> None:
    """Write components and the model_index.json that lists them.

    Args:
        folder: Where to.
        index: What model_index.json says.
        components: What is written, each into a folder of its own.
        variant: Goes into the names of weights.
        max_shard_size: The most bytes that a file of weights may have.

    Raises:
        TypeError: One of them cannot be written.
        OSError: The folder cannot be made, or written to.
    """
    for name, part in components.items():
        if part is not None and not is_writable(part):
            raise TypeError(f"the {name}, a {type(part).__name__}, cannot be written")
    options = {"variant": variant, "max_shard_size": max_shard_size}
    with _blamed_on(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in components.items():
            if isinstance(part, list | tuple):  # as diffusers lays several ControlNets out
                for i, each in enumerate(cast("Sequence[object]", part)):
                    write(each, folder / (f"{name}_{i}" if i else name), **options)
            elif part is not None:
                write(part, folder / name, **options)
        _write_json(folder / INDEX, dict(index))


@contextmanager
def _blamed_on(folder: Path) -> Generator[None]:
    """Say which folder was to be written to, where the system says no more than that it fails."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise type(error)(
            f"a pipeline cannot be written to {folder.absolute()}: {why}; give a folder that is "
            "there, or that can be made, and has room"
        ) from error


def is_writable(part: object) -> bool:
    """Whether a part can be written to a folder."""
    if isinstance(part, list | tuple):
        rows = cast("Sequence[object]", part)
        return bool(rows) and all(map(is_writable, rows))
    return hasattr(part, "save_pretrained") or _is_known(part)


def _no_component(part: object) -> TypeError:
    return TypeError(
        f"a component is a folder, or what from_pretrained gives, not {type(part).__name__}"
    )


def _is_known(part: object) -> bool:
    try:
        return part in _known
    except TypeError:  # what takes no weak reference, such as a number, was never remembered
        return False


def write(part: object, folder: Path, **options: Any) -> None:  # noqa: ANN401 - of save_pretrained
    """Write one part to a folder.

    Args:
        part: A model, tokenizer or scheduler.
        folder: Where to.
        options: `variant` and `max_shard_size`, for models.
    """
    saving = getattr(part, "save_pretrained", None)
    if saving is not None:
        given = {key: value for key, value in options.items() if value is not None}
        saving(str(folder), **(given if hasattr(part, "state_dict") else {}))
        return
    if not _is_known(part):
        raise _no_component(part)
    origin = _known[part].origin
    folder.mkdir(parents=True, exist_ok=True)
    if origin.tokenizer is not None:
        _write_tokenizer(origin.tokenizer.folder, origin.added, folder)
    if origin.weights is not None:
        for file in origin.weights.files:
            shutil.copyfile(file.path, folder / file.path.name)
            for listed in file.path.parent.glob("*.safetensors.index*.json"):
                shutil.copyfile(listed, folder / listed.name)
        _write_json(folder / "config.json", dict(origin.config or {}))


def _write_tokenizer(origin: Path, added: tuple[str, ...], folder: Path) -> None:
    for pattern in _VOCABULARY:
        for file in origin.glob(pattern):
            shutil.copyfile(file, folder / file.name)
    if added:
        transformers: Any = import_module("transformers")
        tokenizer = transformers.CLIPTokenizer.from_pretrained(str(folder))
        tokenizer.add_tokens(list(added))
        tokenizer.save_pretrained(str(folder))


def _entry(name: str, part: object) -> list[str | None]:
    if part is None:
        return [None, None]
    if name == "safety_checker":
        return ["stable_diffusion", "StableDiffusionSafetyChecker"]
    library = "transformers" if name.startswith(_TRANSFORMERS) else "diffusers"
    if isinstance(part, FeatureExtractor):
        return [library, str(part.config.get("image_processor_type", "CLIPImageProcessor"))]
    several = isinstance(part, list | tuple)
    return [library, "MultiControlNetModel" if several else type(part).__name__]


def _state(part: object) -> int:
    """A number that changes when a model's weights are changed in place."""
    tensors: Any = getattr(part, "state_dict", dict[str, Any])()
    return sum(int(tensor._version) for tensor in tensors.values() if hasattr(tensor, "_version"))


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")

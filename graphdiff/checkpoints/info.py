"""What a checkpoint holds, for people: its kind, family and parts, counted from headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graphdiff.checkpoints import hub, lora_keys, single_file
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.headers import PICKLES, Header, read_header
from graphdiff.checkpoints.names import BUNDLED, bundled_names, locate
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.checkpoints.weight_files import find_weights
from graphdiff.models.configs import read_json

Kind = Literal["pipeline", "model", "single file", "LoRA", "embedding", "pickle", "tensors"]
# The fewest share of names that make a file of tensors a LoRA.
_MOSTLY = 0.5
_PARTS_OF_NAMES = {
    "model.diffusion_model.": "unet",
    "first_stage_model.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.": "text_encoders",
    "control_model.": "controlnet",
}


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One model of a checkpoint.

    Args:
        name: What it is called there.
        tensors: How many tensors it has.
        parameters: How many numbers they hold.
        size: How many bytes they take.
        dtypes: How they are stored, the most frequent first.
        class_name: Its class, where a config tells.
    """

    name: str
    tensors: int
    parameters: int
    size: int
    dtypes: tuple[str, ...]
    class_name: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint.

    Args:
        name: As it was asked for.
        path: Where it lies.
        kind: What it is.
        family: Which family it is of; empty where that cannot be told.
        class_name: The diffusers class of a pipeline or model.
        parts: Its models; of a file with one thing in it, that.
        prediction_type: What its UNet predicts.
        problem: Why it cannot be opened, if it cannot.
    """

    name: str
    path: Path
    kind: Kind
    family: str = ""
    class_name: str = ""
    parts: tuple[PartInfo, ...] = ()
    prediction_type: str = ""
    problem: str = ""

    @property
    def size(self) -> int:
        """How many bytes its tensors take."""
        return sum(part.size for part in self.parts)

    @property
    def parameters(self) -> int:
        """How many numbers they hold."""
        return sum(part.parameters for part in self.parts)


@dataclass(frozen=True, slots=True)
class Listed:
    """A checkpoint of this machine.

    Args:
        name: What to call it in a workflow.
        path: Where it lies.
        origin: Whether it came with graphdiff, or lies in the hub's cache.
        size: How many bytes its files take.
    """

    name: str
    path: Path
    origin: Literal["bundled", "hub"]
    size: int


def listed() -> tuple[Listed, ...]:
    """The checkpoints that this machine has by name: bundled ones and those of the hub's cache."""
    found = [
        Listed(name, BUNDLED / name, "bundled", _size(BUNDLED / name)) for name in bundled_names()
    ]
    for name in hub.local_ids():
        folder = hub.find_local(name)
        if folder is not None:
            found.append(Listed(name, folder, "hub", _size(folder)))
    return tuple(found)


def info(name: str | Path, *, revision: str | None = None) -> CheckpointInfo:
    """What a checkpoint holds.

    Args:
        name: A bundled model, a folder, a file, or a hub id.
        revision: A branch, tag or commit of a hub id.

    Raises:
        CheckpointError: It is not there, or damaged.
    """
    path = locate(name, revision=revision)
    if path.is_file():
        return _file_info(str(name), path)
    if (path / "model_index.json").is_file():
        return _pipeline_info(str(name), path)
    if (path / "config.json").is_file():
        data = read_json(path / "config.json")
        class_name = str(data.get("_class_name") or (data.get("architectures") or [""])[0])
        part = _part(path.name, map(read_header, find_weights(path)), class_name)
        return CheckpointInfo(str(name), path, "model", class_name=class_name, parts=(part,))
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return _file_info(str(name), files[0])
    raise CheckpointError(
        f"{path}: neither model_index.json nor config.json nor a single .safetensors file in it",
        file=path,
        found=tuple(file.name for file in files),
    )


def _pipeline_info(name: str, path: Path) -> CheckpointInfo:
    index = read_json(path / "model_index.json")
    parts: list[PartInfo] = []
    entries: dict[str, list[Any]] = {k: v for k, v in index.items() if isinstance(v, list)}
    for part, entry in sorted(entries.items()):
        if (path / part / "config.json").is_file():
            headers = map(read_header, find_weights(path / part))
            parts.append(_part(part, headers, str(entry[-1])))
    class_name = str(index.get("_class_name", ""))
    try:
        found = open_checkpoint(path, dtype="float32", device="cpu")
    except CheckpointError as error:
        return CheckpointInfo(
            name, path, "pipeline", "", class_name, tuple(parts), problem=str(error)
        )
    return CheckpointInfo(
        name,
        path,
        "pipeline",
        found.family,
        class_name,
        tuple(parts),
        found.unet.prediction_type,
    )


def _file_info(name: str, path: Path) -> CheckpointInfo:
    if path.suffix in PICKLES:
        problem = f"convert it with: graphdiff models convert {path}"
        return CheckpointInfo(name, path, "pickle", problem=problem)
    header = read_header(path)
    keys = list(header.tensors)
    if single_file.is_single_file(keys):
        try:
            found = single_file.contents(header)
        except CheckpointError as error:
            return CheckpointInfo(
                name, path, "single file", parts=_parts_by_prefix(header), problem=str(error)
            )
        prediction = found.configs["scheduler"].get("prediction_type", "epsilon")
        return CheckpointInfo(
            name,
            path,
            "single file",
            found.family,
            found.pipeline_class,
            _parts_by_prefix(header),
            prediction,
        )
    is_lora = sum(lora_keys.role_of(key) is not None for key in keys) > _MOSTLY * len(keys)
    kind: Kind = "LoRA" if is_lora else "embedding" if _is_embedding(header) else "tensors"
    parts = _parts_by_prefix(header) if kind == "tensors" else (_part(kind, [header]),)
    return CheckpointInfo(name, path, kind, parts=parts)


def _is_embedding(header: Header) -> bool:
    return 0 < len(header.tensors) <= 2 and all(
        len(tensor.shape) in (1, 2) and tensor.shape[-1] <= 2048
        for tensor in header.tensors.values()
    )


def _part(name: str, headers: Iterable[Header], class_name: str = "") -> PartInfo:
    tensors = [tensor for header in headers for tensor in header.tensors.values()]
    dtypes = Counter(tensor.dtype for tensor in tensors)
    return PartInfo(
        name,
        len(tensors),
        sum(math.prod(tensor.shape) for tensor in tensors),
        sum(tensor.end - tensor.start for tensor in tensors),
        tuple(dtype for dtype, _ in dtypes.most_common()),
        class_name,
    )


def _parts_by_prefix(header: Header) -> tuple[PartInfo, ...]:
    """The models of a single file, told apart by what their tensors' names begin with."""
    groups: dict[str, list[str]] = {}
    for key in header.tensors:
        named = [part for prefix, part in _PARTS_OF_NAMES.items() if key.startswith(prefix)]
        groups.setdefault(named[0] if named else "other", []).append(key)
    return tuple(
        _part(
            part,
            [Header(header.path, {key: header.tensors[key] for key in keys}, header.metadata)],
        )
        for part, keys in groups.items()
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

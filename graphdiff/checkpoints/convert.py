"""Pickled weights rewritten as safetensors, without running what a pickle may hold."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.headers import PICKLES
from graphdiff.checkpoints.weight_files import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

# The names that diffusers and transformers give to pickles, and to what they become.
RENAMED = {"pytorch_model": "model"}
# What is copied beside the weights when a folder is converted to another place.
COPIED = (".json", ".txt", ".model", ".safetensors", ".yaml")
# Where files keep their tensors when not on top.
NESTED = ("state_dict", "params_ema", "model_state_dict")


@dataclass(frozen=True, slots=True)
class Converted:
    """One file that was rewritten.

    Args:
        source: The pickle.
        target: The safetensors file.
        tensors: How many tensors it has.
        left_out: The names of what was no tensor.
    """

    source: Path
    target: Path
    tensors: int
    left_out: tuple[str, ...] = ()


def convert(
    source: str | Path, target: str | Path | None = None, *, overwrite: bool = False
) -> tuple[Converted, ...]:
    """Rewrite a pickle, or all of a folder's, as safetensors.

    Pickles are read with `weights_only=True`, which refuses to run any code in them, and are left
    where they are.

    Args:
        source: A file, or a folder in diffusers' layout.
        target: The file or folder to write; beside the pickles if not given.
        overwrite: Whether files that exist are replaced; else they are an error.

    Raises:
        CheckpointError: There is no pickle, one holds more than weights, or a file exists.
    """
    source = Path(source)
    if source.is_file():
        if source.suffix == ".safetensors":
            raise CheckpointError(
                f"{source}: it is a safetensors file already; there is nothing to convert",
                file=source,
                expected=PICKLES,
            )
        place = source.with_suffix(".safetensors") if target is None else Path(target)
        if place.is_dir():
            place = place / f"{source.stem}.safetensors"
        return (_convert_file(source, place, overwrite=overwrite),)
    if not source.is_dir():
        raise CheckpointError(f"{source}: no such file or folder", file=source)
    pickles = [path for path in sorted(source.rglob("*")) if _is_weights(path)]
    if not pickles:
        raise CheckpointError(
            f"{source}: no pickled weights in it ({', '.join(PICKLES)})",
            file=source,
            expected=PICKLES,
        )
    root = source if target is None else Path(target)
    found = tuple(
        _convert_file(path, root / _renamed(path.relative_to(source)), overwrite=overwrite)
        for path in pickles
    )
    for index in source.rglob("*.bin.index*.json"):
        _convert_index(index, root / index.relative_to(source).parent)
    if root != source:
        for path in source.rglob("*"):
            if path.suffix in COPIED and ".bin.index" not in path.name:
                place = root / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
    return found


def _is_weights(path: Path) -> bool:
    """Whether a file is a pickle of weights, not of a trainer's state."""
    states = ("optimizer", "scheduler", "random_states", "training_args", "scaler")
    return path.is_file() and path.suffix in PICKLES and not path.name.startswith(states)


def _renamed(path: Path) -> Path:
    name = path.name.removesuffix(path.suffix)
    for old, new in RENAMED.items():
        name = new + name.removeprefix(old) if name.startswith(old) else name
    return path.with_name(f"{name}.safetensors")


def _convert_index(index: Path, folder: Path) -> None:
    """Rewrite the list of a sharded model's files."""
    import json

    data = json.loads(index.read_text(encoding="utf-8"))
    data["weight_map"] = {
        key: _renamed(Path(name)).name for key, name in data["weight_map"].items()
    }
    name = index.name.replace(".bin.index", ".safetensors.index")
    for old, new in RENAMED.items():
        name = new + name.removeprefix(old) if name.startswith(old) else name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _convert_file(source: Path, target: Path, *, overwrite: bool) -> Converted:
    if target.exists() and not overwrite:
        raise CheckpointError(
            f"{target}: exists already; remove it, or replace it with --overwrite (overwrite=True)",
            file=target,
        )
    data = _loaded(source)
    tensors, left_out = _tensors(data)
    if not tensors:
        raise CheckpointError(
            f"{source}: there are no tensors in it, but {', '.join(left_out[:5]) or 'nothing'}",
            file=source,
            found=left_out,
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    notes = {"format": "pt"}
    if name := _name_of(data):
        notes["name"] = name
    write_tensors(tensors, target, notes)
    return Converted(source, target, len(tensors), left_out)


def _loaded(path: Path) -> Any:  # noqa: ANN401 - whatever is in the file
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, it holds more than weights, which could run any code when loaded: "
            f"{_first_line(error)}; ask whoever made it for a safetensors file",
            file=path,
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path}: damaged, or no file of torch's: {_first_line(error)}", file=path
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _tensors(data: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:  # noqa: ANN401
    """The tensors of a pickle under flat names, and what else it held."""
    import torch

    if isinstance(data, torch.Tensor):
        return {"emb_params": data.clone()}, ()
    if not isinstance(data, Mapping):
        return {}, (type(data).__name__,)
    held: dict[Any, Any] = dict(data)  # pyright: ignore[reportUnknownArgumentType]
    nested = [held[key] for key in NESTED if isinstance(held.get(key), Mapping)]
    tensors: dict[str, Tensor] = {}
    left_out: list[str] = []
    for key, value in (nested[0] if nested else held).items():
        if isinstance(value, torch.Tensor):
            # A copy of its own for each: safetensors refuses tensors that share memory.
            tensors[str(key)] = value.detach().clone(memory_format=torch.contiguous_format)
        elif key == "string_to_param":  # A1111's embeddings
            for word, vectors in dict(value).items():
                tensors[f"string_to_param.{word}"] = vectors.detach().clone()
        else:
            left_out.append(str(key))
    return tensors, tuple(left_out)


def _name_of(data: Any) -> str | None:  # noqa: ANN401 - whatever is in the file
    """The word of an A1111 embedding, which its file keeps beside the vectors."""
    if isinstance(data, Mapping) and "string_to_param" in data:
        held: dict[str, Any] = dict(data)  # pyright: ignore[reportUnknownArgumentType]
        return str(held["name"]) if held.get("name") else None
    return None

"""The files that a model's weights are in: found in a folder, one or in shards, and written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.headers import PICKLES, refuse_pickle

if TYPE_CHECKING:
    from torch import Tensor

STEMS = ("diffusion_pytorch_model", "model")


def find_weights(folder: str | Path, *stems: str, variant: str | None = None) -> tuple[Path, ...]:
    """The weight files of a model's folder: one, or the shards that its index lists.

    Args:
        folder: The folder; a file is taken as it is.
        stems: What the files may be called; diffusers' and transformers' names if none is given.
        variant: Which of several, such as `fp16`; None takes the one without.

    Raises:
        CheckpointError: There is none, only other variants, or only pickles.
    """
    folder = Path(folder)
    if folder.is_file():
        refuse_pickle(folder)
        return (folder,)
    stems = stems or STEMS
    middle = f".{variant}" if variant else ""
    for stem in stems:
        single = folder / f"{stem}{middle}.safetensors"
        if single.is_file():
            return (single,)
        index = folder / f"{stem}.safetensors.index{middle}.json"
        if index.is_file():
            return _shards(index)
    raise _not_found(folder, stems, variant)


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        names: list[str] = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index}: damaged: expected JSON with a weight_map ({error})", file=index
        ) from error
    for name in names:
        shard = index.parent / name
        if Path(name).name != name or not shard.is_file():
            raise CheckpointError(
                f"{index}: it lists the file {name!r}, which is not beside it; fetch or copy it",
                file=index,
                expected=name,
            )
    return tuple(index.parent / name for name in names)


def _not_found(folder: Path, stems: Sequence[str], variant: str | None) -> CheckpointError:
    wanted = " or ".join(f"{stem}{f'.{variant}' if variant else ''}.safetensors" for stem in stems)
    if not folder.is_dir():
        return CheckpointError(f"{folder}: no such file or folder", file=folder, expected=wanted)
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    pattern = re.compile(
        rf"(?:{'|'.join(map(re.escape, stems))})"
        r"(?:\.safetensors\.index)?(?:\.([^.]+?))?(?:-\d+-of-\d+)?\.(?:safetensors|json)"
    )
    variants = {match[1] for name in files if (match := pattern.fullmatch(name))}
    pickles = [name for name in files if Path(name).suffix in PICKLES]
    if variants:
        have = " and ".join(
            f"variant={other!r}" if other else "the one without variant"
            for other in sorted(variants, key=str)
        )
        asked = f"variant={variant!r}" if variant else "without a variant"
        text = f"{folder}: there are no weights {asked}, but there is {have}"
    elif pickles:
        text = (
            f"{folder}: its weights are pickles ({', '.join(pickles[:3])}), which can run any "
            f"code; convert them with: graphdiff models convert {folder / pickles[0]}"
        )
    else:
        text = f"{folder}: there is no {wanted}; it holds {', '.join(files[:20]) or 'no files'}"
    return CheckpointError(text, file=folder, expected=wanted, found=tuple(files))


def save_weights(
    tensors: Mapping[str, Tensor],
    folder: Path,
    stem: str,
    *,
    variant: str | None = None,
    max_shard_size: int | str | None = None,
) -> tuple[Path, ...]:
    """Write tensors into a model's folder, as one file or as shards with an index.

    Files appear whole or not at all, and mapped ones may be written over. Older weights of the
    same name are removed.

    Args:
        tensors: What to write.
        folder: Where to.
        stem: The files' name, such as `diffusion_pytorch_model`.
        variant: Goes into the name, such as `fp16`.
        max_shard_size: The most bytes of a file, such as `"5GB"`; None for one file.

    Returns:
        The files with tensors.
    """
    limit = None if max_shard_size is None else parse_size(max_shard_size)
    shards = _split(tensors, limit)
    middle = f".{variant}" if variant else ""
    names = [f"{stem}{middle}.safetensors"]
    if len(shards) > 1:
        count = len(shards)
        names = [f"{stem}{middle}-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    for name, shard in zip(names, shards, strict=True):
        write_tensors(shard, folder / name, {"format": "pt"})
    old = re.compile(rf"{re.escape(stem + middle)}(-\d+-of-\d+)?\.safetensors")
    for path in folder.iterdir():
        if old.fullmatch(path.name) and path.name not in names:
            path.unlink()
    index = folder / f"{stem}.safetensors.index{middle}.json"
    index.unlink(missing_ok=True)
    if len(shards) > 1:
        content = {
            "metadata": {"total_size": sum(map(_bytes, tensors.values()))},
            "weight_map": {
                key: name for name, shard in zip(names, shards, strict=True) for key in shard
            },
        }
        index.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return tuple(folder / name for name in names)


def write_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as one safetensors file, which appears whole or not at all.

    Others may read it as far as they may read any file that this process makes; safetensors alone
    would let nobody but its owner.

    Args:
        tensors: What to write.
        path: The file; its folder must be there.
        metadata: Notes that go into its header.
    """
    from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

    partial = path.with_name(f".{path.name}.part")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        dense = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(dense, partial, None if metadata is None else dict(metadata))
        partial.chmod(mode)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def parse_size(size: int | str) -> int:
    """How many bytes `"5GB"`, `"300MB"` or a number is.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(size, int):
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B\s*", size, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{size!r} is no size; write a number of bytes, or such as '5GB'")
    unit = (1024 if match[3] else 1000) ** " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * unit)


def _split(tensors: Mapping[str, Tensor], limit: int | None) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if limit is not None and shards[-1] and size + _bytes(tensor) > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += _bytes(tensor)
    return shards


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()

"""Weight files: found in a folder, checked by their headers, mapped, and put into modules.

Headers are read without torch, so that a plan can be made from them.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

STEMS = ("diffusion_pytorch_model", "model")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_SIZES = {
    1: ("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"),
    2: ("U16", "I16", "F16", "BF16"),
    4: ("U32", "I32", "F32"),
    8: ("U64", "I64", "F64"),
}
ITEM_SIZES = {name: size for size, names in _SIZES.items() for name in names}
LONGEST_HEADER = 100_000_000
# What torch calls the dtypes that weights are cast from.
_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

# Names that older files give to what a module has, tried on names that it lacks: the first
# attention blocks of diffusers, and transformers' habit of leaving a prefix out.
OLD_NAMES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\.query\.(weight|bias)$"), r".to_q.\1"),
    (re.compile(r"\.key\.(weight|bias)$"), r".to_k.\1"),
    (re.compile(r"\.value\.(weight|bias)$"), r".to_v.\1"),
    (re.compile(r"\.proj_attn\.(weight|bias)$"), r".to_out.0.\1"),
    (re.compile(r"^(?=embeddings\.|encoder\.|final_layer_norm\.)"), "text_model."),
)
# Buffers that some files hold and no module needs: they only count positions.
IGNORED = re.compile(r"(^|\.)position_ids$")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file, as its header tells.

    Args:
        dtype: As safetensors names it: F32, F16, BF16, ...
        shape: Its shape.
        start: Where its bytes start, counted from the start of the file.
        end: Where they end.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself.

    Args:
        path: The file.
        tensors: What it holds, by name.
        metadata: Notes of whoever wrote it.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def read_header(path: str | Path) -> Header:
    """Read what a safetensors file holds, and check that it is complete.

    Raises:
        CheckpointError: There is no such file, it is of another kind, truncated or damaged.
    """
    path = Path(path)
    refuse_pickle(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if 2 <= length <= min(size - 8, LONGEST_HEADER) else b""
            file.seek(0)
            start = file.read(40)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}", file=path) from error
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path}: this is git-lfs's note of a file, not the file: run `git lfs pull` there",
            file=path,
            expected="a safetensors file",
            found="a git-lfs pointer",
        )
    if not text.startswith(b"{"):
        is_cut = 2 <= length <= LONGEST_HEADER and start[8:9] in (b"{", b"")
        raise CheckpointError(
            f"{path}: truncated: the header alone takes {length + 8} bytes, the file has {size}; "
            "fetch or copy it again"
            if is_cut
            else f"{path}: not a safetensors file (it starts with {start[:8]!r})",
            file=path,
            expected=length + 8 if is_cut else "a safetensors file",
            found=size if is_cut else start[:8],
        )
    try:
        entries: dict[str, Any] = json.loads(text)
        metadata: dict[str, str] = entries.pop("__metadata__", {})
        tensors = {name: _tensor_info(entry, 8 + length) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: damaged: its header is no list of tensors ({error}); fetch or copy it again",
            file=path,
        ) from error
    _check_sizes(path, size, 8 + length, tensors)
    return Header(path, tensors, metadata)


def _tensor_info(entry: dict[str, Any], data_start: int) -> TensorInfo:
    start, end = entry["data_offsets"]
    return TensorInfo(
        str(entry["dtype"]), tuple(map(int, entry["shape"])), data_start + start, data_start + end
    )


def _check_sizes(path: Path, size: int, start: int, tensors: Mapping[str, TensorInfo]) -> None:
    expected = max((info.end for info in tensors.values()), default=start)
    if size != expected:
        what = "truncated" if size < expected else "damaged, there is more than its header tells"
        raise CheckpointError(
            f"{path}: {what}: expected {expected} bytes, found {size}; fetch or copy it again",
            file=path,
            expected=expected,
            found=size,
        )
    for name, info in tensors.items():
        item_size = ITEM_SIZES.get(info.dtype)
        if item_size is None:
            raise CheckpointError(
                f"{path}: tensor {name!r} has the dtype {info.dtype}, which is not supported; "
                f"supported: {', '.join(ITEM_SIZES)}",
                file=path,
                tensor=name,
                expected=tuple(ITEM_SIZES),
                found=info.dtype,
            )
        needed = math.prod(info.shape) * item_size
        if info.end - info.start != needed or info.start < start:
            raise CheckpointError(
                f"{path}: damaged: tensor {name!r} of shape {list(info.shape)} and dtype "
                f"{info.dtype} takes {needed} bytes, its header gives it {info.end - info.start}",
                file=path,
                tensor=name,
                expected=needed,
                found=info.end - info.start,
            )


def refuse_pickle(path: Path) -> None:
    """Refuse a file that is a pickle by its name.

    Raises:
        CheckpointError: It is one; says which command converts it.
    """
    if path.suffix in PICKLES:
        raise CheckpointError(
            f"{path}: this is a pickle, which can run any code when it is loaded; convert it with: "
            f"graphdiff models convert {path}",
            file=path,
            expected=".safetensors",
            found=path.suffix,
        )


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


class MappedTensors(Mapping[str, "Tensor"]):
    """The tensors of some safetensors files, by name; each file is mapped once, when first read.

    What is read shares the mapped pages: nothing is copied until it is changed or cast.

    Args:
        paths: The files.

    Raises:
        CheckpointError: A file is damaged, or two hold a tensor of one name.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.headers = tuple(read_header(path) for path in paths)
        self._where: dict[str, int] = {}
        self._open: dict[int, Any] = {}
        for i, header in enumerate(self.headers):
            for name in header.tensors:
                if name in self._where:
                    other = self.headers[self._where[name]].path
                    raise CheckpointError(
                        f"{header.path}: tensor {name!r} is also in {other}",
                        file=header.path,
                        tensor=name,
                    )
                self._where[name] = i

    def file_of(self, name: str) -> Path:
        """The file that holds a tensor."""
        return self.headers[self._where[name]].path

    def info(self, name: str) -> TensorInfo:
        """What the header says of a tensor."""
        return self.headers[self._where[name]].tensors[name]

    def __getitem__(self, name: str) -> Tensor:
        i = self._where[name]
        if i not in self._open:
            from safetensors import safe_open

            self._open[i] = safe_open(self.headers[i].path, framework="pt", device="cpu")
        tensor: Tensor = self._open[i].get_tensor(name)
        return tensor

    def read(self, name: str) -> Tensor:
        """A tensor in memory of its own, which leaves no page of the file in the process's."""
        import torch

        info = MappedTensors.info(self, name)
        if info.dtype not in _FLOATS or info.start == info.end:
            return MappedTensors.__getitem__(self, name).clone()
        content = bytearray(info.end - info.start)
        path = self.headers[self._where[name]].path
        with path.open("rb", buffering=0) as file:
            file.seek(info.start)
            view = memoryview(content)
            while view:
                count = file.readinto(view)
                if not count:
                    raise CheckpointError(f"{path}: it was cut while it was read", file=path)
                view = view[count:]
        tensor = torch.frombuffer(content, dtype=getattr(torch, _FLOATS[info.dtype]))
        return tensor.reshape(info.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


def load_into(
    module: nn.Module,
    source: Mapping[str, Tensor] | Sequence[str | Path],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    unmapped: Container[str] = (),
) -> None:
    """Give a module its weights; either all of them fit, or it is left as it was.

    The module may be on `meta`. Tensors that need no cast stay mapped; others are read, cast and
    let go one by one, so that no more than one of them is in memory twice.

    Args:
        module: The module.
        source: Files, or tensors by name.
        dtype: What floating-point tensors become; None keeps the file's.
        device: Where they go; None is the CPU.
        unmapped: The names of tensors in the module that do not stay mapped in any case.

    Raises:
        CheckpointError: Tensors are missing, unexpected or of another shape.
    """
    tensors = source if isinstance(source, Mapping) else MappedTensors(source)
    names = match_names(module, tensors)
    state = {
        name: loaded(tensors, found, dtype=dtype, device=device, unmapped=name in unmapped)
        for name, found in names.items()
    }
    module.load_state_dict(state, strict=True, assign=True)


def loaded(
    tensors: Mapping[str, Tensor],
    name: str,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    unmapped: bool = False,
) -> Tensor:
    """One tensor, cast and on its device.

    Args:
        tensors: Where it is from.
        name: What it is called there.
        dtype: What it becomes if it is of floating-point numbers; None keeps what it is.
        device: Where it goes; None is the CPU.
        unmapped: Whether it is read even where it could stay mapped.
    """
    place = str(device or "cpu")
    if isinstance(tensors, MappedTensors):
        found = _FLOATS.get(tensors.info(name).dtype)
        wanted = found if dtype is None else str(dtype).removeprefix("torch.")
        leaves = place != "cpu" or (found is not None and found != wanted)
        tensor = tensors.read(name) if leaves or unmapped else tensors[name]
    else:
        tensor = tensors[name]
    to = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.to(place, to)


def match_names(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Which of the given tensors each of a module's is, by its name in the module.

    Names of older files are recognised. Of mapped files only the headers are read.

    Raises:
        CheckpointError: Tensors are missing, unexpected or of another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    names: dict[str, str] = {}
    unexpected: list[str] = []
    for found in tensors:
        name = found if found in expected else _todays_name(found, expected)
        if name is not None and name not in names:
            names[name] = found
        elif not IGNORED.search(found):
            unexpected.append(found)
    missing = [name for name in expected if name not in names]
    mapped = tensors if isinstance(tensors, MappedTensors) else None
    place = ", ".join(str(header.path) for header in mapped.headers) if mapped else "these tensors"
    if missing or unexpected:
        raise CheckpointError(
            f"{place}: not the weights of this {type(module).__name__}: "
            f"{_count('missing', missing)}, {_count('unexpected', unexpected)}; is it another "
            "model's file, or does config.json belong to another?",
            file=mapped.headers[0].path if mapped and mapped.headers else None,
            tensor=(missing or unexpected)[0],
            expected=tuple(missing),
            found=tuple(unexpected),
        )
    for name, found in names.items():
        shape = mapped.info(found).shape if mapped else tuple(tensors[found].shape)
        if shape != expected[name]:
            raise CheckpointError(
                f"{mapped.file_of(found) if mapped else place}: tensor {found!r} has the shape "
                f"{list(shape)}, expected {list(expected[name])} by the config of this "
                f"{type(module).__name__}",
                file=mapped.file_of(found) if mapped else None,
                tensor=found,
                expected=expected[name],
                found=shape,
            )
    return names


def _todays_name(name: str, expected: Mapping[str, object]) -> str | None:
    renamed = (pattern.sub(new, name, count=1) for pattern, new in OLD_NAMES)
    return next((candidate for candidate in renamed if candidate in expected), None)


def _count(what: str, names: Sequence[str]) -> str:
    if not names:
        return f"0 {what}"
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} {what} ({', '.join(names[:3])}{more})"


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
    from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

    limit = None if max_shard_size is None else parse_size(max_shard_size)
    shards = _split(tensors, limit)
    middle = f".{variant}" if variant else ""
    names = [f"{stem}{middle}.safetensors"]
    if len(shards) > 1:
        count = len(shards)
        names = [f"{stem}{middle}-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    for name, shard in zip(names, shards, strict=True):
        partial = folder / f".{name}.part"
        save_file({k: v.contiguous() for k, v in shard.items()}, partial, metadata={"format": "pt"})
        os.replace(partial, folder / name)
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

"""What a safetensors file says of itself: read without torch, and checked against its size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphdiff.checkpoints.errors import CheckpointError

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
LONGEST_HEADER = 100_000_000
_SIZES = {
    1: ("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"),
    2: ("U16", "I16", "F16", "BF16"),
    4: ("U32", "I32", "F32"),
    8: ("U64", "I64", "F64"),
}
ITEM_SIZES = {name: size for size, names in _SIZES.items() for name in names}


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

"""Weights put into modules: mapped from their files, matched by name and shape, cast."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.headers import TensorInfo, read_header

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# What torch calls the dtypes that weights are cast from.
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


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
        if info.dtype not in FLOATS or info.start == info.end:
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
        tensor = torch.frombuffer(content, dtype=getattr(torch, FLOATS[info.dtype]))
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
        found = FLOATS.get(tensors.info(name).dtype)
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

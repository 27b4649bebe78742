"""The tensors that a handle's weights stand for, by diffusers' names, whatever the layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints import ldm
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Weights
from graphdiff.checkpoints.headers import TensorInfo
from graphdiff.checkpoints.weights import MappedTensors

if TYPE_CHECKING:
    from torch import Tensor

_THIRDS: Mapping[ldm.Take, int] = {"query": 0, "key": 1, "value": 2}


class LdmTensors(MappedTensors):
    """One model out of a single file in the original layout, by diffusers' names.

    Args:
        path: The file.
        part: Which model.
        config: Its configuration.

    Raises:
        CheckpointError: The file is damaged, lacks this model, or has tensors that it does not.
    """

    def __init__(self, path: Path, part: ldm.Part, config: Mapping[str, Any]) -> None:
        super().__init__([path])
        self._sources, unknown = ldm.sources(part, config, super().__iter__())
        if unknown:
            raise CheckpointError(
                f"{path}: {len(unknown)} tensors of its {part} are not those of a model of this "
                f"config ({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''})",
                file=path,
                tensor=next(iter(unknown)),
                found=unknown,
            )
        if not self._sources:
            raise CheckpointError(f"{path}: it holds no {part}", file=path, expected=part)

    def file_of(self, name: str) -> Path:
        """The file that holds a tensor."""
        return super().file_of(self._sources[name].key)

    def info(self, name: str) -> TensorInfo:
        """What the header says of a tensor, with the shape that it has here."""
        source = self._sources[name]
        info = super().info(source.key)
        shape: tuple[int, ...]
        match source.take:
            case "whole":
                shape = info.shape
            case "transposed":
                shape = info.shape[::-1]
            case "linear":
                shape = info.shape[:2]
            case "query" | "key" | "value":
                shape = (info.shape[0] // 3, *info.shape[1:])
        return replace(info, shape=shape)

    def __getitem__(self, name: str) -> Tensor:
        source = self._sources[name]
        return _taken(super().__getitem__(source.key), source.take)

    def read(self, name: str) -> Tensor:
        """A tensor in memory of its own."""
        source = self._sources[name]
        return _taken(super().read(source.key), source.take)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def _taken(tensor: Tensor, take: ldm.Take) -> Tensor:
    """What a model needs of a tensor of the file."""
    match take:
        case "whole":
            return tensor
        case "transposed":
            return tensor.T.contiguous()
        case "linear":
            return tensor.flatten(1) if tensor.shape[2:].numel() == 1 else tensor
        case third:
            return tensor.chunk(3)[_THIRDS[third]].clone()


def tensors_of(
    weights: Weights,
    config: Mapping[str, Any],
    *,
    diffusers: type[MappedTensors] = MappedTensors,
    original: type[LdmTensors] = LdmTensors,
) -> MappedTensors:
    """The tensors of a handle; nothing but headers is read until one is asked for.

    Args:
        weights: Which files, and which model of them.
        config: The configuration of the model.
        diffusers: What reads files in diffusers' layout.
        original: What reads a single file in the original layout.

    Raises:
        CheckpointError: A file is missing, damaged, or of another model.
        ValueError: It is not said which model of a file is meant that holds several.
    """
    paths = [file.path for file in weights.files]
    if weights.layout == "diffusers":
        return diffusers(paths)
    if not weights.part:
        raise ValueError("weights in the original layout say which part of the file they are")
    return original(paths[0], weights.part, config)


def shapes_of(weights: Weights, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a handle, from the headers alone."""
    tensors = tensors_of(weights, config)
    return {name: tensors.info(name).shape for name in tensors}

"""Weights on their way to a GPU: some travel from pinned memory while the next ones are read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Weights
from graphdiff.checkpoints.sources import LdmTensors, tensors_of
from graphdiff.checkpoints.weights import FLOATS, MappedTensors

if TYPE_CHECKING:
    from torch import Tensor

    from graphdiff.models.cuda_graphs import Mark

_STAGE = 32 << 20  # bytes of each half: long enough for the bus, and soon filled


class Lane(Protocol):
    """The way to a device."""

    def host(self, size: int) -> Tensor:
        """Memory of the host, in bytes, which the device can read by itself."""
        ...

    def target(self, size: int) -> Tensor:
        """Memory of the device, in bytes."""
        ...

    def send(self, piece: Tensor, target: Tensor) -> None:
        """Begin to copy from the one to the other."""
        ...

    def mark(self) -> Mark:
        """The end of what was sent so far."""
        ...


class CudaLane:
    """The way to a CUDA device, on its current stream."""

    def host(self, size: int) -> Tensor:
        """Pinned memory."""
        import torch

        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def target(self, size: int) -> Tensor:
        """Memory of the device."""
        import torch

        return torch.empty(size, dtype=torch.uint8, device="cuda")

    def send(self, piece: Tensor, target: Tensor) -> None:
        """Enqueue the copy."""
        target.copy_(piece, non_blocking=True)

    def mark(self) -> Mark:
        """An event."""
        from graphdiff.models.cuda_graphs import Cuda

        return Cuda().mark()


class _Stage:
    """Two pieces of the host's memory: one is filled while what is in the other travels."""

    def __init__(self, lane: Lane, size: int) -> None:
        self._lane = lane
        self._halves = [lane.host(size) for _ in range(2)]
        self._marks: list[Mark | None] = [None, None]
        self._half: int = 0
        self._used: int = 0

    def send(self, file: RawIOBase, path: Path, target: Tensor) -> None:
        """Send the next bytes of a file."""
        done = 0
        while done < len(target):
            half = self._free_half()
            free = half[self._used : self._used + len(target) - done]
            view: Any = free.numpy()
            count = file.readinto(view)
            if not count:
                raise CheckpointError(f"{path}: it was cut while it was read", file=path)
            self._lane.send(free[:count], target[done : done + count])
            self._used += count
            done += count

    def _free_half(self) -> Tensor:
        """The piece that is being filled, or the other one once that is full."""
        if self._used == len(self._halves[self._half]):
            self._marks[self._half] = self._lane.mark()
            self._half, self._used = 1 - self._half, 0
            mark = self._marks[self._half]
            if mark is not None:
                mark.wait()
        return self._halves[self._half]


class Uploads(MappedTensors):
    """Tensors that `read` gives on a device, in the dtype of their file.

    Were they read into ordinary memory, the driver would copy each once more, into pinned memory
    of its own, with the device idle meanwhile; and a cast is the device's work.
    """

    lane: Lane = CudaLane()
    stage: int = _STAGE

    @cached_property
    def _stage(self) -> _Stage:
        return _Stage(self.lane, self.stage)

    def read(self, name: str) -> Tensor:
        """A tensor on the device, which may still be on its way."""
        import torch

        info = MappedTensors.info(self, name)
        if info.dtype not in FLOATS or info.start == info.end:
            return super().read(name)
        path = MappedTensors.file_of(self, name)
        target = self.lane.target(info.end - info.start)
        with path.open("rb", buffering=0) as file:
            file.seek(info.start)
            self._stage.send(file, path, target)
        return target.view(getattr(torch, FLOATS[info.dtype])).reshape(info.shape)


class LdmUploads(LdmTensors, Uploads):
    """The same of a single file in the original layout."""


def uploads_of(weights: Weights, config: Mapping[str, Any]) -> MappedTensors:
    """The tensors of a handle that goes to a GPU; nothing but headers is read at first.

    Args:
        weights: Which files, and which model of them.
        config: The configuration of the model.

    Raises:
        CheckpointError: A file is missing, damaged, or of another model.
        ValueError: It is not said which model of a file is meant that holds several.
    """
    return tensors_of(weights, config, diffusers=Uploads, original=LdmUploads)

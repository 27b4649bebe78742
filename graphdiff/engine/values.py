"""The kinds of values: what torch, numpy and PIL objects hold, told without importing these."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

_SCALARS = frozenset((type(None), bool, int, float, str, bytes))


class UnkeyableError(TypeError):
    """A value that has no content to be known by, or that cannot be written down.

    Args:
        kind: The type that is not possible.
        reason: Why not, and what to use instead.
        path: Where in the value it stands, such as `.history[2]`.
    """

    def __init__(self, kind: str, reason: str, path: str = "") -> None:
        self.kind, self.reason, self.path = kind, reason, path
        where = f" at {path}" if path else ""
        super().__init__(f"{kind}{where}: {reason}")

    def within(self, step: str) -> UnkeyableError:
        """The same, told from one level further out."""
        return UnkeyableError(self.kind, self.reason, step + self.path)


def frozen(kind: type[Any]) -> bool:
    """Whether a type is a frozen dataclass."""
    return bool(getattr(getattr(kind, "__dataclass_params__", None), "frozen", False))


def is_named_tuple(kind: type[Any]) -> bool:
    """Whether a type is a NamedTuple."""
    return hasattr(kind, "_fields") and issubclass(kind, tuple)


def is_tensor(kind: type[Any]) -> bool:
    """Whether a type is a torch tensor's, without importing torch."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and issubclass(kind, tensor)


def is_array(kind: type[Any]) -> bool:
    """Whether a type is a numpy array's or scalar's, without importing numpy."""
    numpy = sys.modules.get("numpy")
    array, scalar = getattr(numpy, "ndarray", None), getattr(numpy, "generic", None)
    return array is not None and scalar is not None and issubclass(kind, (array, scalar))


def is_picture(kind: type[Any]) -> bool:
    """Whether a type is a PIL picture's, without importing PIL."""
    picture = getattr(sys.modules.get("PIL.Image"), "Image", None)
    return picture is not None and issubclass(kind, picture)


def on_host(tensor: Any) -> bool:  # noqa: ANN401 - a tensor, which is not imported here
    """Whether a tensor lies in the host's memory."""
    return bool(tensor.device.type == "cpu")


def tensor_bytes(tensor: Any) -> memoryview:  # noqa: ANN401 - a tensor
    """The elements of a tensor in row-major order.

    Raises:
        UnkeyableError: it has no such elements: it is sparse, quantized, nested or on `meta`.
    """
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        what = "quantized" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
        raise UnkeyableError("Tensor", f"is {what}; only dense tensors with data have content")
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return memoryview(plain.reshape(-1).view(torch.uint8).numpy())


def is_whole_array(array: Any) -> bool:  # noqa: ANN401 - a numpy array or scalar
    """Whether something of numpy's is an array, not one number taken out of one."""
    import numpy as np

    return isinstance(array, np.ndarray)


def array_bytes(array: Any) -> bytes:  # noqa: ANN401 - a numpy array or scalar
    """The elements of a numpy array in row-major order.

    Raises:
        UnkeyableError: its elements are Python objects or records.
    """
    if array.dtype.kind in "OV":
        raise UnkeyableError(
            f"numpy.ndarray of {array.dtype}", "only arrays of numbers and text have content"
        )
    raw: bytes = array.tobytes()
    return raw


def picture_parts(picture: Any) -> tuple[str, tuple[int, int], bytes, tuple[str, bytes] | None]:  # noqa: ANN401 - a PIL picture
    """Mode, size, pixels and palette (mode and entries) of a picture."""
    pixels: bytes = picture.tobytes()
    palette = picture.palette if picture.mode in ("P", "PA") else None
    entries = (palette.mode, palette.tobytes()) if palette is not None else None
    return picture.mode, picture.size, pixels, entries


def alike(one: Any, other: Any) -> bool:  # noqa: ANN401 - any values
    """Whether two values of equal content may stand for each other.

    They may not where a part that is not content differs, such as where a file lies, nor where one
    of two can be changed while the other is not.
    """
    if one is other:
        return True
    kind: type[Any] = one.__class__
    if kind is not other.__class__:
        return False
    if issubclass(kind, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if issubclass(kind, Mapping):
        return list(one) == list(other) and all(alike(one[name], other[name]) for name in one)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return all(alike(getattr(one, name), getattr(other, name)) for name in names)
    plain = kind in _SCALARS or issubclass(kind, Enum | PurePath)
    return plain and bool(one == other)


def size(value: object) -> tuple[int, int]:
    """How many bytes a value keeps alive, on the host and on devices.

    A view keeps all of the storage that it looks at; a storage seen twice is counted once.
    """
    host = device = 0
    seen: set[object] = set()
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        kind: type[Any] = item.__class__
        if kind in _SCALARS:
            host += sys.getsizeof(item)
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        if is_tensor(kind):
            place, held = _storage(item)
            if place not in seen:
                seen.add(place)
                if on_host(item):
                    host += held
                else:
                    device += held
        elif is_array(kind):
            host += item.nbytes
        elif is_picture(kind):
            host += item.width * item.height * max(4, len(item.getbands()))
        elif dataclasses.is_dataclass(kind):
            host += 56
            waiting.extend(getattr(item, f.name, None) for f in dataclasses.fields(kind))
        elif issubclass(kind, Mapping):
            host += 64 + 104 * len(item)
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif issubclass(kind, list | tuple):
            host += 56 + 8 * len(item)
            waiting.extend(item)
        else:
            host += sys.getsizeof(item, 64)
    return host, device


def _storage(tensor: Any) -> tuple[object, int]:  # noqa: ANN401 - a tensor
    """What tells the memory that a tensor looks at from other memory, and how much it is."""
    try:
        storage = tensor.untyped_storage()
        return ("storage", storage.data_ptr()), storage.nbytes()
    except NotImplementedError:  # sparse: as much as it would be if it were not, at most
        return ("tensor", id(tensor)), tensor.numel() * tensor.element_size()

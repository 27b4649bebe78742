"""A value as a tree of JSON and a list of buffers, and back.

Objects are built field by field, without their `__init__`, from classes that are looked up by name:
nothing in a tree is ever executed. A tensor comes back on the kind of device that it was on where
there is one, else on the CPU, in row-major order and memory of its own.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from math import isfinite
from pathlib import Path, PurePath
from typing import Any, Final

from graphdiff.config import FrozenConfig
from graphdiff.engine.content import content_bytes
from graphdiff.engine.values import (
    UnkeyableError,
    array_bytes,
    frozen,
    is_array,
    is_named_tuple,
    is_picture,
    is_tensor,
    is_whole_array,
    picture_parts,
    tensor_bytes,
)
from graphdiff.graph.installed import entry_points_of

Types = Callable[[str, str], type[Any]]
"""Finds a class by module and qualified name; LookupError where it gives none."""

_OWN_PACKAGES: Final = frozenset(("graphdiff", "graphdiff_nodes"))
_DTYPES: Final = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Buffer:
    """Elements in row-major order, named as safetensors names them."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview | bytes


def to_tree(value: object) -> tuple[Any, list[Buffer]]:
    """The tree of a value, in which tensors, pictures and bytes are numbers of buffers.

    Raises:
        UnkeyableError: the value holds something that is no data, or of a class that cannot be
            found by its name again.
    """
    buffers: list[Buffer] = []
    return _encode(value, buffers, {}), buffers


def from_tree(tree: Any, buffers: Mapping[int, memoryview], types: Types) -> Any:  # noqa: ANN401
    """The value of a tree.

    Raises:
        LookupError: it is of a class that `types` does not give.
        ValueError: the tree is none, or its class has other fields now.
    """
    return _Builder(buffers, types).build(tree)


def wire_type(module: str, qualname: str) -> type[Any]:
    """A class by its name, if it can be built from data without running anything.

    It must be a frozen dataclass, a NamedTuple or an enum, in a module that is imported already or
    that belongs to a distribution that provides nodes.

    Raises:
        LookupError: there is no such class, or it is another kind of thing.
    """
    if module not in sys.modules and module.partition(".")[0] in _node_packages():
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise LookupError(f"{module} cannot be imported: {error}") from error
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, qualname):
        raise LookupError(f"there is no class {qualname} in {module}, or it is not imported")
    if not (frozen(found) or is_named_tuple(found) or issubclass(found, Enum)):
        raise LookupError(f"{module}:{qualname} is no frozen dataclass, NamedTuple or enum")
    return found


@cache
def _node_packages() -> frozenset[str]:
    providers = entry_points_of("graphdiff.nodes")
    return _OWN_PACKAGES | {provider.partition(":")[0].partition(".")[0] for provider in providers}


def _name(kind: type[Any]) -> str:
    """A class by name, if it can be found by it."""
    module, qualname = kind.__module__, kind.__qualname__
    try:
        if wire_type(module, qualname) is kind:
            return f"{module}:{qualname}"
    except LookupError:
        pass
    raise UnkeyableError(
        f"{module}:{qualname}",
        "cannot be stored: define it at the top level of a module, so that it has a name",
    )


def _encode(value: Any, buffers: list[Buffer], seen: dict[int, Any]) -> Any:  # noqa: ANN401
    """The tree of a value: itself where JSON has it, else a map of one tag to what it holds.

    `seen` holds the trees of objects with buffers, so that one that occurs twice is written once.
    """
    kind: type[Any] = value.__class__
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -(2**53) <= value <= 2**53 else {"int": hex(value)}
    if kind is float:
        return value if isfinite(value) else {"float": repr(value)}
    if kind is list:
        return [_encode_at(f"[{n}]", item, buffers, seen) for n, item in enumerate(value)]
    if issubclass(kind, Enum):
        return {"enum": [_name(kind), value.name]}
    if dataclasses.is_dataclass(kind):
        if not frozen(kind):
            content_bytes(value)  # raises, and says why
        names = tuple(field.name for field in dataclasses.fields(kind))
        return {"record": [_name(kind), _fields(value, names, buffers, seen)]}
    if is_named_tuple(kind):
        return {"record": [_name(kind), _fields(value, kind._fields, buffers, seen)]}
    if issubclass(kind, tuple):
        items = [_encode_at(f"[{n}]", item, buffers, seen) for n, item in enumerate(value)]
        return {"tuple": items}
    if issubclass(kind, FrozenConfig):
        defaulted: list[str] = sorted(value.defaulted)
        return {"config": [_encode(dict(value), buffers, seen), defaulted]}
    if issubclass(kind, Mapping):
        pairs = [
            [_encode(key, buffers, seen), _encode_at(f"[{key!r}]", item, buffers, seen)]
            for key, item in value.items()
        ]
        if all(isinstance(key, str) for key in value):
            return {"map": dict(pairs)}
        return {"pairs": pairs}
    if issubclass(kind, PurePath):
        return {"path": str(value)}
    if id(value) not in seen:
        seen[id(value)] = _encode_buffer(value, kind, buffers)
    return seen[id(value)]


def _encode_at(
    where: str,
    value: Any,  # noqa: ANN401 - any value
    buffers: list[Buffer],
    seen: dict[int, Any],
) -> Any:  # noqa: ANN401 - JSON data
    try:
        return _encode(value, buffers, seen)
    except UnkeyableError as error:
        raise error.within(where) from None


def _fields(
    value: object, names: tuple[str, ...], buffers: list[Buffer], seen: dict[int, Any]
) -> dict[str, Any]:
    return {name: _encode_at(f".{name}", getattr(value, name), buffers, seen) for name in names}


def _encode_buffer(value: Any, kind: type[Any], buffers: list[Buffer]) -> Any:  # noqa: ANN401
    if kind is bytes:
        return {"bytes": [_add(buffers, value)]}
    if is_tensor(kind):
        dtype, shape = str(value.dtype).removeprefix("torch."), tuple(value.shape)
        number = _add(buffers, tensor_bytes(value), dtype, shape)
        return {"tensor": [number, dtype, shape, value.device.type]}
    if is_array(kind):
        shape = tuple(value.shape)
        number = _add(buffers, array_bytes(value), str(value.dtype), shape)
        return {"array": [number, value.dtype.str, shape, is_whole_array(value)]}
    if is_picture(kind):
        mode, extent, pixels, palette = picture_parts(value)
        colours = [palette[0], _add(buffers, palette[1])] if palette else None
        return {"picture": [_add(buffers, pixels), mode, extent, colours]}
    content_bytes(value)  # raises, and says why
    raise UnkeyableError(kind.__qualname__, "cannot be stored")


def _add(
    buffers: list[Buffer],
    data: memoryview | bytes,
    dtype: str = "uint8",
    shape: tuple[int, ...] | None = None,
) -> int:
    if dtype not in _DTYPES or shape is None:
        dtype, shape = "uint8", (len(data),)
    buffers.append(Buffer(_DTYPES[dtype], shape, data))
    return len(buffers) - 1


class _Builder:
    """Builds a value from its tree; a buffer that occurs twice becomes one object."""

    def __init__(self, buffers: Mapping[int, memoryview], types: Types) -> None:
        self._buffers, self._types = buffers, types
        self._built: dict[int, Any] = {}

    def build(self, tree: Any) -> Any:  # noqa: ANN401 - any value
        kind: type[Any] = tree.__class__
        if kind is list:
            return [self.build(item) for item in tree]
        if kind is not dict:
            return tree
        tag: str
        held: Any
        ((tag, held),) = tree.items()
        match tag:
            case "map":
                return {key: self.build(item) for key, item in held.items()}
            case "tuple":
                return tuple(self.build(item) for item in held)
            case "record":
                fields = {name: self.build(item) for name, item in held[1].items()}
                return _record(self._named(held[0]), fields)
            case "tensor" | "picture" | "array" | "bytes":
                if held[0] not in self._built:
                    self._built[held[0]] = self._from_buffer(tag, *held)
                return self._built[held[0]]
            case "enum":
                members: Any = self._named(held[0])
                return members[held[1]]
            case "path":
                return Path(held)
            case "pairs":
                return dict(self.build(item) for item in held)
            case "config":
                return FrozenConfig(self.build(held[0]), defaulted=frozenset(held[1]))
            case "int":
                return int(held, 16)
            case "float":
                return float(held)
            case _:
                raise ValueError(f"there is no tag {tag!r}")

    def _named(self, name: str) -> type[Any]:
        module, _, qualname = name.partition(":")
        return self._types(module, qualname)

    def _from_buffer(self, tag: str, number: int, *facts: Any) -> Any:  # noqa: ANN401
        data = self._buffers[number]
        match tag:
            case "tensor":
                return _tensor(data, *facts)
            case "array":
                return _array(data, *facts)
            case "picture":
                mode, extent, palette = facts
                colours = (palette[0], bytes(self._buffers[palette[1]])) if palette else None
                return _picture(data, mode, extent, colours)
            case _:
                return bytes(data)


def _record(kind: type[Any], fields: dict[str, Any]) -> Any:  # noqa: ANN401 - any record
    if is_named_tuple(kind):
        if tuple(fields) != kind._fields:
            raise ValueError(f"{kind.__qualname__} has other fields now")
        return kind._make(fields.values())
    if set(fields) != {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(f"{kind.__qualname__} has other fields now")
    record = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(record, name, value)
    return record


def _tensor(data: memoryview, dtype: str, shape: list[int], device: str) -> Any:  # noqa: ANN401
    import torch

    element = getattr(torch, dtype)
    if not isinstance(element, torch.dtype):
        raise ValueError(f"{dtype!r} is no dtype")
    if not data:
        return torch.empty(shape, dtype=element, device=_home(device))
    return torch.frombuffer(bytearray(data), dtype=element).reshape(shape).to(_home(device))


def _home(device: str) -> str:
    """The kind of device that a tensor was on, if there is one, else the CPU."""
    import torch

    if device == "cpu" or not torch.accelerator.is_available():
        return "cpu"
    accelerator = torch.accelerator.current_accelerator()
    return device if accelerator is not None and accelerator.type == device else "cpu"


def _array(data: memoryview, dtype: str, shape: list[int], whole: bool) -> Any:  # noqa: ANN401
    import numpy as np

    array = np.frombuffer(bytearray(data), dtype=np.dtype(dtype)).reshape(shape)
    return array if whole else array[()]


def _picture(
    pixels: memoryview, mode: str, extent: list[int], palette: tuple[str, bytes] | None
) -> Any:  # noqa: ANN401 - a PIL picture
    from PIL import Image

    width, height = extent
    picture = Image.frombytes(mode, (width, height), bytes(pixels))
    if palette is not None:
        picture.putpalette(palette[1], palette[0])
    return picture

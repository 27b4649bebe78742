"""What a value is, as canonical bytes and as a digest of them: equal content, equal bytes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from enum import Enum
from hashlib import blake2b
from pathlib import PurePath
from struct import Struct
from typing import Any

from graphdiff.config import FrozenConfig
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

Writer = Callable[[Any, bytearray], None]

_DOUBLE = Struct("<d").pack
_NAN = b"f" + _DOUBLE(float("nan"))  # all NaNs are one


def digest(value: object) -> str:
    """The content digest of a value: 32 hex digits, the same in every process.

    Equal content has equal digests: dataclasses by their fields that take part in comparison,
    tensors by dtype, shape, kind of device and bytes, pictures by mode, size and pixels; the
    order of a map is no part of it. Values that hold no tensors need no torch.

    Raises:
        UnkeyableError: the value holds something without content, such as an open file.
    """
    return blake2b(content_bytes(value), digest_size=16).hexdigest()


def content_bytes(value: object) -> bytes:
    """The canonical bytes that `digest` hashes; large buffers stand in them as hashes.

    Raises:
        UnkeyableError: the value holds something without content, such as an open file.
    """
    out = bytearray()
    try:
        _write(value, out)
    except RecursionError:
        raise UnkeyableError(_named(type(value)), "is nested too deeply, or in itself") from None
    return bytes(out)


def _write(value: object, out: bytearray) -> None:
    kind = value.__class__
    (_writers.get(kind) or _writer(kind))(value, out)


def _none(_value: None, out: bytearray) -> None:
    out += b"n"


def _bool(value: bool, out: bytearray) -> None:
    out += b"T" if value else b"F"


def _int(value: int, out: bytearray) -> None:
    out += b"i%x;" % value


def _float(value: float, out: bytearray) -> None:
    if value == value:
        out += b"f"
        out += _DOUBLE(value)
    else:
        out += _NAN


def _str(value: str, out: bytearray) -> None:
    text = value.encode("utf-8", "surrogatepass")
    out += b"s%d:" % len(text)
    out += text


def _bytes(value: bytes, out: bytearray) -> None:
    out += b"b%d:" % len(value)
    out += value


def _list(value: list[object], out: bytearray) -> None:
    out += b"l%d:" % len(value)
    _items(value, out)


def _tuple(value: tuple[object, ...], out: bytearray) -> None:
    out += b"t%d:" % len(value)
    _items(value, out)


def _items(values: list[object] | tuple[object, ...], out: bytearray) -> None:
    index = 0
    try:
        for index, item in enumerate(values):  # noqa: B007 - the error names it
            _write(item, out)
    except UnkeyableError as error:
        raise error.within(f"[{index}]") from None


def _map(value: Mapping[Any, object], out: bytearray) -> None:
    out += b"m%d:" % len(value)
    pairs: list[tuple[bytes, object, object]] = []
    for key, item in value.items():
        written = bytearray()
        _write(key, written)
        pairs.append((bytes(written), key, item))
    for written_key, key, item in sorted(pairs, key=lambda pair: pair[0]):
        out += written_key
        try:
            _write(item, out)
        except UnkeyableError as error:
            raise error.within(f"[{key!r}]") from None


def _config(value: FrozenConfig, out: bytearray) -> None:
    out += b"c"
    _map(value, out)


def _path(value: PurePath, out: bytearray) -> None:
    out += b"p"
    _str(os.fspath(value), out)


def _enum(value: Enum, out: bytearray) -> None:
    out += b"e"
    _str(f"{_named(type(value))}.{value.name}", out)


def _tensor(value: Any, out: bytearray) -> None:  # noqa: ANN401 - a tensor
    out += b"x"
    _str(f"{value.dtype} {tuple(value.shape)} {value.device.type}", out)
    out += blake2b(tensor_bytes(value), digest_size=16).digest()


def _array(value: Any, out: bytearray) -> None:  # noqa: ANN401 - a numpy array
    out += b"a" if is_whole_array(value) else b"g"
    _str(f"{value.dtype.str} {value.shape}", out)
    out += blake2b(array_bytes(value), digest_size=16).digest()


def _picture(value: Any, out: bytearray) -> None:  # noqa: ANN401 - a PIL picture
    mode, extent, pixels, palette = picture_parts(value)
    out += b"P"
    _str(f"{mode} {extent} {palette[0] if palette else ''}", out)
    out += blake2b(pixels, digest_size=16).digest()
    if palette:
        _bytes(palette[1], out)


def _record_writer(kind: type[Any], names: tuple[str, ...]) -> Writer:
    """Write the fields `names` of a dataclass or a NamedTuple."""
    start = bytearray(b"d")
    _str(f"{_named(kind)}({','.join(names)})", start)
    header = bytes(start)

    def write(value: object, out: bytearray) -> None:
        out += header
        name = ""
        try:
            for name in names:
                item = getattr(value, name)
                item_kind = item.__class__
                (_writers.get(item_kind) or _writer(item_kind))(item, out)
        except UnkeyableError as error:
            raise error.within(f".{name}") from None

    return write


_writers: dict[type[Any], Writer] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    list: _list,
    tuple: _tuple,
    dict: _map,
}


_LIBRARIES: tuple[tuple[Callable[[type[Any]], bool], Writer], ...] = (
    (is_tensor, _tensor),
    (is_array, _array),
    (is_picture, _picture),
)
_BASES: tuple[tuple[type[Any], Writer], ...] = (
    (PurePath, _path),
    (FrozenConfig, _config),
    (Mapping, _map),
    (tuple, _tuple),
)


def _writer(kind: type[Any]) -> Writer:
    """How values of a type are written, found once for each type."""
    writer = _find_writer(kind)
    _writers[kind] = writer
    return writer


def _find_writer(kind: type[Any]) -> Writer:
    if issubclass(kind, Enum):
        return _enum
    if dataclasses.is_dataclass(kind):
        if not frozen(kind):
            raise UnkeyableError(
                _named(kind), "can change: make it @dataclass(frozen=True), so that it has content"
            )
        return _record_writer(kind, tuple(f.name for f in dataclasses.fields(kind) if f.compare))
    if is_named_tuple(kind):
        return _record_writer(kind, kind._fields)
    for fits, writer in _LIBRARIES:
        if fits(kind):
            return writer
    for base, writer in _BASES:
        if issubclass(kind, base):
            return writer
    raise UnkeyableError(
        _named(kind),
        "has no content to be known by; what goes over a wire is plain data: frozen dataclasses, "
        "NamedTuples, enums, lists, maps, numbers, text, paths, tensors, arrays and pictures",
    )


def _named(kind: type[Any]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"

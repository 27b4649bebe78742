"""Values as bytes and back: a safetensors image whose header holds the tree of the value.

Any reader of safetensors can open an image. Its metadata hold `sha256`, over all other bytes of
the image; `format`; `content`, the digest of the value; and `tree`, the value as JSON, in which
tensors, pictures and bytes are numbers of the image's tensors.

Every byte is checked before anything is made of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from graphdiff.engine.content import content_bytes, digest
from graphdiff.engine.tree import Types, from_tree, to_tree, wire_type
from graphdiff.engine.values import UnkeyableError, size

__all__ = [
    "DamagedError",
    "UnkeyableError",
    "UnreadableError",
    "content_bytes",
    "decode",
    "digest",
    "encode",
    "parse",
    "size",
    "wire_type",
]

FORMAT: Final = "graphdiff 1"

_START: Final = b'{"__metadata__":{"sha256":"'
_SHA: Final = slice(8 + len(_START), 8 + len(_START) + 64)


class DamagedError(ValueError):
    """Bytes that are not, or are no longer, an image that `encode` made."""


class UnreadableError(LookupError):
    """A whole image of a value whose class is not to be had in this process."""


def encode(value: object, content: str | None = None) -> bytearray:
    """The image of a value.

    Args:
        value: Plain data as it goes over wires; see `content_bytes`.
        content: Its digest, if known already.

    Raises:
        UnkeyableError: the value holds something that is no data, or of a class that cannot be
            found by its name again.
    """
    content = content or digest(value)
    tree, buffers = to_tree(value)
    metadata = {
        "sha256": "0" * 64,
        "format": FORMAT,
        "content": content,
        "tree": json.dumps(tree, separators=(",", ":")),
    }
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for number, buffer in enumerate(buffers):
        start, end = end, end + len(buffer.data)
        header[str(number)] = {
            "dtype": buffer.dtype,
            "shape": buffer.shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    image = bytearray().join(
        (len(text).to_bytes(8, "little"), text, *(buffer.data for buffer in buffers))
    )
    image[_SHA] = _checksum(image).encode()
    return image


def decode(
    image: bytes | bytearray | memoryview | Path,
    *,
    content: str | None = None,
    types: Types = wire_type,
) -> Any:  # noqa: ANN401 - any value
    """The value of an image, or of the image in a file, checked first.

    Args:
        image: What `encode` gave.
        content: The digest that the value must have.
        types: Finds the classes of dataclasses, NamedTuples and enums.

    Raises:
        DamagedError: a byte is not as it was written, or the value is another one.
        UnreadableError: the value is of a class that `types` does not give.
        OSError: the file cannot be read.
    """
    data = memoryview(image.read_bytes() if isinstance(image, Path) else image)
    tree, buffers = parse(data, content)
    try:
        return from_tree(tree, buffers, types)
    except LookupError as error:
        raise UnreadableError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise DamagedError(f"its tree and its tensors do not fit: {error}") from error


def parse(data: memoryview, content: str | None = None) -> tuple[Any, dict[int, memoryview]]:
    """The tree and the buffers of an image, every byte of which has been checked.

    Raises:
        DamagedError: a byte is not as it was written, or the value is another one.
    """
    if bytes(data[8 : _SHA.start]) != _START:
        raise DamagedError("it is no image of a value")
    if bytes(data[_SHA]) != _checksum(data).encode():
        raise DamagedError("its bytes are not those that were written")
    try:
        body = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(bytes(data[8:body]))
        metadata = header.pop("__metadata__")
        if metadata["format"] != FORMAT:
            raise DamagedError(f"its format is {metadata['format']!r}, this version's is {FORMAT}")
        if content is not None and metadata["content"] != content:
            raise DamagedError(f"it holds {metadata['content']}, not {content}")
        buffers: dict[int, memoryview] = {}
        for number, tensor in header.items():
            start, end = tensor["data_offsets"]
            buffers[int(number)] = data[body + start : body + end]
        return json.loads(metadata["tree"]), buffers
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DamagedError(f"its header is not legible: {error!r}") from error


def _checksum(image: bytes | bytearray | memoryview) -> str:
    view = memoryview(image)
    sha = hashlib.sha256(view[: _SHA.start])
    sha.update(view[_SHA.stop :])
    return sha.hexdigest()

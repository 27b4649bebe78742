"""Values as short JSON data: literals as they are, and of handles what tells one from another."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeGuard

from graphdiff.engine.keys import token_of
from graphdiff.engine.values import UnkeyableError

_LONGEST = 4000  # characters of a text that is kept as it is
_MOST_ITEMS = 200
_MOST_FACTS = 80
_SHORT_LIST = 8
_FEW_FIELDS = 16


def plain(value: Any, token: bytes = b"") -> Any:  # noqa: ANN401 - JSON data
    """A value as JSON data: itself if it is plain and of modest size, else what it is known by.

    Args:
        value: The value.
        token: What it adds to the key of a call, where that is known: hashing again may take long.
    """
    try:
        return _json(value)
    except ValueError:
        return _opaque(value, token)


def _json(value: Any) -> Any:  # noqa: ANN401 - JSON data
    """A plain value as JSON data.

    Raises:
        ValueError: it is not plain, or large.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return _json(value.value)
    if _is_list(value) and len(value) <= _MOST_ITEMS:
        return [_json(item) for item in value]
    if _is_map(value) and len(value) <= _MOST_ITEMS:
        return {str(name): _json(item) for name, item in value.items()}
    raise ValueError(f"a {type(value).__name__} is not plain, or large")


def facts_of(value: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - any value
    """What tells a value from others of its class, by where it stands in it.

    Args:
        value: A value that a plan node gave: a handle, a configuration, a schedule.
        name: What the places begin with; empty for none.

    Returns:
        Plain values by place, such as `unet.dtype`; hashes of files by `file FOLDER/NAME`. Of
        classes with many fields, those at their defaults are left out.
    """
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [(name, value)]
    while waiting and len(found) < _MOST_FACTS:
        place, item = waiting.pop(0)
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            digest, path = getattr(item, "sha256", None), getattr(item, "path", None)
            if isinstance(digest, str) and isinstance(path, Path):
                found[f"file {short_path(path)}"] = digest[:12]
                continue
            fields = dataclasses.fields(item)
            for field in fields:
                part = getattr(item, field.name)
                if field.compare and (len(fields) <= _FEW_FIELDS or part != field.default):
                    waiting.append((_under(place, field.name), part))
        elif _is_map(item):
            waiting += [(_under(place, str(key)), part) for key, part in item.items()]
        elif _is_list(item) and len(item) <= _SHORT_LIST:
            waiting += [(f"{place}[{i}]", part) for i, part in enumerate(item)]
        else:
            found[place] = item if _is_scalar(item) else _opaque(item)
    return found


def short_path(path: str | Path) -> str:
    """A path without what is this machine's own: its last three names."""
    return "/".join(Path(path).parts[-3:]).lstrip("/")


def _opaque(value: Any, token: bytes = b"") -> dict[str, str]:  # noqa: ANN401 - any value
    said = {"of": type(value).__name__}
    if _is_list(value):
        said["of"] = f"{len(value)} items"
    elif isinstance(value, str):
        said["of"] = value[:60] + "..."
    try:
        return said | {"digest": blake2b(token or token_of(value), digest_size=6).hexdigest()}
    except UnkeyableError:
        return said


def _is_map(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def _is_scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return (
        value is None
        or isinstance(value, bool | int)
        or (isinstance(value, str) and len(value) <= _LONGEST)
    )


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name

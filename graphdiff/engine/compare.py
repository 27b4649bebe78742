"""Two values side by side: what differs, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard, cast


def differences(a: Any, b: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - any values
    """What two values differ in, one line for each: `weights.files[0].sha256: 1a2b -> 3c4d`."""
    if _same(a, b):
        return
    if type(a) is type(b):
        if dataclasses.is_dataclass(a) and not isinstance(a, type):
            for field in dataclasses.fields(a):
                if field.compare:
                    one, two = getattr(a, field.name), getattr(b, field.name)
                    yield from differences(one, two, _under(path, field.name))
            return
        if _is_map(a) and _is_map(b):
            for name in dict.fromkeys([*a, *b]):
                one, two = a.get(name), b.get(name)
                yield from differences(one, two, _under(path, str(name)))
            return
        if isinstance(a, list | tuple):
            before, after = cast(list[Any], a), cast(list[Any], b)
            if len(before) != len(after):
                yield f"{path}: {len(before)} items -> {len(after)} items".removeprefix(": ")
            for i, (one, two) in enumerate(zip(before, after, strict=False)):
                yield from differences(one, two, f"{path}[{i}]")
            return
    yield f"{path}: {brief(a)} -> {brief(b)}".removeprefix(": ")


def brief(value: Any) -> str:  # noqa: ANN401 - any value
    """A value in a few words."""
    text = repr(value)
    if len(text) <= 60:
        return text
    if isinstance(value, str):
        return text[:56] + "...'"
    return f"{type(value).__name__} ({text[:40]}...)"


def _same(a: Any, b: Any) -> bool:  # noqa: ANN401 - any values
    if a is b:
        return True
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:  # values that cannot be compared as a whole: tensors, arrays
        return False


def _is_map(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

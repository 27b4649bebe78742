"""Two values side by side: what differs, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

_WIDEST = 64  # characters of a value that is shown whole
_AROUND = 16  # characters shown on each side of where long texts differ


def differences(a: Any, b: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - JSON data
    """What two values of JSON data differ in, one line for each: `scales[2]: 5.0 -> 3.0`."""
    if _is_map(a) and _is_map(b) and "digest" not in a:
        for name in dict.fromkeys([*a, *b]):
            if a.get(name) != b.get(name):
                yield from differences(a.get(name), b.get(name), f"{path}.{name}")
    elif _is_list(a) and _is_list(b) and len(a) == len(b):
        for i, (one, two) in enumerate(zip(a, b, strict=True)):
            if one != two:
                yield from differences(one, two, f"{path}[{i}]")
    elif isinstance(a, str) and isinstance(b, str):
        one, two = _apart(a, b)
        yield f"{path}: {one} -> {two}"
    else:
        yield f"{path}: {brief(a)} -> {brief(b)}"


def brief(value: Any) -> str:  # noqa: ANN401 - JSON data
    """A value in a few words."""
    if _is_map(value) and "digest" in value:
        return f"{value.get('of', '')} ({value['digest'][:6]})"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    if len(text) <= _WIDEST:
        return text
    if _is_list(value):
        return f"{len(value)} items"
    return f"{text[: _WIDEST - 4]}...{text[-1]}"


def _apart(a: str, b: str) -> tuple[str, str]:
    """Two texts, of long ones only the place where they differ."""
    if len(a) <= _WIDEST and len(b) <= _WIDEST:
        return repr(a), repr(b)
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    end = next((i for i in range(shorter - start) if a[-1 - i] != b[-1 - i]), shorter - start)
    return _cut(a, start, end), _cut(b, start, end)


def _cut(text: str, start: int, end: int) -> str:
    """A text without what is equal at its beginning and at its end, but for some letters."""
    first, last = max(0, start - _AROUND), len(text) - max(0, end - _AROUND)
    return brief(("..." if first else "") + text[first:last] + ("..." if last < len(text) else ""))


def _is_map(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)

"""Values seen from the outside: their shapes, and whether they were changed in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import is_not
from typing import Any, TypeAlias, cast

from graphdiff.engine.state import TensorState
from graphdiff.engine.values import is_array, is_tensor

SCALARS = frozenset((type(None), bool, int, float, str, bytes))

Guard: TypeAlias = tuple[Any, Any]
"""Something that can be changed in place, and what it was: a tensor's state, a list's items."""


class MutationError(RuntimeError):
    """A node changed one of its arguments in place."""


def guards_of(value: Any) -> tuple[Guard, ...]:  # noqa: ANN401 - any value
    """What shows later whether a value was changed in place; numpy arrays are made read-only."""
    if value.__class__ in SCALARS:
        return ()
    found: list[Guard] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = item.__class__
        if kind in SCALARS:
            continue
        if kind is list:
            found.append((item, tuple(item)))
            waiting += item
        elif kind is tuple:
            waiting += item
        elif kind is dict:
            found.append((item, dict(item)))
            waiting += item.values()
        elif is_tensor(kind):
            found.append((item, TensorState.of(item)))
        elif is_array(kind):
            if hasattr(item, "setflags"):
                item.setflags(write=False)
        else:
            waiting += [getattr(item, name, None) for name in _fields(kind)]
    return tuple(found)


def changed(guards: tuple[Guard, ...], *, closely: bool = False) -> bool:
    """Whether a value is not as it was when its guards were made.

    Args:
        guards: Its guards.
        closely: Whether some elements of tensors are looked at as well.
    """
    for item, before in guards:
        if before.__class__ is TensorState:
            if before.changed(item, closely=closely):
                return True
        elif before.__class__ is tuple:
            if len(item) != len(before) or any(map(is_not, item, before)):
                return True
        elif item.keys() != before.keys() or any(item[k] is not v for k, v in before.items()):
            return True
    return False


def signature(value: Any) -> Any:  # noqa: ANN401 - any value
    """What two values must have in common to be stacked: types, shapes, dtypes, devices."""
    kind = value.__class__
    if kind in SCALARS:
        return kind
    if kind is list or kind is tuple:
        return kind, tuple(map(signature, value))
    if is_tensor(kind):
        return kind, value.shape, value.dtype, value.device
    if is_array(kind):
        return kind, value.shape, value.dtype
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return cast(type, kind), tuple((name, signature(item)) for name, item in items)
    if hasattr(value, "size") and hasattr(value, "mode"):  # a picture
        return kind, value.size, value.mode
    return kind, tuple(signature(getattr(value, name, None)) for name in _fields(kind))


def shapes(value: Any) -> str:  # noqa: ANN401 - any value
    """A value's shape in words, for messages: `4x64x64 float32`; empty for plain data."""
    kind = value.__class__
    if kind in SCALARS:
        return ""
    if is_tensor(kind) or is_array(kind):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{'x'.join(map(str, value.shape)) or 'a number'} {dtype}"
    items = value if kind in (list, tuple) else [getattr(value, n, None) for n in _fields(kind)]
    return ", ".join(filter(None, map(shapes, items)))


def holds_nan(guards: Iterable[tuple[Guard, ...]]) -> bool:
    """Whether a tensor among outputs was seen to hold what is no number."""
    for found in guards:
        for _, before in found:
            if before.__class__ is TensorState and before.nan:
                return True
    return False


def tensors_in(guards: Iterable[tuple[Guard, ...]]) -> list[Any]:
    """The tensors among guarded outputs."""
    return [item for found in guards for item, before in found if before.__class__ is TensorState]


@lru_cache(maxsize=1024)
def _fields(kind: type[Any]) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(f.name for f in dataclasses.fields(kind))
    return tuple(getattr(kind, "_fields", ()))

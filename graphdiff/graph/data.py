"""Whether a value is a list or a map, said so that type checkers know of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


def is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:  # noqa: ANN401 - any value
    """Whether it is a list or a tuple."""
    return isinstance(value, (list, tuple))


def is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:  # noqa: ANN401 - any value
    """Whether it is a map."""
    return isinstance(value, Mapping)

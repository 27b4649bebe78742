"""What the declaration of an input means as an annotation, and the type that a default tells."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from graphdiff.graph.annotations import (
    union,
)
from graphdiff.graph.constraints import Bounds, Choices
from graphdiff.graph.path_markers import InputFile
from graphdiff.graph.spec import Input

SCALARS: Final[Mapping[str, Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "path": InputFile,
}
"""The types of inputs that a file can hold, by name; every other type is a wire's."""

DECLARATION: Final = ("type", "default", "optional", "help", "choices", "min", "max")
"""The keys of a declaration."""


class UnknownTypeError(LookupError):
    """The declared type of an input names no type. Its argument is the name."""


def input_annotation(declared: Input, types: Mapping[str, type] | None = None) -> Any:  # noqa: ANN401
    """The annotation that says what an input's declaration does.

    Args:
        declared: The declaration.
        types: Wire types by name, as `Registry.types` has them.

    Raises:
        UnknownTypeError: the type is none of these and no scalar.
    """
    plain = _named_type(declared.type.strip(), types or {})
    marks: list[object] = []
    if declared.choices and all(type(choice) is plain for choice in declared.choices):
        plain = typing.Literal[declared.choices] if plain in (str, int, bool) else plain
    if declared.choices is not None:
        marks.append(Choices(declared.choices))
    if declared.min is not None or declared.max is not None:
        marks.append(Bounds(declared.min, declared.max))
    annotation: Any = typing.Annotated[(plain, *marks)] if marks else plain
    return typing.Optional[annotation] if declared.optional else annotation  # noqa: UP045


def inferred_type(default: Any) -> str | None:  # noqa: ANN401 - any literal
    """The type of an input by its default; None where the default does not tell."""
    if isinstance(default, bool):
        return "bool"
    for kind in (int, float, str):
        if isinstance(default, kind):
            return kind.__name__
    if isinstance(default, Path):
        return "path"
    if isinstance(default, (list, tuple)) and default:
        kinds = {inferred_type(item) for item in default}  # pyright: ignore
        if kinds == {"int", "float"}:
            return "[float]"
        only = kinds.pop() if len(kinds) == 1 else None
        return f"[{only}]" if only else None
    return None


def _named_type(name: str, wires: Mapping[str, type]) -> Any:  # noqa: ANN401 - an annotation
    if name.startswith("[") and name.endswith("]"):
        inner = _named_type(name[1:-1].strip(), wires)
        return types.GenericAlias(list, (inner,))
    if name in SCALARS:
        return SCALARS[name]
    if name in wires:
        return wires[name]
    members = [member.strip() for member in name.split("|")]
    if len(members) > 1:
        return union(_named_type(member, wires) for member in members)
    raise UnknownTypeError(name)

"""Inputs of a graph that Python calls build."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, overload

from graphdiff.graph import spec
from graphdiff.graph.annotations import (
    NONE,
    is_union,
)
from graphdiff.graph.handles import Handle
from graphdiff.graph.lower import lowered
from graphdiff.graph.names import is_name
from graphdiff.graph.records import BuildError, DeclaredInput, line_of_call, needed_scope
from graphdiff.graph.spec import MISSING

T = TypeVar("T")

_SCALARS: Final = {str: "str", int: "int", float: "float", bool: "bool", Path: "path"}


@overload
def Input(
    name: str,
    type: type[T],
    default: T | None = ...,
    *,
    optional: Literal[True],
    help: str = ...,
    choices: Iterable[T] | None = ...,
    min: float | None = ...,
    max: float | None = ...,
) -> T | None: ...
@overload
def Input(
    name: str,
    type: type[T],
    default: T = ...,
    *,
    optional: Literal[False] = ...,
    help: str = ...,
    choices: Iterable[T] | None = ...,
    min: float | None = ...,
    max: float | None = ...,
) -> T: ...
@overload
def Input(
    name: str,
    type: str,
    default: object = ...,
    *,
    optional: bool = ...,
    help: str = ...,
    choices: Iterable[Any] | None = ...,
    min: float | None = ...,
    max: float | None = ...,
) -> Any: ...  # noqa: ANN401 - the text says of what
def Input(  # noqa: N802 - it makes part of a graph, as a node's call does
    name: str,
    type: Any,
    default: Any = MISSING,
    *,
    optional: bool = False,
    help: str = "",
    choices: Iterable[Any] | None = None,
    min: float | None = None,
    max: float | None = None,
) -> Any:
    """Declare an input of the graph, and give the handle of its value.

    Args:
        name: Its name.
        type: `str`, `int`, `float`, `bool`, `Path`, `list[...]` of one of these, the class of a
            value on a wire, or the type as a file says it: `"[str]"`.
        default: The value where none is given; without one the input is required.
        optional: Whether None is a value of it.
        help: One line for people.
        choices: The values allowed, where they are few.
        min: The lowest number allowed.
        max: The highest number allowed.

    Raises:
        BuildError: no graph is being built, or the name is taken or no name.
    """
    scope = needed_scope("Input(...)")
    graph = scope.graph
    declared = graph.inputs
    if not is_name(name):
        raise BuildError(f"an input cannot be called {name!r}: names are letters, digits and _")
    if name in declared:
        raise BuildError(f"two inputs are called {name}")
    few = None if choices is None else tuple(choices)
    for value in (default, *(few or ())):
        if isinstance(value, Handle):
            raise BuildError(f"input {name}: {value!r} is not known yet: give it a plain value")
    written, nullable = _type_of_input(type)
    declared[name] = spec.Input(
        type=written,
        default=default if default is MISSING else lowered(default, scope),
        optional=optional or nullable,
        help=help,
        choices=None if few is None else tuple(lowered(choice, scope) for choice in few),
        min=min,
        max=max,
    )
    graph.places["inputs", name] = line_of_call()
    return Handle(DeclaredInput(name, graph))


def _type_of_input(annotation: Any) -> tuple[str, bool]:  # noqa: ANN401 - annotations
    """A type as a file says it, and whether None is a value of it."""
    if isinstance(annotation, str):
        return annotation, False
    if is_union(annotation):
        members = [member for member in get_args(annotation) if member is not NONE]
        names = [_type_of_input(member)[0] for member in members]
        return " | ".join(names), len(members) < len(get_args(annotation))
    if get_origin(annotation) is list:
        return f"[{_type_of_input(get_args(annotation)[0])[0]}]", False
    return _SCALARS.get(annotation) or str(annotation.__name__), False

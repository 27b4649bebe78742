"""Marks on annotations: which parameters are paths, and of what kind."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin


class PathMarker:
    """Marks a path parameter: the engine makes it absolute, and may read or name files by it.

    Args:
        kind: `"read"`: a file whose content, not its name, is in the key. `"name"`: the name of a
            thing that may be a path (a checkpoint): made absolute where it is written as a path or
            a file of that name exists beside the workflow. `"write"`: a path under the output
            folder; what is inserted into its text is made one safe component.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: Literal["read", "name", "write"]) -> None:
        self.kind: Literal["read", "name", "write"] = kind


InputFile = typing.Annotated[Path, PathMarker("read")]
"""A file that a node reads: absolute at run time, keyed by the hash of its bytes."""

Locator = typing.Annotated[str, PathMarker("name")]
"""A name that may be a path: a bundled checkpoint, a folder, a file or a hub id."""

OutputFile = typing.Annotated[str, PathMarker("write")]
"""Where an effect writes: a path relative to the output folder, which it cannot leave."""


def path_kind(annotation: Any) -> str | None:  # noqa: ANN401 - annotations are any object
    """The kind of the `PathMarker` in an annotation, also inside `... | None` and `list[...]`."""
    if get_origin(annotation) is typing.Annotated:
        inner, *marks = get_args(annotation)
        for mark in marks:
            if isinstance(mark, PathMarker):
                return mark.kind
        return path_kind(inner)
    for member in get_args(annotation):
        if (kind := path_kind(member)) is not None:
            return kind
    return None

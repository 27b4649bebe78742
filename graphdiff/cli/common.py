"""Options that several commands share, and the exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from graphdiff.paths import unwritable

EXIT_FAILED: Final = 1
EXIT_WRONG: Final = 2
EXIT_INTERRUPTED: Final = 130

WORKFLOW: Final = "graphdiff.workflow"
"""Where a command keeps the workflow whose inputs are its options, as a shell would write it."""

F = TypeVar("F", bound=Callable[..., Any])


class _NamedPath(click.Path):
    """A path that is named: nothing at all would mean the working folder."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - as click has it
        """Refuse an empty name."""
        if isinstance(value, str) and not value.strip():
            instead = "name a file" if self.file_okay else "write . for the working folder"
            self.fail(f"the name is empty: {instead}", param, ctx)
        return super().convert(value, param, ctx)


existing_path = _NamedPath(exists=True, path_type=Path)
any_path = _NamedPath(path_type=Path)
folder_path = _NamedPath(file_okay=False, path_type=Path)


def nodes_option(fn: F) -> F:
    """`--nodes`: more nodes than the installed ones."""
    return click.option(
        "--nodes",
        multiple=True,
        type=existing_path,
        metavar="FILE_OR_DIR",
        help="Load the nodes of a Python file or folder too.",
    )(fn)


def cache_dir_option(fn: F) -> F:
    """`--cache-dir`: another cache than the user's."""
    return click.option(
        "--cache-dir",
        type=folder_path,
        metavar="DIR",
        help="The cache folder [default: $GRAPHDIFF_CACHE, else the user's cache directory].",
    )(fn)


def shown_path(path: Path) -> str:
    """A path as people type it: relative where it is inside the working folder."""
    try:
        return str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
    except ValueError:
        return str(path)


def refuse_unwritable(file: Path, option: str) -> None:
    """Refuse a file that could not be written, before the work that it would hold is done.

    Args:
        file: The file.
        option: What the command line calls it.

    Raises:
        click.BadParameter: it is a folder, or no file can be made where it would lie.
    """
    if file.is_dir():
        raise click.BadParameter(f"{file} is a folder: name a file", param_hint=option)
    why = unwritable(file.parent)
    if why is not None:
        raise click.BadParameter(f"{file}: {why}", param_hint=option)

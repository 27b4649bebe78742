"""Options that several commands share, and the exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

EXIT_FAILED: Final = 1
EXIT_WRONG: Final = 2
EXIT_INTERRUPTED: Final = 130

F = TypeVar("F", bound=Callable[..., Any])

existing_path = click.Path(exists=True, path_type=Path)
any_path = click.Path(path_type=Path)


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
        type=any_path,
        metavar="DIR",
        help="The cache folder [default: $GRAPHDIFF_CACHE, else the user's cache directory].",
    )(fn)


def shown_path(path: Path) -> str:
    """A path as people type it: relative where it is inside the working folder."""
    try:
        return str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
    except ValueError:
        return str(path)

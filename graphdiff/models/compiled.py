"""A model compiled for inference, with a cache of its own that lasts between processes."""

from __future__ import annotations

import os
from copy import copy
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import nn

from graphdiff.paths import cache_directory

M = TypeVar("M", bound=nn.Module)

_PARTS = ("encoder", "decoder")  # what is called of a model that is not called itself
_CACHE = "TORCHINDUCTOR_CACHE_DIR"  # where torch looks it up


def compiled(model: M, *, folder: Path | None = None) -> M:
    """The same function as `model`, compiled when it is first called, and only for inference.

    Weights are frozen into what is compiled, which folds and reorders them. Another shape of the
    inputs compiles anew, so that it pays for many calls of one shape alone.

    Args:
        model: A plain model, not a packed one; left as it is. Its weights are shared.
        folder: Where compiled code is kept between processes; in graphdiff's cache if None. Torch
            keeps to the first one that a process names, or to that of its environment.

    Returns:
        The compiled model.
    """
    folder = cache_directory() / "compiled" if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    repair(folder)
    os.environ.setdefault(_CACHE, str(folder))
    whole = _copied(model)
    parts = {name: _copied(child) for name, child in model.named_children() if name in _PARTS}
    for name, part in parts.items():
        whole.__dict__["_modules"][name] = part
    for part in parts.values() or (whole,):
        cast("Any", part).compile(options={"freezing": True})
    return whole


def repair(folder: Path) -> int:
    """Remove what a killed process left empty, which would break the next one that reads it.

    Locks are empty by nature, and files in writing have names of their own until they are whole.

    Returns:
        How many files there were.
    """
    broken = [
        path
        for path in folder.rglob("*")
        if path.suffix not in (".lock", ".tmp") and path.is_file() and not path.stat().st_size
    ]
    for path in broken:
        path.unlink(missing_ok=True)
    return len(broken)


def _copied(module: M) -> M:
    """Another module with the same parts and weights."""
    other = copy(module)
    other.__dict__["_modules"] = dict(module.__dict__["_modules"])
    return other

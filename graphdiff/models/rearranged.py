"""A model with some of its modules replaced, which shares all others and all weights with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)

Replace: TypeAlias = Callable[[str, nn.Module], nn.Module | None]
"""What stands for a module of a given name, or None where its parts are looked at."""


def rearranged(module: M, replace: Replace, prefix: str = "") -> M:
    """A copy of a tree of modules with some of them replaced; the tree is left as it is.

    Args:
        module: The tree.
        replace: What replaces which modules.
        prefix: What the names of its modules begin with.
    """
    copied = object.__new__(type(module))
    children: dict[str, nn.Module | None] = {}
    own: dict[str, nn.Module | None] = module.__dict__["_modules"]
    for name, child in own.items():
        whole = f"{prefix}{name}"
        replaced = None if child is None else replace(whole, child)
        if child is not None and replaced is None:
            replaced = rearranged(child, replace, f"{whole}.")
        children[name] = replaced
    copied.__dict__ = {**module.__dict__, "_modules": children}
    return copied

"""Triton's kernels, run as they are on a GPU, and by Triton's interpreter elsewhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch

import graphdiff.models


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of kernels, such that they run on what machine there is."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        from graphdiff.models import kernels

        yield kernels
        return
    import triton.experimental.gluon  # imported by Triton's first launch, and not to see the patch
    import triton.language
    from triton.language import standard
    from triton.runtime import interpreter
    from triton.runtime.jit import JITFunction

    # What Triton writes in its own language, such as sums, was made to be compiled as it was
    # imported, by whoever was first.
    for name, function in list(vars(standard).items()):
        if isinstance(function, JITFunction):
            interpreted: Any = interpreter.InterpretedFunction(function.fn)
            monkeypatch.setattr(standard, name, interpreted)
            if getattr(triton.language, name, None) is function:
                monkeypatch.setattr(triton.language, name, interpreted)
    # A call of one such function by another changes the language each time, and leaves it so; it is
    # done once here, and undone.
    monkeypatch.setattr(
        interpreter.InterpretedFunction,
        "__call__",
        lambda self, *args, **kwargs: self.rewrite()(*args, **kwargs),
    )
    changed = interpreter._patch_lang(standard.sum.fn)
    kernels = _interpreted()
    monkeypatch.setattr(graphdiff.models, "kernels", kernels, raising=False)
    yield kernels
    changed.restore()


@cache
def _interpreted() -> ModuleType:
    """A second copy of the module, of which nothing is compiled."""
    spec = importlib.util.find_spec("graphdiff.models.kernels")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(module)
    return module

"""A model compiled for inference, with a cache of its own that lasts between processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import nn

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.models.compile_cache import Mark, use
from graphdiff.paths import cache_directory

M = TypeVar("M", bound=nn.Module)

_PARTS = ("encoder", "decoder")  # what is called of a model that is not called itself
_CACHE = "TORCHINDUCTOR_CACHE_DIR"  # where torch looks it up
_SHAPES = 64  # torch would run the ninth shape, or the ninth model, uncompiled
_compiling = threading.RLock()  # torch's settings hold for all threads


def compiled(model: M, *, folder: Path | None = None) -> M:
    """The same function as `model`, compiled when it is first called, and only for inference.

    On a CPU, weights are frozen into what is compiled, which folds and reorders them: it holds
    them a second time. Another shape of the inputs compiles anew, so that it pays for many calls
    of one shape alone.

    Args:
        model: A plain model, not a packed one; left as it is. Its weights are shared.
        folder: Where compiled code is kept between processes; in graphdiff's cache if None. Torch
            keeps to the first one that a process names, or to that of its environment.

    Returns:
        The compiled model.

    Raises:
        CheckpointError: This machine has no compiler.
    """
    folder = cache_directory() / "compiled" if folder is None else folder
    mark = use(folder)
    os.environ.setdefault(_CACHE, str(folder))
    _refuse_missing_compiler()
    whole = _copied(model)
    parts = {name: _copied(child) for name, child in model.named_children() if name in _PARTS}
    for name, part in parts.items():
        whole.__dict__["_modules"][name] = part
    freezes = next(model.parameters()).device.type == "cpu"
    called: list[Any] = [*(parts.values() or (whole,))]
    for part in called:
        part.compile()
        part._compiled_call_impl = _called(part._compiled_call_impl, mark, freezes=freezes)
    return whole


def _called(fast: Callable[..., Any], mark: Mark, *, freezes: bool) -> Callable[..., Any]:
    """Calls something compiled under settings that must hold when it is traced.

    Were weights frozen by an option of torch.compile, the trace would have them as inputs, and
    nothing would be frozen at all.
    """
    import torch._dynamo.config as tracing
    import torch._inductor.config as generating

    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the model takes
        with (
            _compiling,
            cast("Any", tracing).patch(recompile_limit=_SHAPES),
            cast("Any", generating).patch(freezing=freezes),
        ):
            result = fast(*args, **kwargs)
        mark.whole()
        return result

    return call


def _refuse_missing_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise CheckpointError(
            "compiling needs a C++ compiler, and there is none on this machine: install one, such "
            "as g++, or run without compile",
            expected="a C++ compiler",
        ) from error


def _copied(module: M) -> M:
    """Another module with the same parts and weights."""
    other = copy(module)
    other.__dict__["_modules"] = dict(module.__dict__["_modules"])
    return other

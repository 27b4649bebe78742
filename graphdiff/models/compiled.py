"""A model compiled for inference, with a cache of its own that lasts between processes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.models.attention import BasicTransformerBlock, SpatialAttention, Transformer2DModel
from graphdiff.models.compile_cache import Mark, use
from graphdiff.models.layers import Downsample2D, ResnetBlock2D, Upsample2D
from graphdiff.models.rearranged import rearranged
from graphdiff.paths import cache_directory

M = TypeVar("M", bound=nn.Module)

_LOG = logging.getLogger(__name__)
_PARTS = ("encoder", "decoder")  # what is called of a model that is not called itself
_CACHE = "TORCHINDUCTOR_CACHE_DIR"  # where torch looks it up
_SHAPES = 64  # torch would run the ninth shape, or the ninth model, uncompiled
_REGIONS = (ResnetBlock2D, BasicTransformerBlock, SpatialAttention, Downsample2D, Upsample2D)
_REGION_SHAPES = 512  # of one class: some fifteen for each shape of the inputs
_BACKEND: str | Callable[..., Any] = "inductor"
_compiling = threading.RLock()  # torch's settings hold for all threads


def compiled(model: M, *, by_region: bool = False, folder: Path | None = None) -> M:
    """The same function as `model`, compiled when it is first called, and only for inference.

    On a CPU, weights are frozen into what is compiled, which folds and reorders them: it holds
    them a second time. Another shape of the inputs compiles anew, so that it pays for many calls
    of one shape alone.

    By regions, the blocks that a UNet consists of are compiled, each as often as its shapes differ
    and not as often as it occurs: of SDXL's 70 transformer blocks, two. That takes a fraction of
    the time, and what is left between them is no loss where a CUDA graph launches all of it.

    Args:
        model: A plain model, not a packed or fused one; left as it is. Its weights are shared.
        by_region: Whether its blocks are compiled, and not the whole; weights are not frozen.
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
    if by_region:
        return _by_region(model, mark)
    whole = _copied(model)
    parts = {name: _copied(child) for name, child in model.named_children() if name in _PARTS}
    for name, part in parts.items():
        whole.__dict__["_modules"][name] = part
    freezes = next(model.parameters()).device.type == "cpu"
    called: list[Any] = [*(parts.values() or (whole,))]
    for part in called:
        name = type(part).__name__
        part.compile()
        part._compiled_call_impl = _called(part._compiled_call_impl, mark, name, freezes=freezes)
    return whole


def _by_region(model: M, mark: Mark) -> M:
    parts = rearranged(model, lambda _, module: _compiled_region(module))
    whole = copy(parts)
    whole.__dict__["forward"] = _called(
        parts.forward, mark, type(model).__name__, freezes=False, shapes=_REGION_SHAPES
    )
    return whole


def _compiled_region(module: nn.Module) -> nn.Module | None:
    """A block that is compiled; None for what is larger than one, or not worth it.

    A normalisation between blocks is one of its own: torch's kernel for GPUs would copy its map
    into planes and leave it so.
    """
    is_short = isinstance(module, Transformer2DModel) and len(module.transformer_blocks) == 1
    if not (is_short or isinstance(module, (*_REGIONS, nn.GroupNorm))):
        return None
    region = copy(module)
    compiling: Any = cast("Any", torch).compile
    region.__dict__["forward"] = compiling(module.forward, dynamic=False, backend=_BACKEND)
    return region


def _called(
    fast: Callable[..., Any], mark: Mark, name: str, *, freezes: bool, shapes: int = _SHAPES
) -> Callable[..., Any]:
    """Calls something compiled under settings that must hold when it is traced.

    The log is told before the first call, since that takes long.

    Were weights frozen by an option of torch.compile, the trace would have them as inputs, and
    nothing would be frozen at all.
    """
    import torch._dynamo.config as tracing
    import torch._inductor.config as generating

    is_told = False

    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the model takes
        nonlocal is_told
        if not is_told:
            is_told = True
            _LOG.info("compiling %s, which takes a minute or two the first time", name)
        with (
            _compiling,
            cast("Any", tracing).patch(
                recompile_limit=shapes, accumulated_recompile_limit=max(shapes, 256)
            ),
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

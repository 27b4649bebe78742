"""Modules from files: built without memory, then given their weights, which are read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import (
    DeviceKind,
    Dtype,
    TextualInversion,
    TokenizerFiles,
    Weights,
)
from graphdiff.checkpoints.sources import shapes_of, tensors_of
from graphdiff.checkpoints.textual_inversion import Words, vectors_of
from graphdiff.checkpoints.upload import uploads_of
from graphdiff.checkpoints.weights import load_into, loaded, match_names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from graphdiff.models.clip_tokenizer import CLIPTokenizer

ITEM_SIZES: Mapping[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
VISION = ("SafetyChecker", "DepthEstimator")  # models of transformers
TOKEN_EMBEDDING = "text_model.embeddings.token_embedding.weight"


def built(
    kind: str,
    config: Mapping[str, Any],
    weights: Weights,
    dtype: Dtype,
    device: DeviceKind,
    *,
    packs: bool = False,
) -> nn.Module:
    """A module with its weights, on its device.

    Args:
        kind: Its class.
        config: Its configuration.
        weights: Its files.
        dtype: What its weights become.
        device: Where they go.
        packs: Whether it is rearranged for a CPU's kernels, see `models.packed`; models of
            transformers never are.

    Raises:
        CheckpointError: Files are missing, damaged or of another model, or there is no such device.
    """
    import torch

    from graphdiff.models.packed import packed, reorderable

    check_device(device)
    if kind in VISION:
        from graphdiff.checkpoints.vision import load_vision

        # Never packed: what is a convolution by its class may compute something else.
        return load_vision(kind, config, weights, dtype, device)
    module = without_weights(kind, config)
    load_into(
        module,
        uploads_of(weights, config) if device == "cuda" else tensors_of(weights, config),
        dtype=getattr(torch, dtype),
        device=device,
        unmapped=reorderable(module) if packs else (),  # mapped, their pages would stay
    )
    return packed(module, consumed=True) if packs else module


def without_weights(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A module that has no memory yet."""
    import graphdiff.models as models  # the module alone: keys hold the source of what is imported
    from graphdiff.models.base import without_memory

    with without_memory():
        module: nn.Module = getattr(models, kind)(config)
    return module


def reader(
    module: nn.Module, config: Mapping[str, Any], weights: Weights, dtype: Dtype
) -> Callable[[str], Tensor]:
    """What reads a weight of a module by its name, on the CPU, each time that it is asked for.

    Args:
        module: The module; it may be without memory.
        config: Its configuration.
        weights: Its files.
        dtype: What weights become.

    Raises:
        CheckpointError: Files are missing, damaged or of another model.
    """
    import torch

    tensors = tensors_of(weights, config)
    names = match_names(module, tensors)
    to: torch.dtype = getattr(torch, dtype)
    return lambda name: loaded(tensors, names[name], dtype=to, unmapped=True)


def check_device(device: DeviceKind) -> None:
    """Refuse a device that torch does not see here."""
    import torch

    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[device]:
        raise CheckpointError(
            f"torch {torch.__version__} sees no {device} device on this machine; use "
            f"{' or '.join(name for name, there in available.items() if there)}",
            expected=tuple(name for name, there in available.items() if there),
            found=device,
        )


def size_of(weights: Weights, config: Mapping[str, Any], dtype: Dtype) -> int:
    """How many bytes a model's weights take, from headers alone."""
    return sum(size_in(dtype, shape) for shape in shapes_of(weights, config).values())


def size_in(dtype: Dtype, shape: Sequence[int]) -> int:
    """How many bytes a tensor takes."""
    return math.prod(shape) * ITEM_SIZES[dtype]


def storages(module: nn.Module) -> dict[tuple[str, int], int]:
    """The memory that a module's tensors lie in: device and address, and how many bytes."""
    return {
        (str(tensor.device), tensor.untyped_storage().data_ptr()): tensor.untyped_storage().nbytes()
        for tensor in module.state_dict().values()
        if tensor.device.type != "meta"
    }


def with_weights(module: nn.Module, changed: Mapping[str, Tensor]) -> nn.Module:
    """Another module with some weights changed, which shares all others with `module`."""
    copy = without_weights(type(module).__name__, cast("Any", module).config)
    copy.load_state_dict({**module.state_dict(), **changed}, strict=True, assign=True)
    return copy


def read_tokenizer(files: TokenizerFiles, words: Sequence[Words]) -> CLIPTokenizer:
    """A tokenizer that knows some added words.

    Raises:
        CheckpointError: A word is a token already.
    """
    from graphdiff.models.clip_tokenizer import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(files.folder)
    for word in words:
        try:
            tokenizer.add_tokens(word.tokens)
        except ValueError as error:
            raise CheckpointError(f"the textual inversion {word.token!r}: {error}") from error
    return tokenizer


def encoder_with_words(module: nn.Module, table: Tensor) -> nn.Module:
    """A text encoder with another table of vectors, which shares all else with `module`."""
    copy = without_weights(type(module).__name__, longer(cast("Any", module).config, len(table)))
    copy.load_state_dict({**module.state_dict(), TOKEN_EMBEDDING: table}, assign=True)
    return copy


def longer(config: Any, words: int) -> Any:  # noqa: ANN401 - a text encoder's config, as it is read
    """The config of a text encoder that knows so many words."""
    from dataclasses import replace

    return replace(config, vocab_size=words)


def table_with_words(
    table: Tensor,
    tokenizer: CLIPTokenizer,
    inversions: Sequence[TextualInversion],
    words: Sequence[Words],
) -> Tensor:
    """The vectors of a vocabulary with those of added words behind them.

    Args:
        table: The vectors of a text encoder.
        tokenizer: Its tokenizer, which knows the words.
        inversions: The files of the words.
        words: The words, in the same order.
    """
    more = table.new_zeros(max(len(tokenizer), len(table)), table.shape[1])
    more[: len(table)] = table
    for inversion, word in zip(inversions, words, strict=True):
        places = [tokenizer.encode(token)[0] for token in word.tokens]
        more[places] = vectors_of(inversion, word).to(more)
    return more

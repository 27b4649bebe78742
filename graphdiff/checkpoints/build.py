"""Modules from files: built without memory, then given their weights, which are read once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from graphdiff.checkpoints.weights import load_into

if TYPE_CHECKING:
    from torch import Tensor, nn

    from graphdiff.models.clip_tokenizer import CLIPTokenizer

ITEM_SIZES: Mapping[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
TOKEN_EMBEDDING = "text_model.embeddings.token_embedding.weight"


def built(
    kind: str, config: Mapping[str, Any], weights: Weights, dtype: Dtype, device: DeviceKind
) -> nn.Module:
    """A module with its weights, on its device.

    Args:
        kind: Its class.
        config: Its configuration.
        weights: Its files.
        dtype: What its weights become.
        device: Where they go.

    Raises:
        CheckpointError: Files are missing, damaged or of another model, or there is no such device.
    """
    import torch

    import graphdiff.models as models  # the module alone: keys hold the source of what is imported
    from graphdiff.models.base import without_memory

    check_device(device)
    if kind in ("SafetyChecker", "DepthEstimator"):
        from graphdiff.checkpoints.vision import load_vision

        return load_vision(kind, config, weights, dtype, device)
    with without_memory():
        module: nn.Module = getattr(models, kind)(config)
    tensors: Mapping[str, Tensor] = tensors_of(weights, config)
    load_into(module, tensors, dtype=getattr(torch, dtype), device=device)
    return module


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
    elements = sum(math.prod(shape) for shape in shapes_of(weights, config).values())
    return elements * ITEM_SIZES[dtype]


def storages(module: nn.Module) -> dict[tuple[str, int], int]:
    """The memory that a module's tensors lie in: device and address, and how many bytes."""
    return {
        (str(tensor.device), tensor.untyped_storage().data_ptr()): tensor.untyped_storage().nbytes()
        for tensor in module.state_dict().values()
    }


def with_weights(module: nn.Module, changed: Mapping[str, Tensor]) -> nn.Module:
    """Another module with some weights changed, which shares all others with `module`."""
    from graphdiff.models.base import without_memory

    with without_memory():
        copy = type(module)(cast("Any", module).config)
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


def encoder_with_words(
    module: nn.Module,
    tokenizer: CLIPTokenizer,
    inversions: Sequence[TextualInversion],
    words: Sequence[Words],
) -> nn.Module:
    """A text encoder with the vectors of added words behind its vocabulary.

    Args:
        module: The text encoder, which is left as it is.
        tokenizer: Its tokenizer, which knows the words.
        inversions: The files of the words.
        words: The words, in the same order.
    """
    from dataclasses import replace

    from graphdiff.models.base import without_memory

    table = cast("Tensor", module.state_dict()[TOKEN_EMBEDDING])
    longer = table.new_zeros(max(len(tokenizer), len(table)), table.shape[1])
    longer[: len(table)] = table
    for inversion, word in zip(inversions, words, strict=True):
        places = [tokenizer.encode(token)[0] for token in word.tokens]
        longer[places] = vectors_of(inversion, word).to(longer)
    config = replace(cast("Any", module).config, vocab_size=len(longer))
    with without_memory():
        copy = type(module)(config)
    copy.load_state_dict({**module.state_dict(), TOKEN_EMBEDDING: longer}, assign=True)
    return copy

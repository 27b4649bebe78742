"""Prompts to vectors: what the text encoders of a family give for some texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from graphdiff.checkpoints.handles import TextEncoder
from graphdiff_nodes.prompts import Chunk, plain, weighted

if TYPE_CHECKING:
    from torch import Tensor

    from graphdiff.checkpoints.pool import LoadedEncoder

Syntax = Literal["plain", "weighted"]
_Reader = Callable[..., list[Chunk]]


def encode(
    encoder: TextEncoder,
    texts: Sequence[Sequence[str]],
    *,
    clip_skip: int = 0,
    syntax: Syntax = "plain",
) -> tuple[Tensor, Tensor | None]:
    """Encode prompts.

    Args:
        encoder: The text encoders.
        texts: For each encoder its texts, as many for each.
        clip_skip: How many of the last layers to leave out.
        syntax: Whether parentheses are weights, and long prompts go on in further chunks.

    Returns:
        A vector for each token, (texts, tokens, width), and one for each text, (texts, width), for
        families that use one.
    """
    import torch

    from graphdiff.checkpoints.pool import pool

    read: _Reader = weighted if syntax == "weighted" else plain
    sequences: list[Tensor] = []
    pooled: Tensor | None = None
    for loaded, own in zip(pool().module(encoder), texts, strict=True):
        chunks = [read(loaded.expand(text), loaded.tokenizer) for text in own]
        sequence, pooled = _encode(encoder, loaded, chunks, clip_skip)
        sequences.append(sequence)
    longest = max(sequence.shape[1] for sequence in sequences)
    if any(sequence.shape[1] != longest for sequence in sequences):
        sequences = [_filled(sequence, longest) for sequence in sequences]
    return torch.cat(sequences, dim=-1), pooled if encoder.pooled_width else None


def _encode(
    encoder: TextEncoder, loaded: LoadedEncoder, chunks: list[list[Chunk]], clip_skip: int
) -> tuple[Tensor, Tensor]:
    """Run one encoder over all chunks of all texts at once."""
    import torch

    most = max(len(each) for each in chunks)
    empty = plain("", loaded.tokenizer)[0]
    rows = [chunk for each in chunks for chunk in (*each, *[empty] * (most - len(each)))]
    weights = torch.tensor([chunk.weights for chunk in rows])  # (N * chunks, L)
    is_weighted = bool((weights != 1).any())  # known on the CPU: no device is asked
    if is_weighted:
        rows.append(empty)
    states, pooled = _run(encoder, loaded, [chunk.ids for chunk in rows], clip_skip)
    if is_weighted:
        states, neutral, pooled = states[:-1], states[-1:], pooled[:-1]
        states = neutral + (states - neutral) * weights[:, :, None].to(states)
    texts = len(chunks)
    sequence = states.reshape(texts, most * states.shape[1], states.shape[2])
    return sequence, pooled.reshape(texts, most, -1)[:, 0]


def _run(
    encoder: TextEncoder,
    loaded: LoadedEncoder,
    ids: Sequence[Sequence[int]],
    clip_skip: int,
) -> tuple[Tensor, Tensor]:
    import torch

    model, tokenizer = loaded.model, loaded.tokenizer
    tokens = torch.tensor(ids).to(model.device, non_blocking=True)  # (N, L)
    mask = None
    if model.config.get("use_attention_mask"):
        ends = [row.index(tokenizer.eos_token_id, 1) for row in map(tuple, ids)]
        mask = torch.tensor([[int(i <= end) for i in range(len(ids[0]))] for end in ends])
        mask = mask.to(model.device, non_blocking=True)
    output = model(tokens, mask)
    whole = output.pooler_output if output.text_embeds is None else output.text_embeds
    if encoder.family.startswith("sdxl"):
        return _layer(output.hidden_states, clip_skip + 2), whole
    if clip_skip == 0:
        return output.last_hidden_state, whole
    skipped = _layer(output.hidden_states, clip_skip + 1)
    return model.text_model.final_layer_norm(skipped), whole


def _layer(states: Sequence[Tensor], from_end: int) -> Tensor:
    if from_end > len(states):
        raise ValueError(
            f"clip_skip leaves out more layers than there are: this text encoder has "
            f"{len(states) - 1}"
        )
    return states[-from_end]


def _filled(sequence: Tensor, length: int) -> Tensor:
    """Lengthen sequences with zeros, where two encoders need different numbers of chunks."""
    import torch

    return torch.nn.functional.pad(sequence, (0, 0, 0, length - sequence.shape[1]))

"""Textual inversions: new words and the vectors they stand for, in the three usual formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import ClipEncoder, TextEncoder, TextualInversion
from graphdiff.checkpoints.headers import Header, read_header
from graphdiff.checkpoints.weights import MappedTensors

if TYPE_CHECKING:
    from torch import Tensor

# The keys under which files keep vectors: A1111's for one encoder, the two of SDXL, raw tensors.
A1111_KEYS = ("string_to_param.*", "emb_params")
SDXL_KEYS = ("clip_l", "clip_g")


@dataclass(frozen=True, slots=True)
class Words:
    """The words that a file brings for one encoder.

    Args:
        token: The word that prompts say.
        key: The key of its vectors in the file.
        count: How many vectors it has.
        width: How wide they are.
    """

    token: str
    key: str
    count: int
    width: int

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that it stands for: `word`, `word_1`, ..., one a vector."""
        return (self.token, *(f"{self.token}_{i}" for i in range(1, self.count)))

    def expand(self, text: str) -> str:
        """A prompt with the word written as all of its tokens."""
        return text.replace(self.token, " ".join(self.tokens))


def token_of(path: Path) -> str:
    """The word that a file names: its single key, the name in its notes, or that of the file.

    Raises:
        CheckpointError: The file is damaged.
    """
    header = read_header(path)
    keys = list(header.tensors)
    noted = header.metadata.get("name")
    if noted:
        return noted
    if len(keys) == 1 and keys[0] not in (*A1111_KEYS, *SDXL_KEYS):
        return keys[0]
    return path.stem


def words_for(inversion: TextualInversion, encoder: ClipEncoder) -> Words:
    """The words of a file for one encoder, chosen by their width.

    Raises:
        CheckpointError: It has no vectors of this encoder's width.
    """
    header = read_header(inversion.file.path)
    vectors = _vectors(header)
    fitting = [key for key, (_, width) in vectors.items() if width == encoder.width]
    if len(fitting) != 1:
        found = {key: width for key, (_, width) in vectors.items()}
        raise CheckpointError(
            f"{header.path}: a text encoder of width {encoder.width} needs one set of vectors of "
            f"that width, this file has {found or 'no vectors'}; is it for another family?",
            file=header.path,
            expected=encoder.width,
            found=found,
        )
    count, width = vectors[fitting[0]]
    return Words(inversion.token, fitting[0], count, width)


def check_inversion(inversion: TextualInversion, text_encoder: TextEncoder) -> tuple[Words, ...]:
    """The words of a file for each encoder, from its header alone.

    Raises:
        CheckpointError: It has no vectors for one of them.
    """
    return tuple(words_for(inversion, encoder) for encoder in text_encoder.encoders)


def vectors_of(inversion: TextualInversion, words: Words) -> Tensor:
    """The vectors of a word, shape (count, width)."""
    tensor = MappedTensors([inversion.file.path])[words.key]
    return tensor.reshape(words.count, words.width)


def _vectors(header: Header) -> Mapping[str, tuple[int, int]]:
    """How many vectors of which width each key has."""
    return {
        key: (info.shape[0] if len(info.shape) == 2 else 1, info.shape[-1])
        for key, info in header.tensors.items()
        if len(info.shape) in (1, 2)
    }

"""New words of a pipeline's text encoders: learned and forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from graphdiff.checkpoints.open import open_textual_inversion
from graphdiff.pipelines.files import found_file, is_several
from graphdiff.pipelines.setup import Setup
from graphdiff.pipelines.written import Place

if TYPE_CHECKING:
    import torch

WordFile: TypeAlias = "str | Path | Mapping[str, torch.Tensor]"


class Teachable:
    """A pipeline whose text encoders can learn words."""

    _setup: Setup
    _places: tuple[Place, ...]

    def load_textual_inversion(
        self,
        pretrained_model_name_or_path: WordFile | Sequence[WordFile],
        token: str | Sequence[str] | None = None,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        """Teach the text encoder new words.

        Args:
            pretrained_model_name_or_path: The file of a word's vectors, a folder, a hub id, or
                the vectors by their word; or several.
            token: The word to write in prompts; what the file calls it where None. One for each.
            weight_name: The file's name in that folder or repository.
            subfolder: The folder that it lies in there.
            revision: A branch, tag or commit of a hub id.
            local_files_only: Do not reach the network.

        Raises:
            CheckpointError: It is not there, damaged, or for another encoder.
            ValueError: The encoder knows the word already, or there are not as many words as files.
        """
        given: Any = pretrained_model_name_or_path
        places: list[Any] = [*given] if is_several(pretrained_model_name_or_path) else [given]
        several = token is not None and not isinstance(token, str)
        tokens = list(cast("Sequence[str]", token)) if several else [token] * len(places)
        if len(tokens) != len(places) or (len(places) > 1 and isinstance(token, str)):
            raise ValueError(
                f"{len(places)} files, but {len(tokens) if several else 1} tokens: give as many"
            )
        words = list(self._setup.words)
        for place, word in zip(places, tokens, strict=True):
            file, made = found_file(
                place,
                (subfolder, weight_name),
                revision=revision,
                token=None,
                local_files_only=local_files_only,
            )
            self._places = (*self._places, *made)
            found = open_textual_inversion(
                file,
                token=cast("str | None", word),
                text_encoder=self._setup.checkpoint.text_encoder,
            )
            if any(found.token == known for _, known in words):
                raise ValueError(
                    f"there is a word {found.token!r} already: give this one another token, or "
                    f"take that one out with unload_textual_inversion({found.token!r})"
                )
            words.append((str(found.file.path), found.token))
        self._setup = replace(self._setup, words=tuple(words))

    def unload_textual_inversion(self, tokens: str | Sequence[str] | None = None) -> None:
        """Let the text encoder forget new words.

        Args:
            tokens: The words; all where None.

        Raises:
            ValueError: It knows no such word.
        """
        known = [word for _, word in self._setup.words]
        named = [tokens] if isinstance(tokens, str) else known if tokens is None else list(tokens)
        strange = [word for word in named if word not in known]
        if strange:
            raise ValueError(
                f"there is no new word {', '.join(strange)}; there are {', '.join(known) or 'none'}"
            )
        kept = tuple(row for row in self._setup.words if row[1] not in named)
        self._setup = replace(self._setup, words=kept)

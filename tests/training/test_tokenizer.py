"""A vocabulary learned here reads the same in graphdiff and in transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from graphdiff.models import CLIPTokenizer
from training.tokenizer import CONTEXT, write_tokenizer

TEXTS = ["a red apple", "a blue car on a sky blue background", "a 3d cat", "a flat cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of four texts."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, TEXTS * 5)
    return folder


def test_learned_words_are_one_token_each(folder: Path) -> None:
    (ids,) = CLIPTokenizer.from_pretrained(folder)(["a red apple"], padding=False)
    assert len(ids) == 5


@pytest.mark.parametrize("text", [*TEXTS, "", "Ünknown xylophones, 42!", "a " * 50])
def test_transformers_gives_the_same_ids(folder: Path, text: str) -> None:
    (ours,) = CLIPTokenizer.from_pretrained(folder)([text])
    theirs = AutoTokenizer.from_pretrained(folder)(
        text, padding="max_length", max_length=CONTEXT, truncation=True
    )
    assert ours == theirs["input_ids"]
    assert len(ours) == CONTEXT

"""Learn a small byte-pair vocabulary and write it in CLIP's layout."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

CONTEXT = 32
"""Tokens a prompt may have, both ends included."""

VOCABULARY = 2000

_START, _END = "<|startoftext|>", "<|endoftext|>"
# CLIP's own way of cutting text into words.
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def _bytes_in_order() -> list[str]:
    """CLIP's 256 letters: bytes that print stand for themselves, others are moved up by 256."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]


def write_tokenizer(folder: Path, texts: Iterable[str]) -> int:
    """Learn merges from `texts`; gives the size of the vocabulary.

    Writes vocab.json, merges.txt, tokenizer.json and the two configs that transformers read.
    """
    letters = _bytes_in_order()
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - 2,
            initial_alphabet=sorted(letters),
            end_of_word_suffix="</w>",
            special_tokens=[],
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    merges = merges[: VOCABULARY - 2 * len(letters) - 2]
    entries = letters + [letter + "</w>" for letter in letters]
    entries += [first + second for first, second in merges] + [_START, _END]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}

    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END}
    config = special | {
        "model_max_length": CONTEXT,
        "tokenizer_class": "CLIPTokenizer",
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), "utf-8")
    _write_fast(folder)
    return len(vocabulary)


def _write_fast(folder: Path) -> None:
    """Write tokenizer.json, the one file that the newest transformers write, from the others."""
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(folder)
    fast.backend_tokenizer.save(str(folder / "tokenizer.json"))

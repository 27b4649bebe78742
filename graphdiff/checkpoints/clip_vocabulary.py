"""The vocabulary of OpenAI's CLIP, for single files, which bring no tokenizer."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

from graphdiff.paths import cache_directory, write_atomically

MERGES = Path(__file__).parent / "configs" / "clip_merges.txt.gz"
MAX_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer_folder(pad_token: str = END) -> Path:
    """A folder with CLIP's tokenizer as transformers writes one, made in the cache at first.

    Args:
        pad_token: What fills a text up: the end token, or `!` (token 0) for OpenCLIP's encoders.
    """
    stamp = hashlib.sha256(MERGES.read_bytes() + pad_token.encode()).hexdigest()[:16]
    folder = cache_directory() / "tokenizers" / f"clip-{stamp}"
    special = {
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": pad_token,
    }
    settings = special | {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
    }
    if not (folder / "special_tokens_map.json").exists():  # written last
        merges = gzip.decompress(MERGES.read_bytes()).decode().splitlines()
        write_atomically(folder / "vocab.json", _json(_vocabulary(merges)))
        write_atomically(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]).encode())
        write_atomically(folder / "tokenizer_config.json", _json(settings))
        write_atomically(folder / "special_tokens_map.json", _json(special))
    return folder


def _vocabulary(merges: list[str]) -> dict[str, int]:
    """The number of each token: bytes, bytes that end a word, merged pairs, start and end."""
    letters = list(_byte_letters())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [merge.replace(" ", "") for merge in merges]
    return {token: number for number, token in enumerate([*tokens, START, END])}


def _byte_letters() -> str:
    """A printable letter for each byte: itself where it is one, in the order of the vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return "".join(map(chr, printable)) + "".join(chr(256 + i) for i in range(len(rest)))


def _json(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, indent=None).encode()

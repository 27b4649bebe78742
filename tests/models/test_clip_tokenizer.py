from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.models import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
CORPUS = [
    "a photo of a cat and a dog, it's raining; they're happy!",
    "the quick brown fox jumps over the lazy dog's back 1234567890",
    "an oil painting of an astronaut riding a horse on mars, trending",
    "naïve café über straße emoji 🍎 🚀 日本語 <b>html</b> &amp; #tag @me",
]
RANDOM = random.Random(0)
RANGES = [(32, 127), (32, 127), (160, 0x3000), (0x1F300, 0x1F700)]
TEXTS = [
    "",
    " ",
    "a photo of a cat",
    "A PHOTO of a CaT!!",
    "hello   world\n\t x ",
    "naïve café — ½ ﬁ",
    "e\u0301 combining É and İstanbul ǅ ß",
    "emoji 🍎🚀👩‍👩‍👧 ok",
    "日本語 テキスト \uff46\uff55\uff4c\uff4c \uff37idth",
    "it's they're I'd we'll o'clock 's",
    f"{START} hi {END} there",
    "<|ENDOFTEXT|> <|StartOfText|>",
    "&lt;b&gt;html &amp; <b>x</b>",
    "12345 3.14 v2.0",
    "a" * 400,
    "word " * 200,
    "\u0000\u200b zero",
    "!important ! a!",
    "*** (((x))) [y] {z} #tag @me",
    "\r\n\x0b\x0c\u00a0\u2028nbsp",
    "a_b-c.d,e;f:g",
    *(
        "".join(chr(RANDOM.randrange(*RANDOM.choice(RANGES))) for _ in range(RANDOM.randrange(40)))
        for _ in range(100)
    ),
]


def token(content: str, **flags: bool) -> dict[str, Any]:
    usual = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {"content": content} | usual | flags


NAMED = {"bos_token": token(START), "eos_token": token(END), "unk_token": token(END)}
# The files of published checkpoints, beside vocab.json and merges.txt.
FORMS: dict[str, dict[str, Any]] = {
    "bare": {},
    "sd1": {
        "special_tokens_map.json": NAMED | {"pad_token": END},
        "tokenizer_config.json": {
            key: {"__type": "AddedToken"} | value for key, value in NAMED.items()
        }
        | {"model_max_length": 24, "pad_token": END, "tokenizer_class": "CLIPTokenizer"},
    },
    "sd2": {
        "special_tokens_map.json": NAMED | {"pad_token": "!"},
        "tokenizer_config.json": {"model_max_length": 24, "pad_token": END},
    },
    "sdxl 2": {
        "special_tokens_map.json": {"pad_token": "!"},
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "0": token("!", normalized=False, special=True),
                "START": token(START, special=True),
                "END": token(END, special=True),
            },
            "bos_token": START,
            "eos_token": END,
            "unk_token": END,
            "pad_token": "!",
            "model_max_length": 24,
        },
    },
    "new words": {
        "added_tokens.json": {"<cat>": 0, "<dog>": 1},
        "tokenizer_config.json": {"model_max_length": 24},
    },
}


@pytest.fixture(scope="module")
def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator([text.lower() for text in CORPUS], trainer)
    model = json.loads(trained.to_str())["model"]
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(left, right) for left, right in model["merges"]]
    words = ["!", *signs, *(f"{sign}</w>" for sign in signs)]
    words += ["".join(pair) for pair in merges] + [START, END]
    return {word: i for i, word in enumerate(dict.fromkeys(words))}, merges


def write(
    folder: Path, vocabulary: tuple[dict[str, int], list[tuple[str, str]]], form: str
) -> Path:
    words, merges = vocabulary
    (folder / "vocab.json").write_text(json.dumps(words))
    lines = "\n".join(" ".join(pair) for pair in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n")
    for name, content in FORMS[form].items():
        text = json.dumps(content).replace('"START"', f'"{words[START]}"')
        text = text.replace('"END"', f'"{words[END]}"')
        if name == "added_tokens.json":
            text = json.dumps({word: len(words) + i for word, i in content.items()})
        (folder / name).write_text(text)
    return folder


def assert_same(folder: Path) -> None:
    ours = CLIPTokenizer.from_pretrained(folder)
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    assert len(ours) == len(theirs)
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id) == (
        theirs.bos_token_id,
        theirs.eos_token_id,
        theirs.pad_token_id,
    )
    options: dict[str, Any] = {"padding": "max_length", "truncation": True}
    for length in (ours.model_max_length, 40, 3):
        found = ours(TEXTS, max_length=length)
        assert found == theirs(TEXTS, max_length=length, **options).input_ids
        assert {len(ids) for ids in found} == {length}
    found = ours(TEXTS, padding=False, truncation=False)
    assert found == theirs(TEXTS).input_ids
    assert [ours.decode(ids) for ids in found] == [theirs.decode(ids) for ids in found]
    alone = [ours.encode(text) for text in TEXTS]
    assert alone == theirs(TEXTS, add_special_tokens=False).input_ids


@pytest.mark.parametrize("form", FORMS)
def test_ids_are_those_of_transformers(
    form: str, vocabulary: tuple[dict[str, int], list[tuple[str, str]]], tmp_path: Path
) -> None:
    assert_same(write(tmp_path, vocabulary, form))


@pytest.mark.parametrize("form", FORMS)
def test_a_tokenizer_json_gives_the_same(
    form: str, vocabulary: tuple[dict[str, int], list[tuple[str, str]]], tmp_path: Path
) -> None:
    source = write(tmp_path, vocabulary, form)
    old = CLIPTokenizer.from_pretrained(source)
    theirs = transformers.CLIPTokenizer.from_pretrained(source)
    theirs.save_pretrained(tmp_path / "new")
    assert (tmp_path / "new" / "tokenizer.json").is_file()
    assert not (tmp_path / "new" / "vocab.json").is_file()
    assert_same(tmp_path / "new")
    length: dict[str, Any] = {"max_length": 24}
    assert CLIPTokenizer.from_pretrained(tmp_path / "new")(TEXTS, **length) == old(TEXTS, **length)


def test_new_words_are_found_before_anything_else(
    vocabulary: tuple[dict[str, int], list[tuple[str, str]]], tmp_path: Path
) -> None:
    folder = write(tmp_path, vocabulary, "sd1")
    ours = CLIPTokenizer.from_pretrained(folder)
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    words = ["<cat-toy>", "<cat-toy>_1", "zyx"]
    size = len(ours)
    assert ours.add_tokens(words) == [size, size + 1, size + 2]
    theirs.add_tokens(words)
    texts = ["a <cat-toy> zyx zyxx and azyx", "<CAT-TOY> <cat-toy>_1<cat-toy>", "ZYX"]
    assert ours(texts, padding=False) == theirs(texts).input_ids
    assert "zyx" in ours
    assert "xyz" not in ours
    with pytest.raises(ValueError, match="'zyx' is a token already"):
        ours.add_tokens(["zyx"])


def test_one_text_is_a_batch_of_one(
    vocabulary: tuple[dict[str, int], list[tuple[str, str]]], tmp_path: Path
) -> None:
    ours = CLIPTokenizer.from_pretrained(
        write(tmp_path, vocabulary, "sd2").parent, subfolder=tmp_path.name
    )
    (ids,) = ours("a cat")
    assert len(ids) == ours.model_max_length == 24
    assert ids[-1] == ours.pad_token_id == 0
    assert ours.decode(ours.encode("A  Cat")) == "a cat"


def test_a_tokenizer_can_be_made_from_a_vocabulary_alone(
    vocabulary: tuple[dict[str, int], list[tuple[str, str]]], tmp_path: Path
) -> None:
    plain = CLIPTokenizer(*vocabulary)
    read = CLIPTokenizer.from_pretrained(write(tmp_path, vocabulary, "bare"))
    assert plain(TEXTS) == read(TEXTS)
    end = AddedToken("</end>", special=True)
    with pytest.raises(CheckpointError, match=r"has no '</other>'"):
        CLIPTokenizer(*vocabulary, special={"eos_token": end}, added=[end])._id("</other>")


def test_a_folder_without_a_clip_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer here"):
        CLIPTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram", "vocab": []}}')
    with pytest.raises(CheckpointError, match="a tokenizer of type Unigram; CLIP's is byte-pair"):
        CLIPTokenizer.from_pretrained(tmp_path)

"""CLIP's tokenizer: text to token ids by byte-level byte-pair encoding, as transformers does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.models.configs import read_json

if TYPE_CHECKING:
    from tokenizers import AddedToken

START, END = "<|startoftext|>", "<|endoftext|>"
# Words, single digits, runs of other signs; English endings stand alone.
SPLIT = rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+".replace(
    "<|", r"<\|"
).replace("|>", r"\|>")
NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")


class CLIPTokenizer:
    """Turns texts into token ids: start, words, end, then padding.

    Args:
        vocabulary: The id of each token.
        merges: Pairs of tokens, in the order in which they are joined.
        special: The names of `bos_token`, `eos_token`, `unk_token` and `pad_token`, where they are
            not the usual ones.
        added: Tokens with ids of their own that are found in a text before anything else.
        model_max_length: How many ids a text becomes; what is longer is cut.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        *,
        special: Mapping[str, str | AddedToken] | None = None,
        added: Sequence[AddedToken] = (),
        model_max_length: int = 77,
    ) -> None:
        from tokenizers import AddedToken, Regex, Tokenizer, models
        from tokenizers import normalizers as normal
        from tokenizers import pre_tokenizers as split
        from tokenizers.processors import RobertaProcessing

        names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
        named: list[AddedToken] = []  # those of one name too: the last one's flags count
        for key, token in (names | dict(special or {})).items():
            token = AddedToken(token, special=True) if isinstance(token, str) else token
            names[key] = token.content
            named.append(token)
        given = {token.content for token in added}
        self._tokenizer: Any = Tokenizer(
            models.BPE(
                vocab=dict(vocabulary),
                merges=list(merges),
                continuing_subword_prefix="",
                end_of_word_suffix="</w>",
                unk_token=names["unk_token"],
            )
        )
        self._tokenizer.normalizer = normal.Sequence(
            [normal.NFC(), normal.Replace(Regex(r"\s+"), " "), normal.Lowercase()]
        )
        self._tokenizer.pre_tokenizer = split.Sequence(
            [
                split.Split(Regex(SPLIT), behavior="removed", invert=True),
                split.ByteLevel(add_prefix_space=False),
            ]
        )
        self._tokenizer.add_tokens(
            [*added, *(token for token in named if token.content not in given)]
        )
        self.model_max_length = model_max_length
        self.bos_token_id = self._id(names["bos_token"])
        self.eos_token_id = self._id(names["eos_token"])
        self.pad_token_id = self._id(names["pad_token"])
        self._tokenizer.post_processor = RobertaProcessing(
            (names["eos_token"], self.eos_token_id),
            (names["bos_token"], self.bos_token_id),
            False,
            False,
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, subfolder: str | None = None) -> CLIPTokenizer:
        """Read a tokenizer's folder: tokenizer.json, or vocab.json and merges.txt.

        Args:
            folder: The folder.
            subfolder: Where in it the tokenizer lies.

        Raises:
            CheckpointError: There is no vocabulary, or it is of another kind of tokenizer.
        """
        folder = Path(folder) / (subfolder or "")
        whole = folder / "tokenizer.json"
        if whole.is_file():
            content = read_json(whole)
            vocabulary, merges = _from_tokenizer_json(whole, content)
        else:
            content = {}
            vocabulary, merges = _from_vocabulary(folder)
        settings = _optional_json(folder / "tokenizer_config.json")
        if "added_tokens_decoder" not in settings:  # else the files below are not up to date
            settings |= _optional_json(folder / "special_tokens_map.json")
        added = _added_tokens(folder, settings, content)
        by_content = {token.content: token for token in added}
        special = {
            key: by_content.get(_content(settings[key]), _as_token(settings[key]))
            for key in NAMED
            if settings.get(key) is not None
        }
        return cls(
            vocabulary,
            merges,
            special=special,
            added=added,
            # Files without a limit say a number of thirty digits; CLIP reads 77.
            model_max_length=min(settings.get("model_max_length") or 77, 2**16),
        )

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        max_length: int | None = None,
        padding: bool = True,
        truncation: bool = True,
    ) -> list[list[int]]:
        """The ids of each text, start and end included.

        Args:
            texts: One text or several.
            max_length: How many ids each becomes; `model_max_length` if not given.
            padding: Whether shorter ones are filled up.
            truncation: Whether longer ones are cut; the end token stays.
        """
        length = self.model_max_length if max_length is None else max_length
        batch = [texts] if isinstance(texts, str) else list(texts)
        rows: list[list[int]] = []
        for encoding in self._tokenizer.encode_batch(batch):
            ids: list[int] = encoding.ids
            if truncation and len(ids) > length:
                ids = [*ids[: length - 1], self.eos_token_id]
            if padding:
                ids = ids + [self.pad_token_id] * (length - len(ids))
            rows.append(ids)
        return rows

    def encode(self, text: str) -> list[int]:
        """The ids of a text alone: no start, no end, neither filled up nor cut."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids stand for, lower case, with a space after each word."""
        from tokenizers.decoders import ByteLevel

        pieces = [self._tokenizer.id_to_token(i) or "" for i in ids]
        return ByteLevel().decode(pieces).replace("</w>", " ").strip()

    def add_tokens(self, names: Sequence[str]) -> list[int]:
        """Add words that are found in a text before anything else, and say which ids they have.

        Raises:
            ValueError: A word is a token already.
        """
        taken = [name for name in names if self._tokenizer.token_to_id(name) is not None]
        if taken:
            raise ValueError(f"{taken[0]!r} is a token already; choose another word for it")
        self._tokenizer.add_tokens(list(names))
        return [self._id(name) for name in names]

    def __len__(self) -> int:
        size: int = self._tokenizer.get_vocab_size()
        return size

    def __contains__(self, token: str) -> bool:
        return self._tokenizer.token_to_id(token) is not None

    def _id(self, token: str) -> int:
        found: int | None = self._tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(f"this tokenizer's vocabulary has no {token!r}", found=token)
        return found


def _from_tokenizer_json(
    path: Path, content: dict[str, Any]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model: dict[str, Any] = content.get("model") or {}
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise CheckpointError(
            f"{path}: a tokenizer of type {model.get('type')}; CLIP's is byte-pair encoding (BPE)",
            file=path,
            expected="BPE",
            found=model.get("type"),
        )
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    return model["vocab"], [(left, right) for left, right in pairs]


def _from_vocabulary(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    merges = folder / "merges.txt"
    if not (folder / "vocab.json").is_file() or not merges.is_file():
        raise CheckpointError(
            f"{folder}: no tokenizer here; expected tokenizer.json, or vocab.json with merges.txt",
            file=folder,
            expected="tokenizer.json",
        )
    lines = merges.read_text(encoding="utf-8").split("\n")
    pairs = [line.split() for line in lines if line and not line.startswith("#version")]
    return read_json(folder / "vocab.json"), [(left, right) for left, right in pairs]


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _added_tokens(
    folder: Path, settings: Mapping[str, Any], content: Mapping[str, Any]
) -> list[AddedToken]:
    """The added tokens in the order of their ids, from whichever file tells."""
    from tokenizers import AddedToken

    found: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in settings:
        for i, token in settings["added_tokens_decoder"].items():
            found[int(i)] = _as_token(token)
    else:
        named = {_content(settings[key]) for key in NAMED if settings.get(key) is not None}
        for name, i in _optional_json(folder / "added_tokens.json").items():
            is_named = name in named
            found[i] = AddedToken(name, normalized=not is_named, special=is_named)
        for token in content.get("added_tokens", ()):
            found[token["id"]] = _as_token(token)
    return [found[i] for i in sorted(found)]


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _as_token(token: str | Mapping[str, Any]) -> AddedToken:
    from tokenizers import AddedToken

    if isinstance(token, str):
        return AddedToken(token, special=True)
    names = ("single_word", "lstrip", "rstrip", "normalized")
    flags: dict[str, Any] = {name: bool(token[name]) for name in names if name in token}
    return AddedToken(token["content"], special=bool(token.get("special", True)), **flags)

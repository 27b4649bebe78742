"""New words for text encoders, in each format, held against diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from graphdiff.checkpoints.convert import convert
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.open import open_checkpoint, open_textual_inversion
from graphdiff.checkpoints.pool import WeightsPool

PROMPT = "a photo of <hat>, in the rain"


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(3, 32, generator=torch.Generator().manual_seed(3))


def write(form: str, vectors: torch.Tensor, folder: Path) -> Path:
    if form == "token":
        save_file({"<hat>": vectors}, folder / "hat.safetensors")
    elif form == "a1111 safetensors":
        save_file({"emb_params": vectors}, folder / "hat.safetensors")
    else:
        pickles: dict[str, Any] = {
            "raw": vectors,
            "a1111": {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}}
            | {"name": "<hat>", "step": 100},
            "token pickle": {"<hat>": vectors},
        }
        torch.save(pickles[form], folder / "hat.pt")
        (done,) = convert(folder / "hat.pt")
        return done.target
    return folder / "hat.safetensors"


@pytest.mark.parametrize("form", ["token", "token pickle", "a1111", "a1111 safetensors", "raw"])
def test_a_prompt_with_the_word_is_encoded_as_diffusers_does(
    form: str, vectors: torch.Tensor, sd1: Path, tmp_path: Path
) -> None:
    import diffusers

    theirs = diffusers.StableDiffusionPipeline.from_pretrained(sd1)
    theirs.load_textual_inversion({"<hat>": vectors}, token="<hat>")
    text = theirs.maybe_convert_prompt(PROMPT, theirs.tokenizer)
    asked = theirs.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
    wanted = theirs.text_encoder(asked)[0]
    checkpoint = open_checkpoint(sd1, device="cpu")
    assert checkpoint.text_encoder is not None
    # Files that name no word are given one.
    token = None if form in ("token", "token pickle", "a1111") else "<hat>"
    inversion = open_textual_inversion(
        write(form, vectors, tmp_path), token=token, text_encoder=checkpoint.text_encoder
    )
    assert inversion.token == "<hat>"
    pool = WeightsPool()
    (encoder,) = pool.module(checkpoint.text_encoder.patched(inversion))
    ids = torch.tensor(encoder.tokenizer(encoder.expand(PROMPT)))
    assert torch.equal(ids, asked)
    with torch.no_grad():
        torch.testing.assert_close(encoder.model(ids).last_hidden_state, wanted)


def test_the_encoder_without_the_word_is_left_as_it_is(
    vectors: torch.Tensor, sd1: Path, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(sd1, device="cpu")
    assert checkpoint.text_encoder is not None
    pool = WeightsPool()
    (plain,) = pool.module(checkpoint.text_encoder)
    before = plain.tokenizer(PROMPT)
    inversion = open_textual_inversion(write("token", vectors, tmp_path))
    (taught,) = pool.module(checkpoint.text_encoder.patched(inversion))
    assert plain.tokenizer(PROMPT) == before
    assert taught.model is not plain.model
    key = "text_model.encoder.layers.0.mlp.fc1.weight"
    left, right = (found.model.state_dict()[key] for found in (plain, taught))
    assert left.data_ptr() == right.data_ptr()


def test_sdxl_takes_the_vectors_of_each_encoder_by_their_width(sdxl: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(sdxl, device="cpu")
    assert checkpoint.text_encoder is not None
    first, second = torch.ones(2, 32), torch.ones(2, 40) * 2
    save_file({"clip_l": first, "clip_g": second}, tmp_path / "tophat.safetensors")
    inversion = open_textual_inversion(
        tmp_path / "tophat.safetensors", text_encoder=checkpoint.text_encoder
    )
    assert inversion.token == "tophat"
    encoders = WeightsPool().module(checkpoint.text_encoder.patched(inversion))
    for encoder, value in zip(encoders, (1.0, 2.0), strict=True):
        places = [encoder.tokenizer.encode(word)[0] for word in ("tophat", "tophat_1")]
        table = encoder.model.text_model.embeddings.token_embedding.weight
        assert (table[places] == value).all()


def test_vectors_of_another_width_are_refused(sd1: Path, tmp_path: Path) -> None:
    save_file({"<hat>": torch.ones(1, 48)}, tmp_path / "hat.safetensors")
    encoder = open_checkpoint(sd1, device="cpu").text_encoder
    with pytest.raises(CheckpointError, match="width 32") as caught:
        open_textual_inversion(tmp_path / "hat.safetensors", text_encoder=encoder)
    assert caught.value.expected == 32


def test_a_word_that_is_a_token_already_is_refused(sd1: Path, tmp_path: Path) -> None:
    save_file({"x": torch.ones(1, 32)}, tmp_path / "hat.safetensors")
    checkpoint = open_checkpoint(sd1, device="cpu")
    assert checkpoint.text_encoder is not None
    inversion = open_textual_inversion(tmp_path / "hat.safetensors", token="photo</w>")
    with pytest.raises(CheckpointError, match="token already"):
        WeightsPool().module(checkpoint.text_encoder.patched(inversion))

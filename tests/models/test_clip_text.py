from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from graphdiff.models import CLIPTextModel, CLIPTextModelWithProjection
from tests.models.reference import assert_equal, randomise

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:transformers")

TINY: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "projection_dim": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "bos_token_id": 98,
    "eos_token_id": 99,
}
CLASSES: list[tuple[type[CLIPTextModel], Any]] = [
    (CLIPTextModel, transformers.CLIPTextModel),
    (CLIPTextModelWithProjection, transformers.CLIPTextModelWithProjection),
]
# The end token pads, or another does, or there is none behind the text.
IDS = torch.tensor([[98, 5, 6, 99, 99, 99], [98, 7, 99, 0, 0, 0], [98, 7, 8, 9, 4, 99]])


def pair(
    ours: type[CLIPTextModel], theirs: Any, folder: Path, **keys: Any
) -> tuple[CLIPTextModel, Any]:
    config = transformers.CLIPTextConfig(**(TINY | keys))
    reference = randomise(theirs(config))
    reference.save_pretrained(folder)
    return ours.from_pretrained(folder), reference


@torch.no_grad()
@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"hidden_act": "gelu", "layer_norm_eps": 1e-3},
        {"eos_token_id": 2, "bos_token_id": 0},
        {"projection_dim": 64, "num_hidden_layers": 1},
    ],
    ids=str,
)
def test_it_encodes_what_transformers_encodes(
    ours: type[CLIPTextModel], theirs: Any, keys: dict[str, Any], tmp_path: Path
) -> None:
    model, reference = pair(ours, theirs, tmp_path, **keys)
    found, expected = model(IDS), reference(IDS, output_hidden_states=True)
    assert_equal(found.last_hidden_state, expected.last_hidden_state)
    assert len(found.hidden_states) == len(expected.hidden_states)
    for mine, yours in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert_equal(mine, yours)
    if ours is CLIPTextModelWithProjection:
        assert_equal(found.text_embeds, expected.text_embeds)
    else:
        assert_equal(found.pooler_output, expected.pooler_output)
        assert found.text_embeds is None


@torch.no_grad()
def test_masked_tokens_do_not_count(tmp_path: Path) -> None:
    model, reference = pair(*CLASSES[0], tmp_path)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0], [1] * 6])
    found = model(IDS, mask).last_hidden_state
    assert_equal(found, reference(IDS, attention_mask=mask).last_hidden_state)
    assert_equal(found[1, :3], model(IDS[1:2, :3]).last_hidden_state[0])


@torch.no_grad()
@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_published_names_with_position_ids_are_read(
    ours: type[CLIPTextModel], theirs: Any, tmp_path: Path
) -> None:
    model, _ = pair(ours, theirs, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {
        name if name.startswith("text_") else f"text_model.{name}": tensor
        for name, tensor in load_file(path).items()
    }
    assert set(tensors) == set(model.state_dict())
    tensors["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(tensors, path)
    again = ours.from_pretrained(tmp_path)
    assert torch.equal(again(IDS).last_hidden_state, model(IDS).last_hidden_state)


@torch.no_grad()
@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_what_is_written_is_read_by_transformers(
    ours: type[CLIPTextModel], theirs: Any, tmp_path: Path
) -> None:
    model, _ = pair(ours, theirs, tmp_path / "theirs")
    model.save_pretrained(tmp_path / "ours")
    again, report = theirs.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert_equal(model(IDS).last_hidden_state, again(IDS).last_hidden_state)
    assert again.config.hidden_size == 64
    assert again.config.architectures == [theirs.__name__]


def test_too_long_a_text_is_an_error() -> None:
    model = CLIPTextModel.from_config(TINY)
    with pytest.raises(
        ValueError, match="17 tokens were given, this text encoder reads at most 16"
    ):
        model(torch.zeros(1, 17, dtype=torch.int64))


@torch.no_grad()
def test_dropout_drops_in_training_only(tmp_path: Path) -> None:
    model, _ = pair(*CLASSES[0], tmp_path, attention_dropout=0.5)
    still = model(IDS).last_hidden_state
    assert torch.equal(still, model(IDS).last_hidden_state)
    assert not torch.equal(still, model.train()(IDS).last_hidden_state)

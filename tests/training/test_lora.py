"""A LoRA learns a tiny set of pictures, and its file has the keys that others read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from graphdiff.models import AutoencoderKL, CLIPTextModel, UNet2DConditionModel
from training import networks
from training.lora import LoraRun, add_low_rank, read_pictures, train_lora
from training.text_to_image import write_checkpoint
from training.tokenizer import CONTEXT, write_tokenizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model in Stable Diffusion's layout."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    size = write_tokenizer(folder / "tokenizer", ["a red disc", "a blue disc"] * 3)
    unet = UNet2DConditionModel.from_config(
        {
            "sample_size": 4,
            "block_out_channels": [8, 16],
            "attention_head_dim": 2,
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "cross_attention_dim": 16,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        }
    )
    text = CLIPTextModel.from_config(
        {
            "vocab_size": size,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": size - 2,
            "eos_token_id": size - 1,
            "pad_token_id": size - 1,
        }
    )
    vae = AutoencoderKL.from_config(
        {
            "block_out_channels": [8, 8],
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "sample_size": 8,
        }
    )
    write_checkpoint(folder, unet, text, networks.scaled(vae, 1.0), folder / "tokenizer")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures; one has a caption of its own."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("red-disc", "red"), ("other", "blue")):
        Image.new("RGB", (12, 10), colour).save(folder / f"{name}.png")
    (folder / "other.txt").write_text("a blue disc\n")
    return folder


def test_captions_come_from_text_files_or_else_from_names(pictures: Path) -> None:
    x, captions = read_pictures(pictures, 8)
    assert captions == ["a blue disc", "red disc"]
    assert x.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(x[1, :, 0, 0], [1, -1, -1])


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture here"):
        read_pictures(tmp_path, 8)


def test_a_new_low_rank_part_changes_nothing(checkpoint: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet")
    x, context = torch.randn(1, 4, 4, 4), torch.randn(1, CONTEXT, 16)
    with torch.no_grad():
        before = unet(x, 500, context).sample
        assert add_low_rank(unet, 2)
        torch.testing.assert_close(unet(x, 500, context).sample, before)


def test_the_loss_falls_and_the_file_changes_attentions_by_pefts_keys(
    checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "lora.safetensors"
    losses = train_lora(
        LoraRun(
            pictures=pictures, out=out, checkpoint=checkpoint, rank=4, steps=120, lr=2e-2, batch=8
        )
    )
    assert losses[-1] < 0.9 * losses[0]
    weights = load_file(out)
    modules = dict(UNet2DConditionModel.from_pretrained(checkpoint / "unet").named_modules())
    assert len(weights) % 2 == 0
    for key, weight in weights.items():
        name = key.removeprefix("unet.").rpartition(".lora_")[0]
        linear = modules[name]
        assert isinstance(linear, torch.nn.Linear)
        shape = (4, linear.in_features) if "lora_A" in key else (linear.out_features, 4)
        assert weight.shape == shape
    assert any(weight.abs().max() > 0 for key, weight in weights.items() if "lora_B" in key)

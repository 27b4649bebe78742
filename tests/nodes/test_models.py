"""Checkpoints and what is put into them, as handles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from graphdiff_nodes.conditioning import TextEncode
from graphdiff_nodes.latents import VAEDecode, VAEEncode
from graphdiff_nodes.models import (
    LoadControlNet,
    LoadLoRA,
    LoadModel,
    LoadTextualInversion,
    LoadUNet,
    LoadVAE,
)
from graphdiff_nodes.values import Image
from safetensors.torch import save_file

from graphdiff.checkpoints.pool import pool
from graphdiff.engine.session import Session
from graphdiff.graph.node import Settings
from graphdiff.graph.spec import WorkflowError
from graphdiff.shipped import shipped_workflows

CPU = Settings("cpu", "float32")
QUERY = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"
TEXT_QUERY = "text_model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture
def folder(checkpoint: Any) -> Path:
    place: Path = checkpoint("stable_diffusion")[0]
    return place


@pytest.fixture
def model(folder: Path) -> Any:
    return LoadModel.fn(str(folder), settings=CPU)


def test_a_checkpoint_is_read_without_its_weights(folder: Path) -> None:
    found = LoadModel.fn(str(folder), settings=CPU)
    assert found.unet.family == "sd1"
    assert found.unet.default_size == (64, 64)
    assert found.scheduler.config["_class_name"] == "PNDMScheduler"
    assert found.safety_checker is None
    assert found == LoadModel.fn(str(folder), settings=CPU)


@pytest.mark.parametrize("load", [LoadModel, LoadUNet, LoadVAE, LoadControlNet])
@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_no_checkpoint(load: Any, name: str) -> None:
    with pytest.raises(ValueError, match=r"the name is empty: give a bundled model \(emoji\)"):
        load.fn(name, settings=CPU)


def test_an_empty_name_is_not_taken_for_the_folder_of_the_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(cache=None, output_dir=tmp_path)
    with pytest.raises(WorkflowError, match="the name is empty"):
        session.plan(shipped_workflows()["text_to_image"], {"checkpoint": ""})


def test_what_a_node_says_counts_before_what_the_run_was_told(folder: Path) -> None:
    told = Settings("cpu", "bfloat16")
    assert LoadModel.fn(str(folder), settings=told).unet.dtype == "bfloat16"
    assert LoadModel.fn(str(folder), dtype="float32", settings=told).unet.dtype == "float32"
    with pytest.raises(ValueError, match="float16 on a CPU"):
        LoadModel.fn(str(folder), dtype="float16", device="cpu", settings=CPU)


def test_parts_of_checkpoints_are_found_alone(folder: Path, model: Any, checkpoint: Any) -> None:
    assert LoadVAE.fn(str(folder), settings=CPU) == model.vae
    assert LoadVAE.fn(str(folder / "vae"), settings=CPU) == model.vae
    unet = LoadUNet.fn(str(folder / "unet"), prediction_type="v_prediction", settings=CPU)
    assert (unet.weights, unet.prediction_type) == (model.unet.weights, "v_prediction")
    net = checkpoint("controlled")[0] / "controlnet"
    assert LoadControlNet.fn(str(net), settings=CPU).cross_attention_width == 32


def lora(path: Path, *modules: str) -> str:
    rng = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for module in modules:
        width = 32 if module.startswith("text_encoder") else 64
        tensors[f"{module}.lora_A.weight"] = torch.randn(2, width, generator=rng)
        tensors[f"{module}.lora_B.weight"] = torch.randn(width, 2, generator=rng)
    save_file(tensors, path)
    return str(path)


def test_loras_add_up_and_leave_the_model_as_it_is(model: Any, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors", f"unet.{QUERY}", f"text_encoder.{TEXT_QUERY}")
    before = model.unet
    once = LoadLoRA.fn(before, file, scale=0.5)
    twice = LoadLoRA.fn(once.unet, str(tmp_path), model.text_encoder, text_scale=0.0)
    assert before.patches == ()
    assert [patch.scale for patch in twice.unet.patches] == [0.5, 1.0]
    assert [getattr(patch, "scale", None) for patch in twice.text_encoder.patches] == [0.0]


def test_a_lora_leaves_alone_the_model_that_it_has_nothing_for(model: Any, tmp_path: Path) -> None:
    of_unet = LoadLoRA.fn(
        model.unet, lora(tmp_path / "a.safetensors", f"unet.{QUERY}"), model.text_encoder
    )
    of_text = LoadLoRA.fn(
        model.unet,
        lora(tmp_path / "b.safetensors", f"text_encoder.{TEXT_QUERY}"),
        model.text_encoder,
    )
    assert (len(of_unet.unet.patches), of_unet.text_encoder) == (1, model.text_encoder)
    assert (of_text.unet, len(of_text.text_encoder.patches)) == (model.unet, 1)


def test_keys_that_fit_nothing_are_told_when_the_run_is_planned(model: Any, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors", f"unet.{QUERY}", "unet.other.to_q")
    with pytest.raises(ValueError, match="2 of 4 keys fit no module"):
        LoadLoRA.fn(model.unet, file)
    with pytest.warns(UserWarning, match="2 of 4 keys fit no module"):
        LoadLoRA.fn(model.unet, file, strict=False)


def test_a_folder_of_several_loras_asks_for_the_file(model: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        lora(tmp_path / f"{name}.safetensors", f"unet.{QUERY}")
    with pytest.raises(ValueError, match=r"found a\.safetensors, b\.safetensors: name the file"):
        LoadLoRA.fn(model.unet, str(tmp_path))


def test_a_new_word_means_its_vectors(model: Any, tmp_path: Path) -> None:
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    save_file({"<mine>": vectors}, tmp_path / "learned_embeds.safetensors")
    taught = LoadTextualInversion.fn(model.text_encoder, str(tmp_path))
    assert taught.patches[0].token == "<mine>"  # type: ignore[union-attr]
    plain = TextEncode.fn(model.text_encoder, "a <mine> cat").parts[0].sequence
    known = TextEncode.fn(taught, "a <mine> cat").parts[0].sequence
    assert (plain - known).abs().max() > 0.01
    other = TextEncode.fn(taught, "a cat").parts[0].sequence
    assert torch.equal(other, TextEncode.fn(model.text_encoder, "a cat").parts[0].sequence)
    save_file({"x": torch.zeros(1, 7)}, tmp_path / "wrong.safetensors")
    with pytest.raises(ValueError, match="a text encoder of width 32"):
        LoadTextualInversion.fn(model.text_encoder, str(tmp_path / "wrong.safetensors"))


def test_a_vae_that_asks_for_float32_encodes_in_it_and_decodes_in_bfloat16(
    checkpoint: Any,
) -> None:
    folder = checkpoint("stable_diffusion")[0]
    vae = replace(LoadVAE.fn(str(folder), dtype="bfloat16", settings=CPU), precise=True)
    assert vae.dtype == "bfloat16"
    encoded = VAEEncode.fn(vae, Image(torch.rand(1, 3, 32, 32)))
    assert encoded.latents.samples.dtype == torch.float32
    pool().release()
    assert VAEDecode.fn(vae, encoded.latents).pixels.dtype == torch.float32
    assert [" bfloat16 " in name for name in pool().resident()] == [True]

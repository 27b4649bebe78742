"""LoRAs and new words are put into a pipeline, scaled, fused and taken out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import graphdiff
from graphdiff.checkpoints.errors import CheckpointError
from tests.pipelines.compare import TOLERANCE, generator

FAST: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}
UNET = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"
Draw = Callable[..., Any]


@pytest.fixture
def draw(pipeline: Any) -> Draw:
    def drawn(**options: Any) -> Any:
        return pipeline("a cat", generator=generator(), **FAST, **options).images

    return drawn


def lora(pipeline: Any, file: Path, seed: int = 9, *, text: bool = True) -> Path:
    """Write a LoRA of one module of the UNet and, if wanted, one of the text encoder."""
    rng = generator(seed)
    tensors: dict[str, torch.Tensor] = {}
    for part, module in (("unet", UNET), ("text_encoder", TEXT))[: 2 if text else 1]:
        weights = getattr(pipeline, part).state_dict()
        name = module if f"{module}.weight" in weights else module.removeprefix("text_model.")
        rows, columns = weights[f"{name}.weight"].shape
        tensors[f"{part}.{module}.lora_A.weight"] = torch.randn(2, columns, generator=rng)
        tensors[f"{part}.{module}.lora_B.weight"] = torch.randn(rows, 2, generator=rng)
    save_file(tensors, file)
    return file


def gap(one: Any, other: Any) -> float:
    return float(np.abs(one - other).max())


def test_loras_are_put_in_scaled_and_taken_out(pipeline: Any, draw: Draw, tmp_path: Path) -> None:
    lora(pipeline, tmp_path / "style.safetensors")
    plain = draw()
    pipeline.load_lora_weights(tmp_path, weight_name="style.safetensors", adapter_name="style")
    whole = draw()
    pipeline.set_adapters("style", 0.25)
    part = draw()
    assert gap(whole, plain) > gap(part, plain) > 1e-4
    pipeline.disable_lora()
    assert np.array_equal(draw(), plain)
    pipeline.enable_lora()
    assert np.array_equal(draw(), part)
    pipeline.unload_lora_weights()
    assert np.array_equal(draw(), plain)


def test_loras_are_listed_by_the_models_that_they_change(
    pipeline: Any, checkpoint: Any, tmp_path: Path
) -> None:
    assert pipeline.get_list_adapters() == {}
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "both.safetensors"), "both")
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "one.safetensors", text=False), "one")
    assert pipeline.get_list_adapters() == {"unet": ["both", "one"], "text_encoder": ["both"]}
    xl = graphdiff.DiffusionPipeline.from_pretrained(checkpoint("stable_diffusion_xl")[0])
    rows, columns = xl.text_encoder_2.state_dict()[
        name := "text_model.encoder.layers.0.self_attn.q_proj.weight"
    ].shape
    key = f"text_encoder_2.{name.removesuffix('.weight')}"
    tensors = {"A": torch.ones(2, columns), "B": torch.ones(rows, 2)}
    save_file(
        {f"{key}.lora_{end}.weight": each for end, each in tensors.items()},
        tmp_path / "second.safetensors",
    )
    xl.load_lora_weights(tmp_path / "second.safetensors")
    assert xl.get_list_adapters() == {"text_encoder_2": ["default_0"]}


def test_a_call_scales_loras_by_cross_attention_kwargs(
    pipeline: Any, draw: Draw, tmp_path: Path
) -> None:
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "style.safetensors"))
    plain = draw(cross_attention_kwargs={"scale": 0.0})
    scaled = draw(cross_attention_kwargs={"scale": 0.3})
    pipeline.set_adapters("default_0", 0.3)
    assert np.array_equal(draw(), scaled)
    pipeline.set_adapters("default_0", 0.6)
    assert gap(draw(cross_attention_kwargs={"scale": 0.5}), scaled) < 1e-6
    pipeline.unload_lora_weights()
    assert np.array_equal(draw(), plain)


def test_several_loras_add_up_and_are_chosen_by_name(
    pipeline: Any, draw: Draw, tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "other")):
        file = lora(pipeline, tmp_path / f"{name}.safetensors", seed)
        pipeline.load_lora_weights(str(file), adapter_name=name)
    assert pipeline.get_active_adapters() == ["one", "other"]
    both = draw()
    pipeline.set_adapters(["one"])
    assert pipeline.get_active_adapters() == ["one"]
    one = draw()
    pipeline.set_adapters(["one", "other"], [1.0, 1.0])
    assert np.array_equal(draw(), both)
    pipeline.delete_adapters("other")
    assert np.array_equal(draw(), one)
    assert pipeline.get_list_adapters() == {"unet": ["one"], "text_encoder": ["one"]}
    assert gap(one, both) > 1e-4


def test_the_text_encoder_has_a_strength_of_its_own(
    pipeline: Any, draw: Draw, tmp_path: Path
) -> None:
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "both.safetensors"), "both")
    pipeline.set_adapters("both", {"unet": 1.0, "text_encoder": 0.0})
    without_text = draw()
    pipeline.delete_adapters("both")
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "unet.safetensors", text=False))
    assert np.array_equal(draw(), without_text)
    with pytest.raises(ValueError, match="blocks of a model have no strengths"):
        pipeline.set_adapters("default_0", {"unet": {"down": 0.5}})


def test_what_is_fused_stays_until_it_is_unfused(pipeline: Any, draw: Draw, tmp_path: Path) -> None:
    plain = draw()
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "style.safetensors"), "style")
    pipeline.set_adapters("style", 0.4)
    wanted = draw()
    pipeline.set_adapters("style", 0.8)
    pipeline.fuse_lora(lora_scale=0.5)
    assert np.array_equal(draw(cross_attention_kwargs={"scale": 0.1}), wanted)
    pipeline.unfuse_lora()
    assert gap(draw(), wanted) > 1e-4
    pipeline.fuse_lora(lora_scale=0.5)
    pipeline.unload_lora_weights()
    assert np.array_equal(draw(), wanted)
    assert pipeline.get_active_adapters() == []
    assert gap(plain, wanted) > 1e-4


def test_one_model_alone_can_be_fused(pipeline: Any, draw: Draw, tmp_path: Path) -> None:
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "style.safetensors"), "style")
    pipeline.set_adapters("style", {"unet": 1.0, "text_encoder": 0.0})
    wanted = draw()
    pipeline.set_adapters("style")
    pipeline.fuse_lora(components=["unet"])
    assert gap(draw(), wanted) > 1e-4
    pipeline.unload_lora_weights()
    assert np.array_equal(draw(), wanted)


def test_the_models_that_are_shown_and_saved_have_their_loras(
    pipeline: Any, draw: Draw, tmp_path: Path
) -> None:
    before = pipeline.unet.state_dict()[f"{UNET}.weight"]
    pipeline.load_lora_weights(lora(pipeline, tmp_path / "style.safetensors"))
    assert not torch.equal(pipeline.unet.state_dict()[f"{UNET}.weight"], before)
    wanted = draw()
    pipeline.save_pretrained(tmp_path / "saved")
    saved = graphdiff.DiffusionPipeline.from_pretrained(tmp_path / "saved", cache=False)
    assert gap(saved("a cat", generator=generator(), **FAST).images, wanted) < TOLERANCE


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.set_adapters("other"), "no adapter other; there are none"),
        (lambda p: p.delete_adapters("other"), "no adapter other"),
        (lambda p: p.fuse_lora(), "no LoRA to fuse"),
        (lambda p: p.fuse_lora(components=["vae"]), "LoRAs change unet, .*, not vae"),
        (lambda p: p.load_lora_weights({"a": 1}), "must have tensors by name, but a is int"),
        (lambda p: p.load_lora_weights({}), "must have tensors by name, but it is empty"),
        (lambda p: p.load_lora_weights(5), "tensors by name are expected, not int"),
        (lambda p: p.load_lora_weights("missing.safetensors"), "missing.safetensors"),
        (lambda p: p.unload_textual_inversion("<x>"), "no new word <x>; there are none"),
    ],
)
def test_what_cannot_be_adapted_is_said_at_once(
    pipeline: Any, call: Callable[[Any], None], message: str
) -> None:
    with pytest.raises((ValueError, TypeError, CheckpointError), match=message):
        call(pipeline)


def test_a_name_is_taken_once_and_a_lora_must_fit(pipeline: Any, tmp_path: Path) -> None:
    file = lora(pipeline, tmp_path / "style.safetensors")
    pipeline.load_lora_weights(file, "style")
    with pytest.raises(ValueError, match="there is an adapter 'style' already"):
        pipeline.load_lora_weights(file, "style")
    save_file({f"unet.{UNET}.lora_A.weight": torch.ones(2, 3)}, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"odd\.safetensors"):
        pipeline.load_lora_weights(tmp_path / "odd.safetensors")


def test_tensors_do_what_their_file_does(pipeline: Any, draw: Draw, tmp_path: Path) -> None:
    file = lora(pipeline, tmp_path / "style.safetensors")
    pipeline.load_lora_weights(file, "file")
    wanted = draw()
    pipeline.unload_lora_weights()
    pipeline.load_lora_weights({key: each.clone() for key, each in load_file(file).items()})
    gc.collect()  # the file that they were written to is there for as long as the pipeline is
    assert np.array_equal(draw(), wanted)
    vectors = torch.randn(2, pipeline.text_encoder.config.hidden_size, generator=generator(4))
    save_file({"<one>": vectors}, tmp_path / "one.safetensors")
    pipeline.load_textual_inversion([tmp_path / "one.safetensors", {"<two>": vectors}])
    one, two, none = (
        pipeline(f"a {word}", generator=generator(), **FAST).images
        for word in ("<one>", "<two>", "<three>")
    )
    assert np.array_equal(one, two)
    assert gap(one, none) > 1e-4


def test_new_words_are_learned_saved_and_forgotten(
    pipeline: Any, draw: Draw, tmp_path: Path
) -> None:
    width = pipeline.text_encoder.config.hidden_size
    rng = generator(4)
    for name in ("one", "two"):
        vectors = torch.randn(2, width, generator=rng)
        save_file({f"<{name}>": vectors}, tmp_path / f"{name}.safetensors")

    def words(made: Any) -> Any:
        return made("a <one> <two>", generator=generator(), **FAST).images

    plain = words(pipeline)
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    pipeline.load_textual_inversion(files, token=["<one>", "<two>"])
    learned = words(pipeline)
    assert gap(learned, plain) > 1e-4
    assert "<two>" in pipeline.tokenizer
    pipeline.save_pretrained(tmp_path / "saved")
    saved = graphdiff.DiffusionPipeline.from_pretrained(tmp_path / "saved", cache=False)
    wanted = pipeline("a <one>", generator=generator(), **FAST).images
    pair = saved("a <one> <one>_1", generator=generator(), **FAST).images
    assert gap(pair, wanted) < TOLERANCE
    with pytest.raises(ValueError, match="there is a word '<one>' already"):
        pipeline.load_textual_inversion(files[0], token="<one>")
    with pytest.raises(ValueError, match="2 files, but 1 tokens"):
        pipeline.load_textual_inversion(files, token=["<one>"])
    pipeline.unload_textual_inversion("<one>")
    assert "<one>" not in pipeline.tokenizer
    pipeline.unload_textual_inversion()
    assert np.array_equal(words(pipeline), plain)

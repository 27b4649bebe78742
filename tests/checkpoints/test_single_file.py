"""Single files in the original layout, held against diffusers' converter and the folder form."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphdiff.checkpoints import ldm, single_file
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint
from graphdiff.checkpoints.headers import read_header
from graphdiff.checkpoints.open import (
    CONTROLNET_KEYS,
    open_checkpoint,
    open_controlnet,
    open_vae,
)
from graphdiff.checkpoints.pool import WeightsPool
from graphdiff.models.configs import (
    AutoencoderKLConfig,
    CLIPTextConfig,
    UNet2DConditionConfig,
)
from tests.checkpoints.originals import (
    backwards,
    original_open_clip,
    original_unet,
    original_vae,
    read,
    write_single_file,
)

TEXT_KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
FAMILIES = ("sd1", "sd2", "sdxl")


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, request.getfixturevalue(request.param)


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return module.state_dict()


def assert_equal_models(ours: Checkpoint, theirs: Checkpoint) -> None:
    pool = WeightsPool()
    assert ours.vae is not None
    assert theirs.vae is not None
    assert ours.text_encoder is not None
    assert theirs.text_encoder is not None
    pairs: list[tuple[Any, Any]] = [
        (pool.module(ours.unet), pool.module(theirs.unet)),
        (pool.module(ours.vae), pool.module(theirs.vae)),
    ]
    encoders = zip(pool.module(ours.text_encoder), pool.module(theirs.text_encoder), strict=True)
    for one, other in encoders:
        pairs.append((one.model, other.model))
        assert one.tokenizer("a photo!") == other.tokenizer("a photo!")
    for one, other in pairs:
        left, right = state(one), state(other)
        assert left.keys() == right.keys()
        for name in left:
            assert torch.equal(left[name], right[name]), name


def test_diffusers_converter_undoes_the_original_layout_that_the_tables_give(
    folder: tuple[str, Path],
) -> None:
    from diffusers.loaders import single_file_utils as theirs

    _, path = folder
    config, tensors = read(path, "unet")
    converted = theirs.convert_ldm_unet_checkpoint(original_unet(config, tensors), config)
    assert converted.keys() == tensors.keys()
    assert all(torch.equal(converted[name], tensors[name]) for name in tensors)
    config, tensors = read(path, "vae")
    converted = theirs.convert_ldm_vae_checkpoint(original_vae(config, tensors), config)
    assert converted.keys() == tensors.keys()
    assert all(torch.equal(converted[name], tensors[name]) for name in tensors)


def test_a_single_file_gives_the_models_that_diffusers_reads_from_it(
    folder: tuple[str, Path], tmp_path: Path
) -> None:
    family, path = folder
    file = write_single_file(path, family, tmp_path / "model.safetensors")
    import diffusers

    is_xl = family == "sdxl"
    cls = diffusers.StableDiffusionXLPipeline if is_xl else diffusers.StableDiffusionPipeline
    theirs = cls.from_single_file(str(file), config=str(path), local_files_only=True)
    ours = open_checkpoint(file, config=path, device="cpu")
    pool = WeightsPool()
    assert ours.text_encoder is not None
    encoders = pool.module(ours.text_encoder)
    expected = {"unet": state(pool.module(ours.unet))}
    for name, encoder in zip(("text_encoder", "text_encoder_2"), encoders, strict=False):
        expected[name] = state(encoder.model)
    for part, tensors in expected.items():
        found = getattr(theirs, part).state_dict()
        names = {name.removeprefix("text_model."): name for name in tensors}
        assert names.keys() == {name.removeprefix("text_model.") for name in found}
        for name, tensor in found.items():
            mine = tensors[names[name.removeprefix("text_model.")]]
            assert torch.equal(mine, tensor), f"{part}.{name}"


def test_a_single_file_gives_the_models_of_its_folder(
    folder: tuple[str, Path], tmp_path: Path
) -> None:
    family, path = folder
    file = write_single_file(path, family, tmp_path / "model.safetensors")
    ours = open_checkpoint(file, config=path, device="cpu")
    assert_equal_models(ours, open_checkpoint(path, device="cpu"))
    assert ours.unet.family == family


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sdxl-refiner"])
def test_shipped_configs_and_tables_name_every_tensor_of_the_published_models(
    family: Any,
) -> None:
    """At real size, on meta: every tensor of a module has a source, and diffusers agrees."""
    from diffusers.loaders import single_file_utils as theirs

    from graphdiff import models

    configs = single_file.shipped(family)
    unet_config = UNet2DConditionConfig.from_dict(configs["unet"])
    with torch.device("meta"):
        unet = models.UNet2DConditionModel(unet_config).state_dict()
        vae = models.AutoencoderKL(AutoencoderKLConfig.from_dict(configs["vae"])).state_dict()
    original = original_unet(configs["unet"], dict(unet))
    assert theirs.convert_ldm_unet_checkpoint(original, configs["unet"]).keys() == unet.keys()
    found, unknown = ldm.sources("unet", unet_config, original)
    assert found.keys() == unet.keys()
    assert not unknown
    original_keys = original_vae(configs["vae"], dict(vae))
    found, unknown = ldm.sources(
        "vae", AutoencoderKLConfig.from_dict(configs["vae"]), original_keys
    )
    assert found.keys() == vae.keys()
    assert not unknown
    texts: tuple[tuple[ldm.Part, type[models.CLIPTextModel], str], ...] = (
        ("text_encoder", models.CLIPTextModel, "cond_stage_model.model."),
        ("text_encoder_2", models.CLIPTextModelWithProjection, "conditioner.embedders.0.model."),
    )
    for part, cls, prefix in texts:
        if part not in configs:
            continue
        text_config = CLIPTextConfig.from_dict(configs[part])
        with torch.device("meta"):
            text = cls(text_config).state_dict()
        file = original_open_clip(prefix, dict(text), extra_layer=family == "sd2")
        found, unknown = ldm.sources(part, text_config, file)
        assert found.keys() == text.keys()
        assert not unknown


def test_a_controlnet_in_the_original_layout_is_that_of_its_folder(tmp_path: Path) -> None:
    from graphdiff import models
    from graphdiff.checkpoints.sources import tensors_of
    from graphdiff.models.configs import ControlNetConfig

    config = ControlNetConfig.from_dict(
        {
            key: single_file.shipped("sd1")["unet"][key]
            for key in CONTROLNET_KEYS & single_file.shipped("sd1")["unet"].keys()
        }
    )
    with torch.device("meta"):
        names = models.ControlNetModel(config).state_dict()
    blocks = backwards(ldm.controlnet_blocks(config))
    file: dict[str, torch.Tensor] = {}
    for number, name in enumerate(names):
        theirs = ldm.rename(name, blocks, backwards(ldm.RESNET))
        assert theirs is not None, name
        file[f"control_model.{theirs}"] = torch.tensor([float(number)])
    from diffusers.loaders import single_file_utils

    converted = single_file_utils.convert_controlnet_checkpoint(dict(file), dict(config))
    assert converted.keys() == names.keys()
    save_file(file, tmp_path / "control.safetensors")
    net = open_controlnet(tmp_path / "control.safetensors", device="cpu")
    assert (net.family, net.cross_attention_width) == ("sd1", 768)
    mine = tensors_of(net.weights, net.config)
    assert {name: tensor.item() for name, tensor in mine.items()} == {
        name: tensor.item() for name, tensor in converted.items()
    }


@pytest.mark.parametrize(
    ("channels", "pipeline"),
    [
        (4, "StableDiffusionPipeline"),
        (9, "StableDiffusionInpaintPipeline"),
        (5, "StableDiffusionDepth2ImgPipeline"),
        (8, "StableDiffusionInstructPix2PixPipeline"),
    ],
)
def test_the_first_convolution_tells_what_a_checkpoint_is_for(
    channels: int, pipeline: str, tmp_path: Path
) -> None:
    first, text = torch.zeros(320, channels, 3, 3), torch.zeros(320, 768)
    tensors = {"model.diffusion_model.input_blocks.0.0.weight": first, TEXT_KEY: text}
    save_file(tensors, tmp_path / "x.safetensors")
    found = single_file.contents(read_header(tmp_path / "x.safetensors"))
    assert found.family == "sd1"
    assert found.pipeline_class == pipeline
    assert found.configs["unet"]["in_channels"] == channels


@pytest.mark.parametrize(
    ("tensors", "metadata", "prediction"),
    [
        ({}, {}, "v_prediction"),
        ({"global_step": torch.tensor(875000)}, {}, "epsilon"),
        ({"global_step": torch.tensor(140000)}, {}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon"),
    ],
)
def test_stable_diffusion_2_predicts_velocity_unless_its_file_says_noise(
    tensors: dict[str, torch.Tensor], metadata: dict[str, str], prediction: str, tmp_path: Path
) -> None:
    save_file({TEXT_KEY: torch.zeros(320, 1024), **tensors}, tmp_path / "x.safetensors", metadata)
    found = single_file.contents(read_header(tmp_path / "x.safetensors"))
    assert found.configs["scheduler"]["prediction_type"] == prediction
    assert found.configs["unet"]["sample_size"] == (64 if prediction == "epsilon" else 96)


def test_a_lone_vae_has_the_scale_of_the_family_that_its_name_or_the_caller_says(
    tmp_path: Path,
) -> None:
    from graphdiff import models

    config = AutoencoderKLConfig.from_dict(single_file.shipped("sd1")["vae"])
    with torch.device("meta"):
        names = models.AutoencoderKL(config).state_dict()
    tiny = {name: torch.zeros(()) for name in original_vae(config, dict(names))}
    bare = {name.removeprefix("first_stage_model."): tensor for name, tensor in tiny.items()}
    save_file(bare, tmp_path / "sdxl_vae.safetensors")
    shutil.copy(tmp_path / "sdxl_vae.safetensors", tmp_path / "vae-ft-mse.safetensors")
    assert open_vae(tmp_path / "sdxl_vae.safetensors", device="cpu").scaling_factor == 0.13025
    mse = tmp_path / "vae-ft-mse.safetensors"
    assert open_vae(mse, device="cpu").scaling_factor == 0.18215
    assert open_vae(mse, device="cpu", family="sdxl").scaling_factor == 0.13025


def test_a_tensor_that_no_table_knows_is_named(sd1: Path, tmp_path: Path) -> None:
    file = write_single_file(sd1, "sd1", tmp_path / "model.safetensors")
    strange = "model.diffusion_model.input_blocks.99.0.in_layers.0.weight"
    save_file({**load_file(file), strange: torch.zeros(3)}, file)
    with pytest.raises(CheckpointError, match=r"input_blocks\.99") as caught:
        open_checkpoint(file, config=sd1, device="cpu")
    assert caught.value.file == file
    assert caught.value.tensor == strange


def test_a_tensor_that_is_missing_is_named_when_the_weights_are_read(
    sd1: Path, tmp_path: Path
) -> None:
    file = write_single_file(sd1, "sd1", tmp_path / "model.safetensors")
    tensors = load_file(file)
    del tensors["model.diffusion_model.out.2.weight"]
    save_file(tensors, file)
    checkpoint = open_checkpoint(file, config=sd1, device="cpu")
    with pytest.raises(CheckpointError, match=r"conv_out\.weight"):
        WeightsPool().module(checkpoint.unet)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("model.diffusion_model.joint_blocks.0.x.weight", "Stable Diffusion 3"),
        ("model.diffusion_model.double_blocks.0.img_attn.proj.weight", "Flux"),
        ("first_stage_model.encoder.down.0.block.0.norm1.weight", "holds a vae alone"),
    ],
)
def test_a_file_of_another_family_is_refused_by_its_name(
    key: str, words: str, tmp_path: Path
) -> None:
    save_file({key: torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(tmp_path / "x.safetensors", device="cpu")

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
from transformers import CLIPTextConfig as TheirCLIPTextConfig

from graphdiff.models.configs import (
    CONFIGS,
    AutoencoderKLConfig,
    AutoencoderTinyConfig,
    CLIPTextConfig,
    ConfigError,
    ControlNetConfig,
    ModelConfig,
    UNet2DConditionConfig,
    UNet2DConfig,
    per_block,
    read_config,
)

THEIRS: list[tuple[type[ModelConfig], Any]] = [
    (UNet2DConfig, diffusers.UNet2DModel),
    (UNet2DConditionConfig, diffusers.UNet2DConditionModel),
    (AutoencoderKLConfig, diffusers.AutoencoderKL),
    (AutoencoderTinyConfig, diffusers.AutoencoderTiny),
    (ControlNetConfig, diffusers.ControlNetModel),
]


@pytest.mark.parametrize(("ours", "theirs"), THEIRS)
def test_keys_and_defaults_are_those_of_diffusers(ours: type[ModelConfig], theirs: Any) -> None:
    expected = {
        name: parameter.default
        for name, parameter in inspect.signature(theirs.__init__).parameters.items()
        if name != "self"
    }
    found = dict(ours())
    found.pop("block_out_channels") if ours is AutoencoderTinyConfig else None
    assert found == expected


def test_clip_keys_and_defaults_are_those_of_transformers() -> None:
    theirs = TheirCLIPTextConfig().to_dict()
    ours = dict(CLIPTextConfig())
    assert {key: theirs[key] for key in ours if key in theirs} == {
        key: value for key, value in ours.items() if key in theirs
    }
    assert CLIPTextConfig.from_dict(theirs) == CLIPTextConfig()


def test_a_config_reads_as_attributes_items_and_a_dict() -> None:
    config = UNet2DConfig.from_dict({"in_channels": 7, "block_out_channels": [32, 64, 64, 64]})
    assert config.in_channels == config["in_channels"] == dict(config)["in_channels"] == 7
    assert config.block_out_channels == (32, 64, 64, 64)
    assert config.get("nothing", 5) == 5
    with pytest.raises(KeyError, match="no 'nothing'"):
        config["nothing"]


def test_a_write_raises_and_says_what_to_do_instead() -> None:
    config = UNet2DConfig()
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"dataclasses\.replace"):
        config.in_channels = 4  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del config.in_channels
    with pytest.raises(AttributeError, match="frozen"):
        config["in_channels"] = 4  # type: ignore[index]
    assert dataclasses.replace(config, in_channels=4).in_channels == 4
    assert config.in_channels == 3


def test_configs_can_be_compared_hashed_copied_and_pickled() -> None:
    config = AutoencoderKLConfig(latents_mean=(0.5, 1.0))
    assert copy.deepcopy(config) == config == pickle.loads(pickle.dumps(config))
    assert hash(config) == hash(copy.copy(config))
    assert config != AutoencoderKLConfig()


@pytest.mark.parametrize("config_class", sorted(set(CONFIGS.values()), key=str))
def test_what_is_written_is_read_again(config_class: type[ModelConfig]) -> None:
    config = config_class()
    assert config_class.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_key_is_an_error_that_names_it_and_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"'in_chanels' \(= 4\); did you mean 'in_channels'"
    ) as info:
        UNet2DConfig.from_dict({"in_chanels": 4})
    assert (info.value.key, info.value.value) == ("in_chanels", 4)


@pytest.mark.parametrize(
    ("config_class", "key", "value", "supported"),
    [
        (UNet2DConditionConfig, "addition_embed_type", "image", "'text_time'"),
        (UNet2DConditionConfig, "cross_attention_norm", "group_norm", "supported: None"),
        (UNet2DConditionConfig, "num_attention_heads", 8, "supported: None"),
        (UNet2DConditionConfig, "down_block_types", ["KDownBlock2D"] * 4, "'CrossAttnDownBlock2D'"),
        (UNet2DConditionConfig, "in_channels", "four", "expected int"),
        (UNet2DConditionConfig, "in_channels", True, "expected int"),
        (UNet2DConditionConfig, "layers_per_block", [2, 2], "block_out_channels|4 entries"),
        (UNet2DConditionConfig, "addition_embed_type", "text_time", "needs it"),
        (UNet2DConfig, "up_block_types", ["SkipUpBlock2D"] * 4, "'AttnUpBlock2D'"),
        (UNet2DConfig, "time_embedding_type", "learned", "num_train_timesteps"),
        (AutoencoderKLConfig, "down_block_types", ["AttnDownEncoderBlock2D"], "'DownEncoder"),
        (AutoencoderTinyConfig, "upsample_fn", "linear", "'nearest'"),
        (ControlNetConfig, "controlnet_conditioning_channel_order", "grb", "'rgb', 'bgr'"),
        (ControlNetConfig, "encoder_hid_dim", 64, "text_proj"),
        (CLIPTextConfig, "hidden_act", "relu", "'quick_gelu', 'gelu'"),
        (CLIPTextConfig, "num_attention_heads", 7, "must divide hidden_size = 512"),
    ],
)
def test_an_unsupported_value_is_an_error_that_says_what_is_supported(
    config_class: type[ModelConfig], key: str, value: Any, supported: str
) -> None:
    with pytest.raises(ConfigError, match=supported) as info:
        config_class.from_dict({key: value})
    assert config_class.class_name in str(info.value)


def test_another_models_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="config of a AutoencoderKL, not of a UNet2DModel"):
        UNet2DConfig.from_dict(AutoencoderKLConfig().to_dict())
    with pytest.raises(ConfigError, match="'t5' model, not of CLIP"):
        CLIPTextConfig.from_dict({"model_type": "t5"})


def test_old_forms_of_keys_are_understood() -> None:
    old = {
        "down_block_types": ["UNetResDownBlock2D"] + ["UNetResAttnDownBlock2D"] * 3,
        "up_block_types": ["UNetResAttnUpBlock2D"] * 3 + ["UNetResUpBlock2D"],
    }
    assert UNet2DConfig.from_dict(old) == UNet2DConfig()
    assert (
        UNet2DConditionConfig.from_dict({"encoder_hid_dim": 64}).encoder_hid_dim_type == "text_proj"
    )


def test_transformers_notes_are_left_aside() -> None:
    notes = {"architectures": ["CLIPTextModel"], "torch_dtype": "float16", "num_beams": 1}
    assert CLIPTextConfig.from_dict(notes | {"_name_or_path": "x"}) == CLIPTextConfig()


def test_what_training_leaves_behind_is_left_aside(tmp_path: Path) -> None:
    from diffusers.training_utils import EMAModel

    model = diffusers.AutoencoderKL()
    ema = EMAModel(model.parameters(), model_cls=diffusers.AutoencoderKL, model_config=model.config)
    ema.save_pretrained(tmp_path)
    assert "optimization_step" in (tmp_path / "config.json").read_text()
    assert read_config(tmp_path) == AutoencoderKLConfig()


def test_a_file_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(ConfigError, match=r"config\.json: no such file"):
        read_config(tmp_path / "config.json")
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="expected a JSON object, found a list"):
        read_config(tmp_path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        read_config(tmp_path)
    path.write_text('{"_class_name": "FluxTransformer2DModel"}')
    with pytest.raises(ConfigError, match="the config of a FluxTransformer2DModel; known: UNet2D"):
        read_config(tmp_path)
    path.write_text('{"_class_name": "AutoencoderKL", "x": 1}')
    with pytest.raises(
        ConfigError, match=r"config\.json: AutoencoderKL config: unknown key 'x'"
    ) as e:
        read_config(tmp_path)
    assert e.value.file == path
    path.write_text('{"_class_name": "AutoencoderKL", "latent_channels": 16}')
    assert read_config(tmp_path) == AutoencoderKLConfig(latent_channels=16)


def test_a_value_for_all_blocks_is_one_for_each() -> None:
    assert per_block(2, 3) == (2, 2, 2)
    each: int | tuple[int, ...] = (1, 2)
    assert per_block(each, 2) == (1, 2)


def test_reading_configs_and_tokenizing_imports_no_torch() -> None:
    code = (
        "import sys, graphdiff.models, graphdiff.models.configs, graphdiff.checkpoints.weights\n"
        "import graphdiff.models.clip_tokenizer\n"
        "graphdiff.models.configs.UNet2DConditionConfig.from_dict({})\n"
        "print(*{'torch', 'numpy', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from graphdiff.models import UNet2DConditionModel
from tests.models.reference import (
    COMMON,
    TEXT_WIDTH,
    UNETS,
    assert_equal,
    noise,
    randomise,
    unet_inputs,
)

# What single keys change, apart from the families.
KEYS: dict[str, dict[str, Any]] = {
    "time": {"flip_sin_to_cos": False, "freq_shift": 1},
    "time width": {"time_embedding_dim": 40},
    "activations": {
        "act_fn": "gelu",
        "time_embedding_act_fn": "mish",
        "timestep_post_act": "relu",
    },
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "centred": {"center_input_sample": True},
    "kernels": {"conv_in_kernel": 1, "conv_out_kernel": 5},
    "padding": {"downsample_padding": 0},
    "middle scale": {"mid_block_scale_factor": 1.7},
    "plain middle": {"mid_block_type": "UNetMidBlock2D"},
    "no middle": {"mid_block_type": None},
    "text projection": {"encoder_hid_dim": TEXT_WIDTH, "cross_attention_dim": 40},
    "widths of text": {"cross_attention_dim": (TEXT_WIDTH, TEXT_WIDTH)},
    "layers": {"layers_per_block": (2, 1)},
    "depth": {"transformer_layers_per_block": (2, 3)},
    "depth by layer": {
        "layers_per_block": 2,
        "transformer_layers_per_block": ((1, 2), 1),
        "reverse_transformer_layers_per_block": (1, (1, 2, 1)),
    },
    "only the text": {"only_cross_attention": True},
    "ids of classes": {"num_class_embeds": 5},
    "classes as times": {"class_embed_type": "timestep"},
    "classes as they are": {"class_embed_type": "identity"},
    "classes beside": {"class_embed_type": "timestep", "class_embeddings_concat": True},
    "projected classes": {
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 6,
    },
    "simply projected classes": {
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": 6,
    },
    "one block": {
        "block_out_channels": (32,),
        "attention_head_dim": 1,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
    },
    "own attention": {
        "attention_head_dim": 32,
        "down_block_types": ("AttnDownBlock2D", "ResnetDownsampleBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "AttnUpBlock2D"),
        "mid_block_type": "UNetMidBlock2D",
    },
    "resampling by resnets": {
        "down_block_types": ("ResnetDownsampleBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "CrossAttnUpBlock2D"),
    },
}
CLASS_LABELS: dict[str, torch.Tensor] = {
    "ids of classes": torch.tensor([1, 4]),
    "classes as times": torch.tensor([10, 400]),
    "classes beside": torch.tensor([10, 400]),
    "classes as they are": noise(2, 128, seed=7),
    "projected classes": noise(2, 6, seed=7),
    "simply projected classes": noise(2, 6, seed=7),
}


def pair(config: dict[str, Any], folder: Path) -> tuple[UNet2DConditionModel, Any]:
    theirs = randomise(diffusers.UNet2DConditionModel(**config))
    theirs.save_pretrained(folder)
    return UNet2DConditionModel.from_pretrained(folder), theirs


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(16, 12), (15, 13)], ids=["even", "odd"])
@pytest.mark.parametrize("family", UNETS)
def test_a_family_predicts_what_diffusers_predicts(
    family: str, height: int, width: int, tmp_path: Path
) -> None:
    config = COMMON | UNETS[family]
    ours, theirs = pair(config, tmp_path)
    inputs = unet_inputs(config, height=height, width=width)
    assert_equal(ours(**inputs).sample, theirs(**inputs).sample)


@torch.no_grad()
@pytest.mark.parametrize("key", KEYS)
def test_each_key_of_the_config_is_honoured(key: str, tmp_path: Path) -> None:
    config = COMMON | KEYS[key]
    ours, theirs = pair(config, tmp_path)
    inputs = unet_inputs(COMMON) | (
        {"class_labels": CLASS_LABELS[key]} if key in CLASS_LABELS else {}
    )
    expected = theirs(**inputs).sample
    assert_equal(ours(**inputs).sample, expected)


@torch.no_grad()
@pytest.mark.parametrize("timestep", [7, 749.25, torch.tensor(7), torch.tensor([3, 500])])
def test_a_timestep_may_be_a_number_or_a_tensor(timestep: Any, tmp_path: Path) -> None:
    ours, theirs = pair(COMMON, tmp_path)
    inputs = unet_inputs(COMMON) | {"timestep": timestep}
    assert_equal(ours(**inputs).sample, theirs(**inputs).sample)


@torch.no_grad()
def test_masked_tokens_do_not_count(tmp_path: Path) -> None:
    ours, theirs = pair(COMMON, tmp_path)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]])
    inputs = unet_inputs(COMMON)
    masked = ours(**inputs, encoder_attention_mask=mask).sample
    assert_equal(masked, theirs(**inputs, encoder_attention_mask=mask).sample)
    shorter = inputs | {"encoder_hidden_states": inputs["encoder_hidden_states"][:, :3]}
    assert_equal(masked[:1], ours(**shorter).sample[:1])


@torch.no_grad()
def test_what_comes_back_is_a_tuple_with_names(tmp_path: Path) -> None:
    ours, _ = pair(COMMON, tmp_path)
    inputs = unet_inputs(COMMON)
    (sample,) = ours(**inputs, return_dict=False)
    assert torch.equal(sample, ours(**inputs).sample)
    assert torch.equal(sample, ours(**inputs)[0])


def test_what_a_family_needs_is_asked_for() -> None:
    xl = UNet2DConditionModel.from_config(COMMON | UNETS["sdxl"])
    inputs = unet_inputs(COMMON)
    with pytest.raises(ValueError, match="added_cond_kwargs lacks text_embeds and time_ids"):
        xl(**inputs)
    with pytest.raises(ValueError, match="lacks time_ids"):
        xl(**inputs, added_cond_kwargs={"text_embeds": noise(2, 40)})
    with pytest.raises(ValueError, match="give class_labels"):
        UNet2DConditionModel.from_config(COMMON | UNETS["upscale"])(**inputs)
    plain = UNet2DConditionModel.from_config(COMMON)
    with pytest.raises(ValueError, match="has no classes"):
        plain(**inputs, class_labels=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no time_cond_proj_dim"):
        plain(**inputs, timestep_cond=noise(2, 24))
    with pytest.raises(ValueError, match="gives 4 features of the way down and one of the middle"):
        plain(**inputs, down_block_additional_residuals=[noise(2, 32, 16, 12)])
    with pytest.raises(ValueError, match="5 attention heads do not divide 32 channels"):
        UNet2DConditionModel.from_config(COMMON | {"attention_head_dim": 5})


@pytest.mark.parametrize("timestep", [3, 3.5, torch.tensor(3, device="meta")])
def test_a_forward_never_waits_for_the_device(timestep: Any) -> None:
    """A meta tensor has no values: whatever asks for one fails."""
    with torch.device("meta"):
        ours = UNet2DConditionModel.from_config(COMMON | UNETS["sdxl"])
    inputs = unet_inputs(COMMON | UNETS["sdxl"])
    inputs["added_cond_kwargs"] = {k: v.to("meta") for k, v in inputs["added_cond_kwargs"].items()}
    inputs = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
    inputs["timestep"] = timestep
    assert ours(**inputs).sample.shape == (2, 4, 16, 12)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(dtype: torch.dtype, tmp_path: Path) -> None:
    config = COMMON | UNETS["sdxl"]
    ours, _ = pair(config, tmp_path)
    half = UNet2DConditionModel.from_pretrained(tmp_path, dtype=dtype)
    inputs = unet_inputs(config)
    expected = ours(**inputs).sample
    inputs["added_cond_kwargs"] = {k: v.to(dtype) for k, v in inputs["added_cond_kwargs"].items()}
    for name in ("sample", "encoder_hidden_states"):
        inputs[name] = inputs[name].to(dtype)
    found = half(**inputs).sample
    assert found.dtype == dtype
    assert float((found.float() - expected).std() / expected.std()) < 0.05

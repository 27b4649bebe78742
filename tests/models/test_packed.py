"""A packed model computes what the plain one does, and leaves it as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from graphdiff.models import AutoencoderKL, UNet2DConditionModel, UNet2DModel
from graphdiff.models.packed import PackedConv2d, packed, reordered
from tests.models.reference import COMMON, UNETS, assert_equal, noise, randomise, unet_inputs

needs_kernels = pytest.mark.skipif(
    packed(probe := nn.Sequential(nn.Conv2d(4, 4, 3))) is probe, reason="no packed kernels here"
)


def packed_convolutions(model: nn.Module) -> int:
    return sum(isinstance(module, PackedConv2d) for module in model.modules())


@needs_kernels
@pytest.mark.parametrize("family", UNETS)
def test_a_packed_unet_predicts_what_the_plain_one_does(family: str) -> None:
    config = COMMON | UNETS[family]
    plain = randomise(UNet2DConditionModel.from_config(config))
    fast = packed(plain)
    assert packed_convolutions(fast) > 5
    inputs = unet_inputs(config)
    with torch.no_grad():
        assert_equal(fast(**inputs).sample, plain(**inputs).sample)


@needs_kernels
@pytest.mark.parametrize("batch", [1, 3])
def test_a_packed_model_takes_any_batch_and_size(batch: int) -> None:
    config = COMMON | next(iter(UNETS.values()))
    plain = randomise(UNet2DConditionModel.from_config(config))
    fast = packed(plain)
    for height, width in ((16, 16), (8, 24), (9, 7)):
        inputs = unet_inputs(config, batch, height, width)
        with torch.no_grad():
            assert_equal(fast(**inputs).sample, plain(**inputs).sample)


@needs_kernels
def test_a_packed_autoencoder_encodes_and_decodes_the_same() -> None:
    plain = randomise(
        AutoencoderKL.from_config(
            {
                "_class_name": "AutoencoderKL",
                "block_out_channels": (32, 64),
                "down_block_types": ("DownEncoderBlock2D",) * 2,
                "up_block_types": ("UpDecoderBlock2D",) * 2,
                "latent_channels": 4,
            }
        )
    )
    fast = packed(plain)
    pictures, latents = noise(2, 3, 16, 24), noise(2, 4, 8, 12)
    with torch.no_grad():
        assert_equal(
            fast.encode(pictures).latent_dist.mean, plain.encode(pictures).latent_dist.mean
        )
        assert_equal(fast.decode(latents).sample, plain.decode(latents).sample)


@needs_kernels
def test_a_packed_model_without_text_predicts_the_same() -> None:
    config = {
        "_class_name": "UNet2DModel",
        "block_out_channels": (32, 64),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    plain = randomise(UNet2DModel.from_config(config))
    sample = noise(2, 3, 16, 16)
    with torch.no_grad():
        assert_equal(packed(plain)(sample, 7).sample, plain(sample, 7).sample)


@needs_kernels
def test_bfloat16_stays_as_near_to_float32_as_the_plain_model() -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("no bfloat16 kernels here")
    config = COMMON | next(iter(UNETS.values()))
    whole = randomise(UNet2DConditionModel.from_config(config))
    plain = randomise(UNet2DConditionModel.from_config(config)).to(torch.bfloat16)
    fast = packed(plain)
    assert packed_convolutions(fast) > 5
    inputs = unet_inputs(config)
    half: dict[str, Any] = {
        name: value if name == "timestep" else value.to(torch.bfloat16)
        for name, value in inputs.items()
        if isinstance(value, torch.Tensor)
    }
    with torch.no_grad():
        exact = whole(**inputs).sample
        far = (plain(**half).sample.float() - exact).abs().max()
        assert (fast(**half).sample.float() - exact).abs().max() < 2 * far


@needs_kernels
def test_packing_leaves_the_plain_model_as_it_was_and_shares_the_rest_with_it() -> None:
    plain = randomise(UNet2DConditionModel.from_config(COMMON | next(iter(UNETS.values()))))
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    fast = packed(plain)
    after = plain.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    shared = fast.state_dict()
    assert shared["conv_in.bias"].data_ptr() == after["conv_in.bias"].data_ptr()
    linear = "time_embedding.linear_1.weight"
    assert shared[linear].data_ptr() == after[linear].data_ptr()


@needs_kernels
def test_a_model_that_may_be_consumed_holds_no_weight_twice() -> None:
    config = COMMON | next(iter(UNETS.values()))
    plain, other = (randomise(UNet2DConditionModel.from_config(config)) for _ in range(2))
    other.load_state_dict(plain.state_dict())
    fast, kept = packed(plain, consumed=True), packed(other)
    assert not plain.state_dict().keys() & (other.state_dict().keys() - kept.state_dict().keys())
    inputs = unet_inputs(config)
    with torch.no_grad():
        assert torch.equal(fast(**inputs).sample, kept(**inputs).sample)


@needs_kernels
def test_the_bytes_of_packed_weights_are_those_that_left_the_state_dict() -> None:
    plain = randomise(UNet2DConditionModel.from_config(COMMON | next(iter(UNETS.values()))))
    fast = packed(plain)
    left = plain.state_dict().keys() - fast.state_dict().keys()
    assert sum(reordered(fast).values()) == sum(
        4 * plain.state_dict()[name].numel() for name in left
    )


def test_a_model_without_convolutions_is_itself() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    assert packed(model) is model


def test_float64_has_no_packed_kernels_and_stays_plain() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3)).double()
    assert packed(model) is model


def test_packing_compiles_nothing() -> None:
    import subprocess
    import sys

    code = (
        "import sys, torch; from graphdiff.models.packed import packed;"
        "m = packed(torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3)));"
        "torch.set_grad_enabled(False); m(torch.zeros(1, 4, 8, 8));"
        "sys.exit('torch._dynamo' in sys.modules or 'torch._inductor' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""A packed model computes what the plain one does, and leaves it as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from graphdiff.models import AutoencoderKL, UNet2DConditionModel, UNet2DModel
from graphdiff.models.layers import ResnetBlock2D
from graphdiff.models.packed import packed, reordered, repacked
from graphdiff.models.packed_layers import (
    InPlaceResnetBlock2D,
    PackedConv2d,
    PackedLinear,
    Untracked,
)
from tests.models.reference import COMMON, UNETS, assert_equal, noise, randomise, unet_inputs

needs_kernels = pytest.mark.skipif(
    packed(probe := nn.Sequential(nn.Conv2d(4, 4, 3))) is probe, reason="no packed kernels here"
)


needs_bfloat16 = pytest.mark.skipif(
    packed(half := nn.Sequential(nn.Conv2d(4, 4, 3)).bfloat16()) is half,
    reason="no bfloat16 kernels here",
)

DTYPES = [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)]


def unet(dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    config = COMMON | next(iter(UNETS.values()))
    model: UNet2DConditionModel = randomise(UNet2DConditionModel.from_config(config))
    return model.to(dtype).requires_grad_(False)


def inputs_of(dtype: torch.dtype) -> dict[str, Any]:
    inputs = unet_inputs(COMMON | next(iter(UNETS.values())))
    return {
        name: value if name == "timestep" else value.to(dtype)
        for name, value in inputs.items()
        if isinstance(value, torch.Tensor)
    }


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
@needs_bfloat16
def test_bfloat16_stays_as_near_to_float32_as_the_plain_model() -> None:
    whole = unet()
    plain = UNet2DConditionModel.from_config(whole.config)
    plain.load_state_dict(whole.state_dict())
    plain = plain.to(torch.bfloat16).requires_grad_(False)
    fast = packed(plain)
    assert packed_convolutions(fast) > 5
    with torch.no_grad():
        exact = whole(**inputs_of(torch.float32)).sample
        far = (plain(**inputs_of(torch.bfloat16)).sample.float() - exact).abs().max()
        assert far < 0.1 * exact.abs().max()
        found = fast(**inputs_of(torch.bfloat16)).sample.float()
        assert (found - exact).abs().max() < 2 * far


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
    norm = "conv_norm_out.weight"
    assert shared[norm].data_ptr() == after[norm].data_ptr()


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
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bytes_of_packed_weights_are_those_that_left_the_state_dict(dtype: torch.dtype) -> None:
    plain = unet(dtype)
    fast = packed(plain)
    left = plain.state_dict().keys() - fast.state_dict().keys()
    linear = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    assert (linear in left) == (dtype == torch.bfloat16)
    assert sum(reordered(fast).values()) == sum(
        dtype.itemsize * plain.state_dict()[name].numel() for name in left
    )


@needs_kernels
def test_a_linear_layer_in_float32_has_its_weights_column_by_column() -> None:
    plain = unet()
    before, after = (
        plain.time_embedding.linear_1.weight,
        packed(plain).time_embedding.linear_1.weight,
    )
    assert before.is_contiguous()
    assert after.t().is_contiguous()
    assert torch.equal(before, after)


@needs_kernels
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_changed_by_their_plain_names_and_all_others_shared(
    dtype: torch.dtype,
) -> None:
    plain = unet(dtype)
    names = (
        "conv_in.weight",
        "down_blocks.1.resnets.0.time_emb_proj.weight",
        "mid_block.attentions.0.proj_in.weight",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight",
        "conv_norm_out.weight",
    )
    weights = {name: plain.state_dict()[name] * 1.5 for name in names}
    fast = packed(plain)
    changed = repacked(fast, weights)
    before = fast(**inputs_of(dtype)).sample
    other = UNet2DConditionModel.from_config(plain.config).to(dtype).requires_grad_(False)
    other.load_state_dict({**plain.state_dict(), **weights})
    assert type(changed) is type(fast)
    wanted = packed(other)(**inputs_of(dtype)).sample
    assert torch.equal(changed(**inputs_of(dtype)).sample, wanted)
    assert not torch.equal(before, wanted)
    assert torch.equal(fast(**inputs_of(dtype)).sample, before)
    own = reordered(changed).keys() - reordered(fast).keys()
    moved = [name for name in names if name not in fast.state_dict()]
    assert len(own) == len(moved)


@needs_kernels
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_packed_model_gives_may_be_changed_and_what_it_takes_is_left(
    dtype: torch.dtype,
) -> None:
    fast, inputs = packed(unet(dtype)), inputs_of(dtype)
    before = {name: value.clone() for name, value in inputs.items()}
    with torch.no_grad():
        found = fast(**inputs).sample
        again = fast(**inputs).sample
    assert isinstance(fast, Untracked)
    assert not found.is_inference()
    found.zero_()
    assert again.any()
    assert all(torch.equal(value, inputs[name]) for name, value in before.items())


@needs_kernels
def test_residual_blocks_work_in_place_only_where_they_do_nothing_else() -> None:
    def made(**options: Any) -> nn.Module:
        block = ResnetBlock2D(8, 8, time_width=4, groups=4, eps=1e-5, **options)
        return packed(nn.ModuleList([block]))[0]

    assert isinstance(made(), InPlaceResnetBlock2D)
    others: list[dict[str, Any]] = [
        {"act": "gelu"},
        {"scale_shift": True},
        {"output_scale": 2.0},
        {"resample": "up"},
    ]
    for options in others:
        assert type(made(**options)) is ResnetBlock2D
        assert packed_convolutions(made(**options)) == 2


@needs_kernels
@pytest.mark.parametrize("channels_out", [8, 16])
def test_a_residual_block_leaves_the_features_that_others_read(channels_out: int) -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    block = ResnetBlock2D(8, channels_out, time_width=4, groups=4, eps=1e-5)
    x, emb = noise(2, 8, 6, 6), noise(2, 4)
    kept = x.clone(), emb.clone()
    with torch.no_grad():
        found = packed(nn.ModuleList([block]))[0](x, emb)
        assert_equal(found, block(x, emb))
    assert torch.equal(x, kept[0])
    assert torch.equal(emb, kept[1])


@needs_kernels
@needs_bfloat16
def test_linear_layers_of_a_kind_of_their_own_stay_as_they_are() -> None:
    class Other(nn.Linear):
        """A linear layer whose weights somebody reads."""

    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Linear(4, 4), Other(4, 4)).bfloat16()
    fast = packed(model)
    assert isinstance(fast[1], PackedLinear)
    assert fast[2].weight is model[2].weight


def test_a_model_without_convolutions_is_itself() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    assert packed(model) is model


def test_float64_has_no_packed_kernels_and_stays_plain() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3)).double()
    assert packed(model) is model


def test_packing_compiles_nothing() -> None:
    import subprocess
    import sys

    code = """if True:
        import sys, torch
        from graphdiff.models import UNet2DModel
        from graphdiff.models.packed import packed
        blocks = {"down_block_types": ("AttnDownBlock2D",), "up_block_types": ("AttnUpBlock2D",)}
        sizes = {"block_out_channels": (32,), "layers_per_block": 1}
        plain = UNet2DModel.from_config({"_class_name": "UNet2DModel", **blocks, **sizes})
        for dtype in (torch.bfloat16, torch.float32):
            model = packed(plain.to(dtype).requires_grad_(False))
            model(torch.zeros(1, 3, 8, 8, dtype=dtype), 1)
        sys.exit('torch._dynamo' in sys.modules or 'torch._inductor' in sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True)

"""A fused model computes what the plain one does, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import graphdiff.models
from graphdiff.models import AutoencoderKL, ControlNetModel, UNet2DConditionModel, UNet2DModel
from graphdiff.models import fused as module
from graphdiff.models.attention import Context
from graphdiff.models.fused import PointwiseConv2d, fused
from tests.models.reference import COMMON, UNETS, assert_equal, noise, randomise, unet_inputs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.filterwarnings("ignore:Please use the new API settings")  # some torches


@pytest.fixture(autouse=True)
def _exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions of a GPU round their inputs to 10 bits, unless they are told not to."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def on_device(value: Any) -> Any:
    """A model or an input, or a dict of them, on the device that kernels run on here."""
    if isinstance(value, dict):
        return {name: on_device(one) for name, one in value.items()}
    return value.to(DEVICE) if isinstance(value, nn.Module | Tensor) else value


def unet(family: str = "sd1", **more: Any) -> tuple[UNet2DConditionModel, dict[str, Any]]:
    config = COMMON | UNETS[family] | more
    model: UNet2DConditionModel = randomise(UNet2DConditionModel.from_config(config))
    return on_device(model), on_device(unet_inputs(config, 2, 9, 7))


@pytest.fixture
def no_torch_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's own normalisation of maps is a failure from here on."""

    def fail(*_: Any) -> None:
        raise AssertionError("a map was normalised by torch")

    monkeypatch.setattr(F, "group_norm", fail)


@torch.no_grad()
@pytest.mark.parametrize("family", ["sd1", "sdxl", "upscale"])
def test_a_fused_unet_predicts_what_the_plain_one_does(
    kernels: ModuleType, family: str, request: pytest.FixtureRequest
) -> None:
    plain, inputs = unet(family)
    expected = plain(**inputs).sample
    kept = {name: value.clone() for name, value in inputs.items() if isinstance(value, Tensor)}
    request.getfixturevalue("no_torch_norms")
    assert_equal(fused(plain)(**inputs).sample, expected)
    assert all(torch.equal(inputs[name], value) for name, value in kept.items())


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(UNETS.keys() - {"sd1", "sdxl", "upscale"}))
def test_so_does_every_other_family(kernels: ModuleType, family: str) -> None:
    plain, inputs = unet(family)
    assert_equal(fused(plain)(**inputs).sample, plain(**inputs).sample)


@torch.no_grad()
def test_maps_are_channels_last_where_weights_are(
    kernels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, inputs = unet()
    expected: Tensor = plain(**inputs).sample
    last = fused(plain.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    seen: list[bool] = []
    original: Callable[..., Tensor] = kernels.group_norm

    def group_norm(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return original(x, *args, **kwargs)

    monkeypatch.setattr(kernels, "group_norm", group_norm)
    assert_equal(last(**inputs).sample, expected)
    assert all(seen), "a map had to be copied"
    assert len(seen) == sum(isinstance(part, nn.GroupNorm) for part in plain.modules())


@torch.no_grad()
@pytest.mark.parametrize("more", [{"act_fn": "gelu"}, {"time_embedding_act_fn": "silu"}])
def test_activations_are_those_of_the_config(kernels: ModuleType, more: dict[str, Any]) -> None:
    plain, inputs = unet(**more)
    other, _ = unet()
    expected = plain(**inputs).sample
    assert float((other(**inputs).sample - expected).abs().max()) > 1e-2, "it does not matter"
    assert_equal(fused(plain)(**inputs).sample, expected)


PLAIN: dict[str, dict[str, Any]] = {
    "added time": {},
    "time that scales": {"resnet_time_scale_shift": "scale_shift"},
    "halved by residual blocks": {
        "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "mid_block_scale_factor": 1.5,
    },
}


@torch.no_grad()
@pytest.mark.parametrize("kind", PLAIN)
def test_a_fused_model_without_text_predicts_the_same(kernels: ModuleType, kind: str) -> None:
    config = {
        "_class_name": "UNet2DModel",
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    plain = on_device(randomise(UNet2DModel.from_config(config | PLAIN[kind])))
    sample = on_device(noise(2, 3, 12, 8))
    assert_equal(fused(plain)(sample, 7).sample, plain(sample, 7).sample)


@torch.no_grad()
def test_a_fused_controlnet_gives_the_same_features(kernels: ModuleType) -> None:
    of_unets = {"sample_size", "up_block_types"}
    config = {name: value for name, value in COMMON.items() if name not in of_unets}
    config["conditioning_embedding_out_channels"] = (8, 16)
    plain = on_device(randomise(ControlNetModel.from_config(config)))
    inputs = on_device(unet_inputs(COMMON, 2, 8, 6) | {"controlnet_cond": noise(2, 3, 16, 12)})
    fast = fused(plain)
    assert any(isinstance(part, PointwiseConv2d) for part in fast.modules())
    found, expected = fast(**inputs), plain(**inputs)
    for ours, theirs in zip(found[0], expected[0], strict=True):
        assert_equal(ours, theirs)
    assert_equal(found[1], expected[1])


def autoencoder() -> AutoencoderKL:
    model: AutoencoderKL = randomise(
        AutoencoderKL.from_config(
            {
                "_class_name": "AutoencoderKL",
                "block_out_channels": (32, 64),
                "down_block_types": ("DownEncoderBlock2D",) * 2,
                "up_block_types": ("UpDecoderBlock2D",) * 2,
                "latent_channels": 4,
                "norm_num_groups": 8,
            }
        )
    )
    return on_device(model)  # type: ignore[no-any-return]


@torch.no_grad()
def test_a_fused_autoencoder_encodes_and_decodes_the_same(
    kernels: ModuleType, request: pytest.FixtureRequest
) -> None:
    plain = autoencoder()
    pictures, latents = on_device(noise(1, 3, 14, 18)), on_device(noise(2, 4, 7, 5))
    moments, decoded = plain.encode(pictures).latent_dist.mean, plain.decode(latents).sample
    fast = fused(plain)
    request.getfixturevalue("no_torch_norms")
    assert_equal(fast.encode(pictures).latent_dist.mean, moments)
    assert_equal(fast.decode(latents).sample, decoded)


@torch.no_grad()
def test_bfloat16_stays_as_near_to_float32_as_the_plain_model(kernels: ModuleType) -> None:
    whole, inputs = unet()
    exact = whole(**inputs).sample
    plain = whole.to(torch.bfloat16)
    half = {
        name: value if name == "timestep" else value.to(torch.bfloat16)
        for name, value in inputs.items()
    }
    far = (plain(**half).sample.float() - exact).abs().mean()
    # Twice as far is what the interpreter may make of it, which cuts off rather than rounds.
    assert (fused(plain)(**half).sample.float() - exact).abs().mean() < 2 * far


@torch.no_grad()
def test_all_weights_are_shared_under_the_same_names(kernels: ModuleType) -> None:
    plain, inputs = unet()
    before = plain(**inputs).sample
    fast = fused(plain)
    assert fast is not plain
    assert isinstance(fast, UNet2DConditionModel)
    ours, theirs = (
        [(name, weight.data_ptr()) for name, weight in each.state_dict().items()]
        for each in (fast, plain)
    )
    assert ours == theirs
    kinds = [type(part) for part in plain.modules()]
    assert not [kind for kind in kinds if kind.__module__ == module.__name__]
    assert torch.equal(plain(**inputs).sample, before)
    plain.conv_norm_out.weight.mul_(2)
    assert_equal(fast(**inputs).sample, plain(**inputs).sample)


def test_a_block_can_be_called_alone(kernels: ModuleType) -> None:
    plain, _ = unet("sdxl")
    name = "mid_block.attentions.0.transformer_blocks.1"
    tokens, context = on_device(noise(2, 15, 64)), on_device(noise(2, 7, 48, seed=2))
    kept = tokens.clone()
    with torch.no_grad():
        found, expected = (
            each.get_submodule(name)(tokens, Context(context)) for each in (fused(plain), plain)
        )
    assert_equal(found, expected)
    assert torch.equal(tokens, kept)


@pytest.mark.skipif(DEVICE == "cuda", reason="kernels run here")
def test_a_model_is_itself_where_no_kernels_run() -> None:
    plain = autoencoder()
    assert fused(plain) is plain


def test_so_is_one_in_float64_without_memory_or_with_nothing_to_fuse(kernels: ModuleType) -> None:
    linear = nn.Sequential(nn.Linear(3, 3))
    for model in (autoencoder().double(), autoencoder().to("meta"), linear):
        assert fused(model) is model


def test_that_triton_does_not_work_on_a_gpu_is_said_with_the_way_out(
    kernels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(kernels, "geglu", fail)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(2))
    weight: Any = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    with pytest.warns(UserWarning, match=r"slower.*Failed to find C compiler.*TRITON_CACHE_DIR"):
        assert not module._has_kernels(weight)


@pytest.mark.skipif(DEVICE == "cuda", reason="kernels run here")
def test_nothing_is_said_where_nobody_expects_kernels() -> None:
    assert not module._has_kernels(torch.ones(2))


@pytest.mark.skipif(DEVICE == "cuda", reason="kernels run here")
def test_without_triton_models_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delattr(graphdiff.models, "kernels", raising=False)
    monkeypatch.setitem(sys.modules, "graphdiff.models.kernels", None)
    plain = autoencoder()
    assert fused(plain) is plain

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from graphdiff.models import ControlNetModel, MultiControlNetModel, UNet2DConditionModel
from tests.models.reference import COMMON, UNETS, assert_equal, noise, randomise, unet_inputs

UNET_ONLY = ("sample_size", "up_block_types")
NETS: dict[str, dict[str, Any]] = {
    "sd1": {},
    "sd2": {"use_linear_projection": True},
    "sdxl": UNETS["sdxl"],
    "bgr": {"controlnet_conditioning_channel_order": "bgr", "conditioning_channels": 2},
    "pooled": {"global_pool_conditions": True},
    "heads": {"num_attention_heads": (2, 4)},
    "plain middle": {"mid_block_type": "UNetMidBlock2D", "layers_per_block": 2},
}


def pair(extra: dict[str, Any], folder: Path, seed: int = 0) -> tuple[ControlNetModel, Any]:
    config = {k: v for k, v in (COMMON | extra).items() if k not in UNET_ONLY}
    config["conditioning_embedding_out_channels"] = (8, 16)
    theirs = randomise(diffusers.ControlNetModel(**config), seed)
    theirs.save_pretrained(folder)
    return ControlNetModel.from_pretrained(folder), theirs


def assert_same(ours: Any, theirs: Any) -> None:
    assert len(ours[0]) == len(theirs[0])
    for found, expected in zip((*ours[0], ours[1]), (*theirs[0], theirs[1]), strict=True):
        assert_equal(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("guess_mode", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_it_gives_what_diffusers_gives(net: str, guess_mode: bool, tmp_path: Path) -> None:
    ours, theirs = pair(NETS[net], tmp_path)
    inputs = unet_inputs(COMMON | NETS[net], height=15, width=13)
    picture = noise(2, NETS[net].get("conditioning_channels", 3), 30, 26).sigmoid()
    more = {"controlnet_cond": picture, "conditioning_scale": 0.7, "guess_mode": guess_mode}
    found = ours(**inputs, **more)
    assert_same(found, theirs(**inputs, **more, return_dict=False))
    assert found.mid_block_res_sample is found[1]


@torch.no_grad()
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_unet_is_steered_as_in_diffusers(family: str, tmp_path: Path) -> None:
    config = COMMON | UNETS[family]
    net, _ = pair(UNETS[family], tmp_path / "net")
    theirs = randomise(diffusers.UNet2DConditionModel(**config))
    theirs.save_pretrained(tmp_path / "unet")
    ours = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    inputs = unet_inputs(config)
    down, mid = net(**inputs, controlnet_cond=noise(2, 3, 32, 24).sigmoid())
    residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
    steered = ours(**inputs, **residuals).sample
    assert_equal(steered, theirs(**inputs, **residuals).sample)
    assert float((steered - ours(**inputs).sample).abs().max()) > 0.1


@torch.no_grad()
def test_several_add_up_as_in_diffusers(tmp_path: Path) -> None:
    ours, theirs = zip(*(pair({}, tmp_path / str(seed), seed) for seed in range(3)), strict=True)
    inputs = unet_inputs(COMMON)
    pictures = [noise(2, 3, 32, 24, seed=i).sigmoid() for i in range(3)]
    more = {"controlnet_cond": pictures, "conditioning_scale": [1.0, 0.5, 0.2]}
    expected = diffusers.MultiControlNetModel(theirs)(**inputs, **more, return_dict=False)
    several = MultiControlNetModel(ours)
    assert_same(several(**inputs, **more), expected)
    with pytest.raises(ValueError, match=r"3 ControlNets need as many .* 2 pictures and 3 scales"):
        several(**inputs, controlnet_cond=pictures[:2], conditioning_scale=[1.0, 0.5, 0.2])


@torch.no_grad()
def test_a_new_one_changes_nothing_yet() -> None:
    config = {k: v for k, v in COMMON.items() if k not in UNET_ONLY}
    net = ControlNetModel.from_config(config)
    down, mid = net(**unet_inputs(COMMON), controlnet_cond=noise(2, 3, 128, 96))
    assert all(float(x.abs().max()) == 0.0 for x in (*down, mid))

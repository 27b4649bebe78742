from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from graphdiff.models import AutoencoderKL, UNet2DConditionModel
from tests.models.reference import COMMON, UNETS, assert_equal, noise, randomise, unet_inputs
from tests.models.test_autoencoder_kl import TINY as TINY_VAE


def unets(config: dict[str, Any], folder: Path) -> tuple[UNet2DConditionModel, Any]:
    theirs = randomise(diffusers.UNet2DConditionModel(**config))
    theirs.save_pretrained(folder)
    return UNet2DConditionModel.from_pretrained(folder), theirs


def loss(model: Any, inputs: dict[str, Any]) -> Tensor:
    return F.mse_loss(model(**inputs).sample.float(), noise(*inputs["sample"].shape, seed=9))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_gradients_are_those_of_diffusers(family: str, tmp_path: Path) -> None:
    config = COMMON | UNETS[family]
    ours, theirs = unets(config, tmp_path)
    inputs = unet_inputs(config)
    for model in (ours, theirs):
        torch.autograd.backward(loss(model.train(), inputs))
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        difference = (parameter.grad - expected[name]).abs().max()
        assert difference <= 1e-5 * max(1.0, float(expected[name].abs().max())), name


def test_an_autoencoder_learns(tmp_path: Path) -> None:
    theirs = randomise(diffusers.AutoencoderKL(**TINY_VAE))
    theirs.save_pretrained(tmp_path)
    model = AutoencoderKL.from_pretrained(tmp_path).train()
    picture = noise(2, 3, 16, 16).clamp(-1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        latents = model.encode(picture).latent_dist
        sample = latents.sample(torch.Generator().manual_seed(0))
        value = F.mse_loss(model.decode(sample).sample, picture) + 1e-6 * latents.kl().mean()
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        losses.append(float(value.detach()))
    assert losses[-1] < 0.8 * losses[0]
    again = AutoencoderKL.from_pretrained(tmp_path)
    before = theirs.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in again.state_dict().items()), (
        "training changed the mapped file"
    )


def test_autocast_computes_in_bfloat16_and_learns_in_float32(tmp_path: Path) -> None:
    ours, _ = unets(COMMON, tmp_path)
    inputs = unet_inputs(COMMON)
    full = ours(**inputs).sample
    with torch.autocast("cpu", torch.bfloat16):
        half = ours(**inputs).sample
        value = loss(ours.train(), inputs)
    torch.autograd.backward(value)
    assert half.dtype == torch.bfloat16
    assert float(((half - full).std() / full.std()).detach()) < 0.05
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in ours.parameters())


def test_dropout_is_that_of_the_config(tmp_path: Path) -> None:
    ours, theirs = unets(COMMON | {"dropout": 0.3}, tmp_path)
    inputs = unet_inputs(COMMON)
    outputs: list[Tensor] = []
    for model in (ours.train(), theirs.train()):
        torch.manual_seed(0)
        with torch.no_grad():
            outputs.append(model(**inputs).sample)
    assert_equal(outputs[0], outputs[1])
    with torch.no_grad():
        assert not torch.equal(outputs[0], ours.eval()(**inputs).sample)

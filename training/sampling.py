"""Draw pictures from a text-to-image model in training, many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from graphdiff.models import AutoencoderKL, CLIPTextModel, UNet2DConditionModel
from graphdiff.schedulers.schedule import Rule
from training.networks import SAMPLER

Tokenize = Callable[[Sequence[str]], Tensor]
"""Texts to token ids, (n, context)."""


@torch.no_grad()
def draw(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    vae: AutoencoderKL,
    tokenize: Tokenize,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int = 20,
    guidance: float = 3.0,
    rule: Rule[Any] = SAMPLER,
    size: int = 16,
) -> Tensor:
    """Pictures (n, 3, h, w) about in -1..1, one for each prompt and seed.

    Args:
        unet: What predicts.
        text_encoder: What reads the prompts.
        vae: What decodes.
        tokenize: The tokenizer.
        prompts: What to draw.
        seeds: Where each picture's noise comes from; as many as prompts.
        steps: Calls of the U-Net.
        guidance: Classifier-free guidance scale.
        rule: The sampler.
        size: Height and width of the latents.
    """
    conditioning = text_encoder(tokenize([*prompts, *([""] * len(prompts))])).last_hidden_state
    schedule = rule.schedule(steps)
    noise = [
        torch.randn(1, 4, size, size, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    sample, history = torch.cat(noise) * schedule.init_noise_sigma, None
    for step in schedule:
        scaled = step.scale_input(torch.cat([sample, sample]))
        cond, uncond = unet(scaled, step.timestep, conditioning).sample.chunk(2)
        guided = uncond + guidance * (cond - uncond)
        sample, history, _ = rule.step(guided, step, sample, history)
    parts = torch.split(sample / vae.config.scaling_factor, 16)
    return torch.cat([vae.decode(part).sample for part in parts])

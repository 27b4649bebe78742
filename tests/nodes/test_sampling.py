"""Schedules, noise, predictions, guidance and steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from graphdiff_nodes.conditioning import TextEncode
from graphdiff_nodes.latents import EmptyLatents, VAEDecode
from graphdiff_nodes.models import LoadModel, Scheduler
from graphdiff_nodes.prediction import guidance_embedding
from graphdiff_nodes.sampling import (
    AddNoise,
    Guidance,
    MaskedBlend,
    NoiseSample,
    SchedulerStep,
    StepCount,
    Timesteps,
    UNetPredict,
)
from graphdiff_nodes.values import History, Latents, Mask, Prediction

from graphdiff.graph.node import Settings
from graphdiff.rng import Rng
from graphdiff.schedulers.schedule import Schedule

CPU = Settings("cpu", "float32")


@pytest.fixture
def model(checkpoint: Any) -> Any:
    return LoadModel.fn(str(checkpoint("stable_diffusion")[0]), settings=CPU)


@pytest.fixture
def steps(model: Any) -> Schedule:
    return Timesteps.fn(model.scheduler, 4)


def test_the_schedule_is_data_that_can_be_cut(model: Any) -> None:
    ddim = Scheduler.fn("DDIMScheduler", model.scheduler)
    whole = Timesteps.fn(ddim, 10)
    assert StepCount.fn(whole) == 10
    assert list(Timesteps.fn(ddim, 10, strength=0.35)) == list(whole)[7:]
    base, rest = Timesteps.fn(ddim, 10, end=0.6), Timesteps.fn(ddim, 10, start=0.6)
    assert [*base, *rest] == list(whole)


def test_a_scheduler_takes_over_what_its_base_states(model: Any) -> None:
    made = Scheduler.fn(
        "EulerDiscreteScheduler", model.scheduler, schedule="karras", prediction_type="sample"
    )
    assert made.config["beta_schedule"] == "scaled_linear"
    assert made.config["use_karras_sigmas"] is True
    assert Timesteps.fn(made, 3)[0].rule.prediction_type == "sample"


def test_samplers_go_by_comfyui_s_names_too(model: Any) -> None:
    made = Scheduler.fn("dpmpp_2m_sde", model.scheduler, schedule="karras").config
    assert made["_class_name"] == "DPMSolverMultistepScheduler"
    assert (made["algorithm_type"], made["use_karras_sigmas"]) == ("sde-dpmsolver++", True)
    trailing = Scheduler.fn(None, model.scheduler, schedule="trailing").config
    assert (trailing["_class_name"], trailing["timestep_spacing"]) == ("PNDMScheduler", "trailing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "which scheduler"),
        ({"name": "EulerScheduler"}, "did you mean"),
        ({"name": "DDIMScheduler", "config": {"beta_strat": 0.1}}, "beta_start"),
        ({"name": "euler", "eta": 0.5}, "EulerDiscreteScheduler has no eta"),
        ({"name": "lms", "schedule": "karass"}, "did you mean 'karras'"),
    ],
)
def test_a_scheduler_that_there_is_not(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scheduler.fn(**arguments)


def test_each_picture_of_a_seed_s_batch_is_that_of_its_own_seed(model: Any, steps: Any) -> None:
    both = NoiseSample.fn(model.unet, steps, 5, batch=2)
    alone = NoiseSample.fn(model.unet, steps, 6)
    assert torch.equal(both.latents.samples[1:], alone.latents.samples)
    assert both.rng.split()[1] == alone.rng


def test_noise_is_that_of_torch_s_generator_at_any_size(model: Any, steps: Any) -> None:
    noise = NoiseSample.fn(model.unet, steps, 3, width=72, height=40)
    wanted = torch.randn(1, 4, 10, 18, generator=torch.Generator().manual_seed(3))
    assert torch.equal(noise.noise.samples, wanted)
    with pytest.raises(ValueError, match=r"height is 41 pixels.*multiples of 4: take 40 or 44"):
        NoiseSample.fn(model.unet, steps, 3, height=41)


def test_noising_nothing_gives_the_noise_of_the_step(model: Any, steps: Any) -> None:
    zeros = EmptyLatents.fn(model.unet, batch=2)
    noised = AddNoise.fn(zeros, steps, Rng.from_seed([1, 2]))
    assert torch.allclose(noised.latents.samples, noised.noise.samples * steps[0].noise)
    empty = AddNoise.fn(zeros, steps[4:][len(steps) :], 0)
    assert torch.equal(empty.latents.samples, zeros.samples)


@pytest.mark.parametrize("kind", ["stable_diffusion", "stable_diffusion_xl"])
def test_predictions_together_are_those_of_each_alone(checkpoint: Any, kind: str) -> None:
    model = LoadModel.fn(str(checkpoint(kind)[0]), settings=CPU)
    schedule = Timesteps.fn(model.scheduler, 4)
    texts = ["a cat", "a red apple", "a dog"]
    conditionings = TextEncode.batch.fn(  # type: ignore[union-attr]
        model.text_encoder, texts, [None] * 3, 0, "plain", None, None, 0, 0, None, None, 6.0
    )
    for text, together in zip(texts, conditionings, strict=True):
        alone = TextEncode.fn(model.text_encoder, text)
        gap = (alone.parts[0].sequence - together.parts[0].sequence).abs().max()
        assert gap < 1e-5
    # Two of one shape, one of another, and a batch of two: rows are sorted into forwards.
    samples = [
        NoiseSample.fn(model.unet, schedule, 0).latents,
        NoiseSample.fn(model.unet, schedule, 1, width=48).latents,
        NoiseSample.fn(model.unet, schedule, 2, batch=2).latents,
    ]
    places = [schedule[0], schedule[1], schedule[2]]
    nothing: list[Any] = [None] * 3
    batch = UNetPredict.batch.fn(  # type: ignore[union-attr]
        model.unet, samples, places, conditionings, nothing, nothing
    )
    for sample, place, text, together in zip(samples, places, conditionings, batch, strict=True):
        single = UNetPredict.fn(model.unet, sample, place, text)
        assert (single.samples - together.samples).abs().max() < 1e-5
    decoded = VAEDecode.batch.fn(model.vae, [samples[0], samples[2]])  # type: ignore[union-attr]
    assert (decoded[1].pixels - VAEDecode.fn(model.vae, samples[2]).pixels).abs().max() < 1e-5


def test_a_step_does_not_change_what_it_reads(model: Any, steps: Any) -> None:
    sample = NoiseSample.fn(model.unet, steps, 0)
    before = sample.latents.samples.clone()
    stepped = SchedulerStep.fn(
        Prediction(torch.ones_like(before)), steps[0], sample.latents, None, sample.rng
    )
    assert torch.equal(sample.latents.samples, before)
    assert stepped.rng == sample.rng
    with pytest.raises(ValueError, match="made by DDIMScheduler, which PNDMScheduler cannot read"):
        SchedulerStep.fn(
            Prediction(before), steps[1], sample.latents, History("DDIMScheduler", 1), None
        )


def test_a_stochastic_scheduler_without_anything_to_draw_from_is_refused(model: Any) -> None:
    scheduler = Scheduler.fn("EulerAncestralDiscreteScheduler", model.scheduler)
    place = Timesteps.fn(scheduler, 2)[0]
    zeros = torch.zeros(1, 4, 4, 4)
    with pytest.raises(ValueError, match="draws noise: give step"):
        SchedulerStep.fn(Prediction(zeros), place, Latents(zeros))


def test_guidance_goes_from_one_prediction_beyond_the_other() -> None:
    cond, uncond = Prediction(torch.full((1, 1, 2, 2), 3.0)), Prediction(torch.ones(1, 1, 2, 2))
    assert Guidance.fn(cond, uncond, 2.0).samples.eq(5).all()
    assert Guidance.fn(cond, uncond, 1.0) is cond
    assert Guidance.fn(cond, None, 7.0) is cond


def test_rescaled_guidance_has_the_contrast_of_the_prompt_s_prediction() -> None:
    rng = torch.Generator().manual_seed(0)
    cond, uncond = (Prediction(torch.randn(2, 4, 8, 8, generator=rng)) for _ in range(2))
    full = Guidance.fn(cond, uncond, 9.0, rescale=1.0).samples
    assert torch.allclose(full.std((1, 2, 3)), cond.samples.std((1, 2, 3)), rtol=1e-4)


def test_an_unguided_call_needs_no_negative_prediction() -> None:
    needed: Any = Guidance.needed
    assert "uncond" in needed(scale=1.0, unet=None)
    assert "uncond" not in needed(scale=1.5, unet=None)


def test_a_blend_keeps_the_original_noised_as_far_as_the_sample(model: Any, steps: Any) -> None:
    shape = (1, 4, 4, 4)
    original, noise, sample = (Latents(torch.full(shape, x)) for x in (1.0, 10.0, 100.0))
    mask = Mask(torch.tensor([[[[1.0, 0.0]]]]).repeat(1, 1, 2, 1))
    step = steps[0]
    mixed = MaskedBlend.fn(sample, original, noise, mask, step).samples
    assert mixed[..., :2].eq(100).all()
    kept = step.signal_next + 10 * step.noise_next
    assert torch.allclose(mixed[..., 2:], torch.tensor(kept))
    last = MaskedBlend.fn(sample, original, noise, mask, steps[-1]).samples
    assert last[..., 2:].eq(1).all()


def test_an_embedded_guidance_scale_is_that_of_diffusers(checkpoint: Any) -> None:
    _, made = checkpoint("stable_diffusion")
    scales = torch.tensor([7.5, 1.0])
    wanted = made.get_guidance_scale_embedding(scales - 1, embedding_dim=33)
    assert torch.allclose(guidance_embedding(scales.tolist(), 33), wanted, atol=1e-5)


def test_a_distilled_unet_takes_the_guidance_scale_as_an_input(
    tmp_path: Path, checkpoint: Any
) -> None:
    from tests.nodes import tiny

    folder = tmp_path / "lcm"
    made = tiny.stable_diffusion(folder, time_cond_proj_dim=16)
    model = LoadModel.fn(str(folder), settings=CPU)
    schedule = Timesteps.fn(model.scheduler, 2)
    text = TextEncode.fn(model.text_encoder, "a cat")
    sample = NoiseSample.fn(model.unet, schedule, 0).latents
    with pytest.raises(ValueError, match="this UNet is distilled"):
        UNetPredict.fn(model.unet, sample, schedule[0], text)
    found = UNetPredict.fn(model.unet, sample, schedule[0], text, embedded_guidance=4.0)
    embedded = made.get_guidance_scale_embedding(torch.tensor([3.0]), embedding_dim=16)
    with torch.no_grad():
        wanted = made.unet(
            sample.samples,
            schedule[0].timestep,
            encoder_hidden_states=text.parts[0].sequence,
            timestep_cond=embedded,
        ).sample
    assert (found.samples - wanted).abs().max() < 1e-5
    needed: Any = UNetPredict.needed
    assert needed(unet=model.unet) == ()
    assert Guidance.fn(found, found, 9.0, unet=model.unet) is found

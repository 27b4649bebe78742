"""Sampling: the schedule, the noise, what the UNet predicts, guidance, and the steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

from annotated_types import Ge, Gt, Le

from graphdiff.checkpoints.handles import UNet
from graphdiff.graph.node import WireError, node
from graphdiff.rng import Rng
from graphdiff.schedulers.rules import rule_from_config
from graphdiff.schedulers.schedule import Schedule, Step
from graphdiff_nodes.batches import rows_that_pay
from graphdiff_nodes.facts import (
    KnownConditioning,
    KnownLatents,
    LatentFacts,
    check_embedded_guidance,
    check_step,
    check_unet_conditioning,
    check_unet_sample,
)
from graphdiff_nodes.latents import latent_mask
from graphdiff_nodes.prediction import Job, predict
from graphdiff_nodes.room import BYTES, refuse
from graphdiff_nodes.values import Conditioning, History, Latents, Mask, Prediction, Scheduler

if TYPE_CHECKING:
    # Steps bring their rules with them, from modules that are found by name when a run is planned:
    # said here, so that a change of one is a change of these nodes.
    from torch import Tensor

    import graphdiff.schedulers  # noqa: F401  # pyright: ignore[reportUnusedImport]

_MOST = 16  # calls as one: more gain nothing
_ALIVE = 35  # maps at once, as wide as the first block's: feed-forward layers are eight times wider

Share = Annotated[float, Ge(0), Le(1)]
Seed = Annotated[int, Ge(-(2**63)), Le(2**64 - 1)]  # what a torch generator takes


class Noise(NamedTuple):
    """Where sampling starts.

    Attributes:
        latents: The sample to denoise.
        noise: The noise in it, of deviation 1, as inpainting needs it again.
        rng: What to draw from next.
    """

    latents: Latents
    noise: Latents
    rng: Rng


class Stepped(NamedTuple):
    """Where a step leads.

    Attributes:
        sample: The less noisy sample.
        history: What the scheduler remembers for its next step.
        rng: What to draw from next; None where nothing was given.
    """

    sample: Latents
    history: History | None
    rng: Rng


@node(at="plan")
def Timesteps(
    scheduler: Scheduler,
    steps: Annotated[int, Ge(1)] | None = None,
    *,
    strength: Share = 1.0,
    start: Share = 0.0,
    end: Share = 1.0,
    timesteps: list[float] | None = None,
    sigmas: list[float] | None = None,
) -> Schedule:
    """Lay out the steps of a run.

    Args:
        scheduler: The scheduler.
        steps: How many steps to take.
        strength: The share of the steps to take, counted from the end, as picture to picture does:
            1 takes all, 0.5 the less noisy half.
        start: The share of the training timesteps to leave out at the noisy end, as a refiner does.
        end: The share of the training timesteps after which to stop, as before a refiner.
        timesteps: Timesteps to visit instead of `steps`, from high to low.
        sigmas: Noise levels to visit instead of `steps`, from high to low, the end among them.
    """
    rule = rule_from_config(scheduler.config)
    return rule.schedule(
        steps, timesteps=timesteps, sigmas=sigmas, strength=strength, start=start, end=end
    )


@node(at="plan")
def StepCount(schedule: Schedule) -> int:
    """Count the entries of a schedule: the passes of a loop over it.

    Args:
        schedule: The schedule.
    """
    return len(schedule)


@node
def NoiseSample(
    unet: UNet,
    schedule: Schedule,
    rng: Seed | Rng,
    *,
    width: Annotated[int, Gt(0)] | None = None,
    height: Annotated[int, Gt(0)] | None = None,
    batch: Annotated[int, Ge(1)] = 1,
) -> Noise:
    """Draw the noise that sampling starts from.

    Args:
        unet: The UNet that will denoise it; its channels and size are the noise's.
        schedule: The steps; the noise is scaled to the first.
        rng: A seed, or a stream of random numbers. A seed gives each picture of a batch a stream of
            its own, from the seeds that follow: picture i is that of seed + i alone.
        width: Width of the picture in pixels; the checkpoint's own where None.
        height: Height of the picture in pixels; the checkpoint's own where None.
        batch: How many pictures.
    """
    default_height, default_width = unet.default_size
    rows, columns = height or default_height, width or default_width
    factor = unet.spatial_factor
    for name, size in (("height", rows), ("width", columns)):
        if size % factor:
            low = size // factor * factor
            raise ValueError(
                f"{name} is {size} pixels, but this model's pictures are multiples of {factor}: "
                f"take {low or factor} or {low + factor}"
            )
    shape = (batch, unet.latent_channels, rows // factor, columns // factor)
    needed = math.prod(shape) * (4 + BYTES[unet.dtype])  # as drawn, and as it is given
    refuse(needed, f"noise for a picture of {columns} x {rows} pixels")
    drawn, rng = started(rng, batch).normal(shape)
    noise = _placed(drawn, unet)
    return Noise(Latents(noise * schedule.init_noise_sigma), Latents(noise), rng)


@NoiseSample.infer
def _noise_facts(unet: UNet) -> dict[str, object]:
    facts = LatentFacts(unet.latent_channels)
    return {"latents": facts, "noise": facts}


@node
def NoiseFromLatents(latents: Latents, schedule: Schedule, rng: Seed | Rng) -> Noise:
    """Take latents of one's own for the noise that sampling starts from.

    Args:
        latents: The noise, of deviation 1.
        schedule: The steps; the noise is scaled to the first.
        rng: A seed or a stream for what draws later; nothing is drawn here.
    """
    stream = started(rng, latents.samples.shape[0])
    return Noise(Latents(latents.samples * schedule.init_noise_sigma), latents, stream)


@NoiseFromLatents.infer
def _given_noise_facts(latents: KnownLatents) -> dict[str, object]:
    return {"latents": latents, "noise": latents}


@node
def AddNoise(latents: Latents, schedule: Schedule, rng: Seed | Rng) -> Noise:
    """Noise latents as far as a schedule's first step expects, to start from a picture.

    Args:
        latents: The picture's latents.
        schedule: The steps that are left; see the strength of Timesteps.
        rng: A seed, or a stream of random numbers; a seed gives each picture a stream of its own.
    """
    samples = latents.samples
    drawn, rng = started(rng, samples.shape[0]).normal(samples.shape)
    noise = drawn.to(samples)
    if not len(schedule):
        return Noise(latents, Latents(noise), rng)
    step = schedule[0]
    return Noise(Latents(step.rule.add_noise(samples, noise, step)), Latents(noise), rng)


@AddNoise.infer
def _add_noise_facts(latents: KnownLatents) -> dict[str, object]:
    return {"latents": latents, "noise": latents}


@node
def UNetPredict(
    unet: UNet,
    sample: Latents,
    step: Step,
    conditioning: Conditioning | None = None,
    *,
    extra: Latents | None = None,
    embedded_guidance: float | None = None,
) -> Prediction:
    """Ask a UNet what is noise in a sample.

    Args:
        unet: The UNet.
        sample: The noisy sample.
        step: The place in the schedule; it scales the sample to what the UNet expects.
        conditioning: What guides the UNet; None for one without text.
        extra: Channels that an inpainting, depth or edit UNet takes beside the sample.
        embedded_guidance: The guidance scale that a distilled UNet (LCM) takes as an input; others
            are guided by Guidance instead, and need none here.
    """
    (predicted,) = predict(unet, [_job(unet, sample, step, conditioning, extra, embedded_guidance)])
    return Prediction(predicted)


def _calls_that_pay(unet: UNet, sample: Latents) -> int:
    """How many predictions should run as one: at least the two of guidance."""
    rows, _, height, width = sample.samples.shape
    numbers = unet.config.block_out_channels[0] * height * width
    paying = rows_that_pay(numbers, _ALIVE, dtype=unet.dtype, device=unet.device, least=2 * rows)
    return max(1, min(paying // rows, _MOST))


@UNetPredict.batched(
    over=("sample", "step", "conditioning", "extra", "embedded_guidance"), limit=_calls_that_pay
)
def _predict_together(
    unet: UNet,
    sample: Sequence[Latents],
    step: Sequence[Step],
    conditioning: Sequence[Conditioning | None],
    extra: Sequence[Latents | None],
    embedded_guidance: Sequence[float | None],
) -> list[Prediction]:
    columns = zip(sample, step, conditioning, extra, embedded_guidance, strict=True)
    return [Prediction(p) for p in predict(unet, [_job(unet, *row) for row in columns])]


@UNetPredict.needs
def _guidance_is_embedded(unet: UNet) -> Iterable[str]:
    return () if unet.guidance_width else ("embedded_guidance",)


@UNetPredict.infer
def _prediction_facts(
    unet: UNet,
    sample: KnownLatents,
    step: Step | None,
    conditioning: KnownConditioning,
    extra: KnownLatents,
    embedded_guidance: float | None,
) -> LatentFacts:
    check_unet_sample(unet, sample, extra)
    check_unet_conditioning(unet, conditioning)
    check_step(unet, step)
    check_embedded_guidance(unet, embedded_guidance)
    return LatentFacts(unet.latent_channels)


@node
def Guidance(
    cond: Prediction,
    uncond: Prediction | None = None,
    scale: float = 7.5,
    *,
    rescale: Share = 0.0,
    unet: UNet | None = None,
) -> Prediction:
    """Guide away from one prediction and towards another. Ho and Salimans 2022, arXiv:2207.12598.

    Args:
        cond: The prediction with the prompt.
        uncond: The prediction with the negative prompt; not needed where the scale is at most 1.
        scale: How far to go: 1 is `cond` itself, higher follows the prompt more closely.
        rescale: How much of the contrast that guidance adds is taken back, against overexposure.
            Lin et al. 2023, arXiv:2305.08891, section 3.4.
        unet: The UNet, where it may be a distilled one (LCM): then guidance is its input, and
            `cond` is the result.
    """
    if scale <= 1 or uncond is None or (unet is not None and unet.guidance_width):
        return cond
    towards = cond.samples - uncond.samples
    guided = uncond.samples + scale * towards
    if rescale > 0:
        dims = tuple(range(1, guided.ndim))
        contrast = cond.samples.std(dims, keepdim=True) / guided.std(dims, keepdim=True)
        guided = rescale * (guided * contrast) + (1 - rescale) * guided
    return Prediction(guided)


@Guidance.needs
def _unguided(scale: float | None, unet: UNet | None) -> Iterable[str]:
    if unet is not None and unet.guidance_width:
        return ("uncond",)
    return ("uncond", "unet") if scale is not None and scale <= 1 else ("unet",)


@Guidance.infer
def _guided_facts(
    cond: KnownLatents, uncond: KnownLatents, scale: float | None, unet: UNet | None
) -> KnownLatents:
    if cond is not None and uncond is not None and cond.channels != uncond.channels:
        raise WireError(
            "uncond", f"`cond` has {cond.channels} channels, but this has {uncond.channels}"
        )
    return cond


@node
def SchedulerStep(
    prediction: Prediction,
    step: Step,
    sample: Latents,
    history: History | None = None,
    rng: Rng | None = None,
) -> Stepped:
    """Go from one noise level to the next.

    Args:
        prediction: What the UNet says, guided or not.
        step: The place in the schedule.
        sample: The sample at that place.
        history: What the step before remembered; None at the start.
        rng: What a stochastic scheduler draws from; others pass it on.
    """
    rule = step.rule
    if history is not None and history.rule != rule.name:
        raise ValueError(
            f"this history was made by {history.rule}, which {rule.name} cannot read: start a new "
            "scheduler with history null"
        )
    memory = None if history is None else history.memory
    here = sample.samples.to(prediction.samples.device)  # latents of a caller's may lie elsewhere
    moved = rule.step(prediction.samples, step, here, memory, rng)
    remembered = None if moved.history is None else History(rule.name, moved.history)
    after = moved.rng if isinstance(moved.rng, Rng) else rng
    return Stepped(Latents(moved.sample), remembered, cast(Rng, after))


@SchedulerStep.infer
def _step_facts(
    prediction: KnownLatents, sample: KnownLatents, step: Step | None, rng: object
) -> dict[str, object]:
    if step is not None and rng is None and step.rule.stochastic and not step.last:
        raise WireError(
            "rng",
            f"{step.rule.name} draws noise and has nothing to draw from: carry the rng of the node "
            "that made the first sample, as in $noise.rng",
        )
    if prediction is not None and sample is not None and prediction.channels != sample.channels:
        raise WireError(
            "prediction",
            f"the sample has {sample.channels} channels, but this has {prediction.channels}",
        )
    return {"sample": sample}


@node
def MaskedBlend(
    sample: Latents,
    original: Latents,
    noise: Latents,
    mask: Mask,
    step: Step,
) -> Latents:
    """Put the original back where a mask keeps it, noised as far as the sample is after a step.

    Args:
        sample: The sample after the step.
        original: The latents of the picture that is inpainted.
        noise: The noise that the run started from, as NoiseSample or AddNoise gives it.
        mask: 1 where the picture is painted anew, 0 where it is kept.
        step: The step that was taken.
    """
    kept = step.rule.add_noise_after(original.samples, noise.samples, step)
    where = latent_mask(mask, sample.samples)
    return Latents((1 - where) * kept + where * sample.samples)


@MaskedBlend.infer
def _blend_facts(sample: KnownLatents, original: KnownLatents) -> KnownLatents:
    if sample is not None and original is not None and sample.channels != original.channels:
        raise WireError(
            "original",
            f"the sample has {sample.channels} channels, but this has {original.channels}",
        )
    return sample


def started(rng: int | Rng | None, batch: int) -> Rng:
    """Start a stream for each picture of a batch from one seed; a stream goes on as it is."""
    if isinstance(rng, Rng):
        return rng
    if rng is None:  # an rng that another node should have passed on
        raise ValueError("there is nothing to draw noise from: give rng a seed")
    return Rng.from_seed([rng + i for i in range(batch)])


def _placed(drawn: Tensor, unet: UNet) -> Tensor:
    import torch

    return drawn.to(unet.device, getattr(torch, unet.dtype), non_blocking=True)


def _job(
    unet: UNet,
    sample: Latents,
    step: Step,
    conditioning: Conditioning | None,
    extra: Latents | None,
    guidance: float | None,
) -> Job:
    check_unet_sample(unet, sample, extra)
    check_unet_conditioning(unet, conditioning)
    check_embedded_guidance(unet, guidance)
    return Job(
        sample.samples, step, conditioning, None if extra is None else extra.samples, guidance
    )

"""The tasks that the pipelines of several families share, as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from graphdiff.pipelines.checks import check_text
from graphdiff.pipelines.pictures import image_of
from graphdiff.pipelines.request import Steering

if TYPE_CHECKING:
    from graphdiff.graph.node import Node
    from graphdiff.pipelines.graphs import Builder
    from graphdiff.pipelines.request import Request
    from graphdiff.pipelines.setup import Setup

INPAINT_CHANNELS = 9


def build_text_to_image(
    builder: Builder, callback: Node[..., Any] | None, steering: Steering | None = None
) -> None:
    """A picture from a prompt, steered by ControlNets where they are said."""
    check_text(builder.request, is_pooled=builder.is_xl)
    positive, negative = builder.positive(), builder.negative()
    schedule = builder.schedule()
    noise = builder.noise(schedule, builder.rng())
    if steering is not None:
        positive, negative = builder.steered(positive, negative, schedule, steering)
    sample, rng = builder.denoised(
        schedule,
        noise.latents,
        noise.rng,
        positive=positive,
        negative=negative,
        callback=callback,
    )
    builder.finish(sample, rng)


def build_steered(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A picture from a prompt, steered by the pipeline's ControlNets, and of their picture's size.

    Raises:
        ValueError: There is no ControlNet or no picture, or there are not as many.
    """
    steering, (height, width) = _steering(builder.setup, builder.request)
    builder.request = replace(builder.request, height=height, width=width)
    build_text_to_image(builder, callback, steering)


def build_image_to_image(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A picture changed by a prompt; with `denoising_start`, latents that are denoised further.

    Latents beside the picture take the place of its noised ones.
    """
    request = builder.request
    check_text(request, is_pooled=builder.is_xl)
    positive, negative = builder.positive(), builder.negative()
    schedule = builder.schedule(has_image=True)
    is_noised = request.latents is None and request.denoising_start is None
    rng: Any = builder.rng(is_drawn=is_noised)
    if request.latents is not None:
        latents = builder.begun(request.latents)
    else:
        _check_image(builder, "image")
        latents, rng, count = builder.encoded(None, rng)
        if is_noised:
            noise = builder.noised(latents, schedule, rng, count)
            latents, rng = noise.latents, noise.rng
        else:
            latents = builder.repeated(latents, count)
    sample, rng = builder.denoised(
        schedule, latents, rng, positive=positive, negative=negative, callback=callback
    )
    builder.finish(sample, rng)


def build_inpainting(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A part of a picture painted anew, by a UNet that sees the mask or by blending."""
    request = builder.request
    check_text(request, is_pooled=builder.is_xl)
    _check_image(builder, "image")
    if request.mask_image is None:
        raise ValueError("mask_image is missing: white where the picture is painted anew")
    if request.padding_mask_crop is not None and request.form == "latent":
        raise ValueError(
            "padding_mask_crop pastes what is painted into the picture, so output_type must be "
            "pil, np or pt, not latent"
        )
    if request.denoising_start is not None and request.latents is not None:
        raise ValueError(
            "give either latents, the noise to start from, or denoising_start, which goes on with "
            "those of image"
        )
    size = builder.picture_size()
    positive, negative = builder.positive(), builder.negative()
    schedule = builder.schedule(has_image=True)
    sees_mask = builder.setup.checkpoint.unet.in_channels == INPAINT_CHANNELS
    is_begun = request.denoising_start is not None
    is_from_noise = not is_begun and (request.strength == 1.0 or request.latents is not None)

    rng: Any = builder.rng()
    original: Any = None
    if not sees_mask or not is_from_noise:
        original, rng, count = builder.encoded(size, rng)
        original = builder.repeated(original, count)
    if is_from_noise:
        noise = builder.noise(schedule, rng)
    else:
        noise = builder.noised(original, schedule, rng, request.pictures)
    mask = builder.mask(size)
    # A text-to-image UNet does not see the masked picture, but diffusers draws for it all the same.
    kept, rng = builder.blanked(size, mask, noise.rng)
    if sees_mask and kept is None:
        raise ValueError(
            "this model sees the picture without what is masked, which latents do not tell: give "
            "masked_image_latents beside latents as image"
        )
    sample, rng = builder.denoised(
        schedule,
        original if is_begun else noise.latents,
        rng,
        positive=positive,
        negative=negative,
        extra=builder.inpaint_channels(mask, kept) if sees_mask and kept is not None else None,
        blend=None if sees_mask else (original, noise.noise, mask),
        callback=callback,
    )
    builder.finish(sample, rng)


def build_depth_to_image(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A picture changed by a prompt that keeps its depth."""
    request = builder.request
    check_text(request, is_pooled=False)
    _check_image(builder, "image")
    positive, negative = builder.positive(), builder.negative()
    schedule = builder.schedule(has_image=True)
    latents, rng, count = builder.encoded(None, builder.rng())
    noise = builder.noised(latents, schedule, rng, count)
    sample, rng = builder.denoised(
        schedule,
        noise.latents,
        noise.rng,
        positive=positive,
        negative=negative,
        extra=builder.depth_channels(noise.latents),
        callback=callback,
    )
    builder.finish(sample, rng)


def _steering(setup: Setup, request: Request) -> tuple[Steering, tuple[int, int]]:
    """How a pipeline's ControlNets steer, and how large the pictures are."""
    count = len(setup.controlnets)
    if not count:
        raise ValueError(
            "this pipeline has no ControlNet: give one to from_pretrained, as controlnet=folder"
        )
    if request.image is None:
        raise ValueError("image is missing: the picture that steers")
    images = tuple(cast("Sequence[Any]", request.image)) if count > 1 else (request.image,)
    if len(images) != count:
        raise ValueError(f"there are {count} ControlNets and {len(images)} pictures: give as many")
    own = image_of(images[0], None, setup.checkpoint.unet.spatial_factor).pixels.shape[2:]
    names = "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"
    rows = [_each(name, getattr(request, name), count) for name in names]
    guess = request.guess_mode or any(_pools(folder) for folder in setup.controlnets)
    return (
        Steering(images, rows[0], rows[1], rows[2], guess),
        (request.height or own[0], request.width or own[1]),
    )


def _each(name: str, value: float | Sequence[float], count: int) -> tuple[float, ...]:
    row = tuple(value) if isinstance(value, Sequence) else (float(value),) * count
    if len(row) != count:
        raise ValueError(f"{name} has {len(row)} numbers for {count} ControlNets: give as many")
    return row


def _pools(folder: str) -> bool:
    from graphdiff.checkpoints.open import open_controlnet

    net = open_controlnet(folder, dtype="float32", device="cpu")
    return bool(net.config.get("global_pool_conditions"))


def _check_image(builder: Builder, name: str) -> None:
    if builder.request.image is None:
        raise ValueError(f"{name} is missing: the picture to start from")

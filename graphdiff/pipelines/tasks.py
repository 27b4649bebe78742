"""The tasks that the pipelines of several families share, as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from graphdiff.pipelines.pictures import image_of
from graphdiff.pipelines.request import Steering

if TYPE_CHECKING:
    from graphdiff.graph.node import Node
    from graphdiff.pipelines.graphs import Builder
    from graphdiff.pipelines.pictures import Pictures
    from graphdiff.pipelines.setup import Setup

INPAINT_CHANNELS = 9


def build_text_to_image(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A picture from a prompt, with ControlNets where there are some."""
    builder.request.check_text(alike=_is_plain(builder))
    positive, negative = builder.positive(), builder.negative()
    schedule = builder.schedule()
    noise = builder.noise(schedule, builder.rng())
    positive, negative = builder.steered(positive, negative, schedule)
    sample, rng = builder.denoised(
        schedule,
        noise.latents,
        noise.rng,
        positive=positive,
        negative=negative,
        callback=callback,
    )
    builder.finish(sample, rng)


def build_image_to_image(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A picture changed by a prompt; with `denoising_start`, latents that are denoised further."""
    request = builder.request
    request.check_text(alike=_is_plain(builder))
    request.check_strength()
    _check_image(builder, "image")
    positive, negative = builder.positive(), builder.negative()
    schedule = builder.schedule(has_image=True)
    latents, rng, count = builder.encoded(None, builder.rng())
    if request.start is None:
        noise = builder.noised(latents, schedule, rng, count)
        latents, rng = noise.latents, noise.rng
    sample, rng = builder.denoised(
        schedule, latents, rng, positive=positive, negative=negative, callback=callback
    )
    builder.finish(sample, rng)


def build_inpainting(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A part of a picture painted anew, by a UNet that sees the mask or by blending."""
    request = builder.request
    request.check_text(alike=_is_plain(builder))
    request.check_strength()
    _check_image(builder, "image")
    if request.mask is None:
        raise ValueError("mask_image is missing: white where the picture is painted anew")
    if request.padding is not None and request.form == "latent":
        raise ValueError(
            "padding_mask_crop pastes what is painted into the picture, so output_type must be "
            "pil, np or pt, not latent"
        )
    size = builder.picture_size()
    positive, negative = builder.positive(), builder.negative()
    schedule = builder.schedule(has_image=True)
    sees_mask = builder.setup.checkpoint.unet.in_channels == INPAINT_CHANNELS
    is_from_noise = request.strength == 1.0 or request.latents is not None

    rng: Any = builder.rng()
    original: Any = None
    if not sees_mask or not is_from_noise:
        original, rng, count = builder.encoded(size, rng)
        original = builder.repeated(original, count)
        image = builder.latest_image()
    else:
        image, _ = builder.image(size)
    if is_from_noise:
        noise = builder.noise(schedule, rng)
    else:
        noise = builder.noised(original, schedule, rng, request.pictures)
    mask = builder.mask(size)
    # A text-to-image UNet does not see the masked picture, but diffusers draws for it all the same.
    kept, rng = builder.blanked(image, mask, noise.rng)
    sample, rng = builder.denoised(
        schedule,
        noise.latents,
        rng,
        positive=positive,
        negative=negative,
        extra=builder.inpaint_channels(mask, kept) if sees_mask else None,
        blend=None if sees_mask else (original, noise.noise, mask),
        callback=callback,
    )
    builder.finish(sample, rng)


def build_depth_to_image(builder: Builder, callback: Node[..., Any] | None) -> None:
    """A picture changed by a prompt that keeps its depth."""
    request = builder.request
    request.check_text(alike=True)
    request.check_strength()
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


def steering(
    setup: Setup,
    image: Pictures | None,
    size: tuple[int | None, int | None],
    strength: float | Sequence[float],
    start: float | Sequence[float],
    end: float | Sequence[float],
    *,
    guess_mode: bool,
) -> tuple[Steering, tuple[int, int]]:
    """How a pipeline's ControlNets steer, and how large the pictures are.

    Args:
        setup: The pipeline.
        image: One picture, or one for each ControlNet.
        size: Height and width that were asked for.
        strength: How strongly they steer.
        start: From which share of the steps on.
        end: Up to which share.
        guess_mode: Whether they do without the prompt's help.

    Raises:
        ValueError: There is no ControlNet or no picture, or there are not as many.
    """
    count = len(setup.controlnets)
    if not count:
        raise ValueError(
            "this pipeline has no ControlNet: give one to from_pretrained, as controlnet=folder"
        )
    if image is None:
        raise ValueError("image is missing: the picture that steers")
    images = tuple(cast("Sequence[Any]", image)) if count > 1 else (image,)
    if len(images) != count:
        raise ValueError(f"there are {count} ControlNets and {len(images)} pictures: give as many")
    factor = setup.checkpoint.unet.spatial_factor
    height, width = size
    own = image_of(images[0], None, factor).pixels.shape[2:]
    rows = [_each(name, value, count) for name, value in _named(strength, start, end)]
    every = setup.controlnets
    guess = guess_mode or any(_pools(folder) for folder in every)
    return (
        Steering(images, rows[0], rows[1], rows[2], guess),
        (height or own[0], width or own[1]),
    )


def _named(
    strength: float | Sequence[float], start: float | Sequence[float], end: float | Sequence[float]
) -> list[tuple[str, float | Sequence[float]]]:
    return [
        ("controlnet_conditioning_scale", strength),
        ("control_guidance_start", start),
        ("control_guidance_end", end),
    ]


def _each(name: str, value: float | Sequence[float], count: int) -> tuple[float, ...]:
    row = tuple(value) if isinstance(value, Sequence) else (float(value),) * count
    if len(row) != count:
        raise ValueError(f"{name} has {len(row)} numbers for {count} ControlNets: give as many")
    return row


def _pools(folder: str) -> bool:
    from graphdiff.checkpoints.open import open_controlnet

    net = open_controlnet(folder, dtype="float32", device="cpu")
    return bool(net.config.get("global_pool_conditions"))


def _is_plain(builder: Builder) -> bool:
    """Whether a pipeline insists on a negative prompt of the prompt's type, as SD's do."""
    return not builder.setup.checkpoint.family.startswith("sdxl")


def _check_image(builder: Builder, name: str) -> None:
    if builder.request.image is None:
        raise ValueError(f"{name} is missing: the picture to start from")

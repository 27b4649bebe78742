"""What no call of a pipeline can ask for, refused by the names that callers know it by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

from graphdiff.checkpoints.devices import resolve_device

if TYPE_CHECKING:
    from graphdiff.pipelines.request import Request

_COUNTS = ("num_inference_steps", "num_images_per_prompt", "batch_size")
_PIXELS = ("height", "width", "padding_mask_crop")
_SHARES = ("strength", "denoising_start", "denoising_end")
_NUMBERS = ("guidance_scale", "guidance_rescale", "eta")
_TEXTS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")
_VECTORS = ("prompt_embeds", "negative_prompt_embeds")


def check_numbers(request: Request) -> None:
    """Refuse numbers and schedules that are none.

    Raises:
        TypeError: One is something else, or not whole where it counts.
        ValueError: One is out of its range, or two exclude each other.
    """
    for name, value in _given(request, (*_COUNTS, *_PIXELS)):
        if not isinstance(value, Real) or not float(value).is_integer():
            raise TypeError(f"{name} is {value!r}, but it must be a whole number")
    for name, value in _given(request, (*_SHARES, *_NUMBERS)):
        if not isinstance(value, Real) or math.isnan(value):
            raise TypeError(f"{name} is {value!r}, but it must be a number")
    own = request.timesteps is not None, request.sigmas is not None
    if all(own):
        raise ValueError("give either timesteps or sigmas, not both")
    if request.num_inference_steps is None and not any(own):
        raise ValueError("num_inference_steps is None, but it must be at least 1")
    for name, value in _given(request, _COUNTS):
        if value < 1 and not (any(own) and name == "num_inference_steps"):
            raise ValueError(f"{name} is {value}, but it must be at least 1")
    for name, value in _given(request, _SHARES):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}, but it must be from 0 to 1")
    start, end = request.denoising_start, request.denoising_end
    if (start or 0.0) >= (1.0 if end is None else end):
        raise ValueError(
            f"denoising_start is {start} and denoising_end is {end}: the start must be below the "
            "end, which is 1 where it is not given"
        )
    for name, value in _given(request, ("padding_mask_crop",)):
        if value < 0:
            raise ValueError(f"{name} is {value}, but it must be at least 0")


def check_generator(request: Request) -> None:
    """Refuse what numbers cannot be drawn from.

    Raises:
        TypeError: It is neither a generator nor several.
    """
    given: object = request.generator
    several = cast("Sequence[object]", given if isinstance(given, list | tuple) else [given])
    for each in several:
        if each is not None and not hasattr(each, "initial_seed"):
            raise TypeError(
                f"generator must be torch's, but {type(each).__name__} is given: a seed is given "
                "as torch.Generator().manual_seed(SEED)"
            )


def check_size(request: Request, factor: int) -> None:
    """Refuse sizes that the model cannot make, before anything runs.

    Args:
        request: The call.
        factor: What both sides must be multiples of.

    Raises:
        ValueError: One is no such multiple.
    """
    for name, side in _given(request, ("height", "width")):
        if side < factor or side % factor:
            low = max(side // factor, 1) * factor
            raise ValueError(
                f"{name} is {side} pixels, but this model's pictures are multiples of "
                f"{factor}: take {low} or {low + factor}"
            )


def check_text(request: Request, *, is_pooled: bool) -> None:
    """Refuse prompts that do not go together.

    Args:
        request: The call.
        is_pooled: Whether the model takes pooled vectors beside, as SDXL does; for others the
            negative prompt must be of the prompt's type.

    Raises:
        TypeError: One is no text, or no tensor.
        ValueError: There are too many, too few, or some that exclude each other.
    """
    prompt, negative = request.prompt, request.negative_prompt
    if (prompt is None) == (request.prompt_embeds is None):
        given = "both" if prompt is not None else "neither"
        raise ValueError(f"give either prompt or prompt_embeds; {given} were given")
    for name in _TEXTS:
        _check_texts(name, getattr(request, name))
    if negative is not None and request.negative_prompt_embeds is not None:
        raise ValueError("give either negative_prompt or negative_prompt_embeds, not both")
    for name in _VECTORS:
        pooled = name.replace("prompt", "pooled_prompt")
        _check_vectors(name, getattr(request, name), "(batch, tokens, width)")
        _check_vectors(pooled, getattr(request, pooled), "(batch, width)")
        if is_pooled and (getattr(request, name) is None) != (getattr(request, pooled) is None):
            raise ValueError(f"{name} and {pooled} go together: encode_prompt gives both")
    if prompt is None or negative is None:
        return
    if not is_pooled and isinstance(prompt, str) != isinstance(negative, str):
        raise TypeError(
            "negative_prompt must be of prompt's type: a text for a text, a list for a list"
        )
    if not isinstance(negative, str) and len(negative) != request.prompts:
        raise ValueError(
            f"there are {request.prompts} prompts and {len(negative)} negative ones: give as many"
        )


def check_latents(name: str, latents: object, channels: int) -> None:
    """Refuse what is no latents of a model.

    Args:
        name: What callers know it by.
        latents: It.
        channels: How many channels the model's latents have.

    Raises:
        TypeError: It is no tensor.
        ValueError: It is a tensor of another shape.
    """
    shape = _check_vectors(name, latents, f"(batch, {channels}, height, width)")
    if shape is not None and shape[1] != channels:
        raise ValueError(
            f"{name} is {shape}, but this model's latents are (batch, {channels}, height, width)"
        )


def _given(request: Request, names: Iterable[str]) -> list[tuple[str, Any]]:
    rows = ((name, getattr(request, name)) for name in names)
    return [(name, value) for name, value in rows if value is not None]


def _check_vectors(name: str, tensor: object, wanted: str) -> tuple[int, ...] | None:
    """The shape of a tensor that has as many axes as it should."""
    if tensor is None:
        return None
    shape: Any = getattr(tensor, "shape", None)
    if not hasattr(tensor, "detach"):
        raise TypeError(f"{name} must be a tensor, {wanted}, but {type(tensor).__name__} is given")
    if len(shape) != wanted.count(",") + 1:
        raise ValueError(f"{name} is {tuple(shape)}, but it must be {wanted}")
    return cast("tuple[int, ...]", tuple(shape))


def _check_texts(name: str, text: object) -> None:
    several = cast("Sequence[object]", text if isinstance(text, list | tuple) else [text])
    if not several:
        raise ValueError(f"{name} is an empty list: give one text at least")
    if text is None:
        return
    wrong = next((each for each in several if not isinstance(each, str)), None)
    if wrong is not None:
        raise TypeError(
            f"{name} must be a text or a list of texts, but {type(wrong).__name__} is given"
        )


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Args:
        device: The kind of device, or `auto`.

    Raises:
        ValueError: It is not there; says which one is.
    """
    best = resolve_device()
    if device not in ("auto", "cpu", best):
        raise ValueError(
            f"torch sees no {device} device on this machine: use pipeline.to({best!r})"
        )

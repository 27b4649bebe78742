"""Conditioning: prompts encoded, put together, and kept to a place or a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le

from graphdiff.checkpoints.handles import ControlNet, TextEncoder
from graphdiff.graph.node import WireError, node
from graphdiff.schedulers.schedule import Schedule
from graphdiff_nodes.encoding import Syntax, encode
from graphdiff_nodes.facts import (
    ConditioningFacts,
    KnownConditioning,
    present_encoder,
)
from graphdiff_nodes.values import (
    Area,
    Conditioning,
    ConditioningPart,
    Control,
    Framing,
    Image,
    Mask,
    Window,
)

if TYPE_CHECKING:
    from torch import Tensor

Pixels = Annotated[int, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]


@node
def TextEncode(
    encoder: TextEncoder | None,
    text: str | list[str] | None,
    *,
    text_2: str | list[str] | None = None,
    clip_skip: Annotated[int, Ge(0)] = 0,
    syntax: Syntax = "plain",
    original_width: Pixels | None = None,
    original_height: Pixels | None = None,
    crop_left: Annotated[int, Ge(0)] = 0,
    crop_top: Annotated[int, Ge(0)] = 0,
    target_width: Pixels | None = None,
    target_height: Pixels | None = None,
    aesthetic_score: float = 6.0,
) -> Conditioning:
    """Turn a prompt into the conditioning that guides a UNet.

    Args:
        encoder: The text encoder, as LoadModel gives it.
        text: What the picture should show; a list is one prompt for each picture of a batch; null
            gives zeros, as SDXL takes for a missing negative prompt.
        text_2: What the second encoder of SDXL reads; `text` where null.
        clip_skip: How many of the last layers of the encoder to leave out.
        syntax: `plain` takes the text as it stands and cuts it off at 77 tokens, as diffusers does;
            `weighted` reads `(word:1.2)` and prompts of any length, as ComfyUI does.
        original_width: For SDXL, width in pixels that the picture is to seem to come from; the
            picture's own where null.
        original_height: The height, likewise.
        crop_left: For SDXL, how many pixels the picture is to seem cut off at the left.
        crop_top: The same at the top.
        target_width: For SDXL, width of the picture in pixels; the picture's own where null.
        target_height: The height, likewise.
        aesthetic_score: For the SDXL refiner, how beautiful the picture is to be, 1 to 10.
    """
    framing = _framing(
        (original_height, original_width),
        (crop_top, crop_left),
        (target_height, target_width),
        aesthetic_score,
    )
    (made,) = _encoded(present_encoder(encoder), [text], [text_2], clip_skip, syntax)
    return _framed(made, framing)


@TextEncode.batched(over=("text", "text_2"), limit=64)
def _encode_together(
    encoder: TextEncoder | None,
    text: Sequence[str | list[str] | None],
    text_2: Sequence[str | list[str] | None],
    clip_skip: int,
    syntax: Syntax,
    original_width: int | None,
    original_height: int | None,
    crop_left: int,
    crop_top: int,
    target_width: int | None,
    target_height: int | None,
    aesthetic_score: float,
) -> list[Conditioning]:
    framing = _framing(
        (original_height, original_width),
        (crop_top, crop_left),
        (target_height, target_width),
        aesthetic_score,
    )
    made = _encoded(present_encoder(encoder), text, text_2, clip_skip, syntax)
    return [_framed(each, framing) for each in made]


@TextEncode.infer
def _text_facts(encoder: TextEncoder | None) -> ConditioningFacts:
    encoder = present_encoder(encoder)
    return ConditioningFacts(encoder.family, encoder.width, encoder.pooled_width)


@node
def ConditioningCombine(a: Conditioning, b: Conditioning) -> Conditioning:
    """Let two prompts guide one picture; their predictions are averaged.

    Args:
        a: One.
        b: The other; of the same family.
    """
    return Conditioning((*a.parts, *b.parts), a.family)


@ConditioningCombine.infer
def _combined_facts(a: KnownConditioning, b: KnownConditioning) -> KnownConditioning:
    return _same_kind(a, b)


@node
def ConditioningConcat(a: Conditioning, b: Conditioning) -> Conditioning:
    """Put the tokens of one prompt behind those of another, as one longer prompt.

    Args:
        a: The prompt that comes first; it keeps its pooled vector, place and time.
        b: The prompt whose tokens are put behind each part of `a`; it must have one part.
    """
    import torch

    behind = _only_part(b, "ConditioningConcat", "b")
    parts = [
        replace(part, sequence=torch.cat(_alike(part.sequence, behind.sequence), dim=1))
        for part in a.parts
    ]
    return Conditioning(tuple(parts), a.family)


@ConditioningConcat.infer
def _concatenated_facts(a: KnownConditioning, b: KnownConditioning) -> KnownConditioning:
    return _same_kind(a, b)


@node
def ConditioningAverage(
    a: Conditioning, b: Conditioning, weight: Annotated[float, Ge(0), Le(1)] = 0.5
) -> Conditioning:
    """Mix the vectors of two prompts.

    Args:
        a: One; it keeps its place and time.
        b: The other; it must have one part.
        weight: How much of `a` goes in: 1 is `a`, 0 is `b`.
    """
    other = _only_part(b, "ConditioningAverage", "b")
    return Conditioning(tuple(_mixed(part, other, weight) for part in a.parts), a.family)


@ConditioningAverage.infer
def _averaged_facts(a: KnownConditioning, b: KnownConditioning) -> KnownConditioning:
    return _same_kind(a, b)


@node
def ConditioningSetArea(
    conditioning: Conditioning,
    x: Annotated[int, Ge(0)],
    y: Annotated[int, Ge(0)],
    width: Pixels,
    height: Pixels,
    *,
    weight: Annotated[float, Gt(0)] = 1.0,
) -> Conditioning:
    """Keep a prompt to a rectangle of the picture; combine it with one that covers the rest.

    Args:
        conditioning: The prompt.
        x: The rectangle's left edge in pixels.
        y: Its upper edge in pixels.
        width: Its width in pixels.
        height: Its height in pixels.
        weight: How much the prompt counts there beside others.
    """
    return _changed(conditioning, area=Area(x, y, width, height), weight=weight)


@ConditioningSetArea.infer
def _area_facts(conditioning: KnownConditioning) -> KnownConditioning:
    return conditioning


@node
def ConditioningSetMask(
    conditioning: Conditioning, mask: Mask, *, weight: Annotated[float, Gt(0)] = 1.0
) -> Conditioning:
    """Keep a prompt to where a mask is; combine it with one that covers the rest.

    Args:
        conditioning: The prompt.
        mask: 1 where the prompt applies; it is stretched to the picture.
        weight: How much the prompt counts there beside others.
    """
    return _changed(conditioning, mask=mask.values, weight=weight)


@ConditioningSetMask.infer
def _mask_facts(conditioning: KnownConditioning) -> KnownConditioning:
    return conditioning


@node
def ConditioningSetTimestepRange(
    conditioning: Conditioning, start: Share = 0.0, end: Share = 1.0
) -> Conditioning:
    """Keep a prompt to a part of the run; combine it with others that cover the rest.

    Args:
        conditioning: The prompt.
        start: From which share of the training timesteps on, counted from the noisy end.
        end: Up to which share.
    """
    if start > end:
        raise ValueError(f"start is {start} and end is {end}: start must not be above end")
    return _changed(conditioning, window=Window(start, end))


@ConditioningSetTimestepRange.infer
def _range_facts(conditioning: KnownConditioning) -> KnownConditioning:
    return conditioning


@node
def ApplyControlNet(
    conditioning: Conditioning,
    controlnet: ControlNet,
    image: Image,
    strength: float = 1.0,
    *,
    start: Share = 0.0,
    end: Share = 1.0,
    schedule: Schedule | None = None,
    guess_mode: bool = False,
) -> Conditioning:
    """Let a picture, such as edges or a pose, steer what a prompt guides. Several add up.

    Apply it to the prompt and to the negative prompt alike.

    Args:
        conditioning: The prompt.
        controlnet: The ControlNet.
        image: The picture that steers, of the size that is painted; see ResizeImage.
        strength: How strongly it steers.
        start: From which share of the run on.
        end: Up to which share of the run.
        schedule: The run's steps. With it, start and end are shares of these steps, as in
            diffusers; without, shares of the training timesteps.
        guess_mode: Let the ControlNet guess without help of a prompt: its influence fades towards
            fine detail. Apply it then to the prompt alone, not to the negative one.
    """
    window = Window(start, end)
    if schedule is not None:
        count = len(schedule)
        kept = [
            step for i, step in enumerate(schedule) if i / count >= start and (i + 1) / count <= end
        ]
        window = Window(start, end, tuple(kept))
    control = Control(controlnet, image.pixels, strength, window, guess_mode)
    parts = [replace(part, controls=(*part.controls, control)) for part in conditioning.parts]
    return Conditioning(tuple(parts), conditioning.family)


@ApplyControlNet.infer
def _controlled_facts(
    conditioning: KnownConditioning, controlnet: ControlNet | None
) -> KnownConditioning:
    if (
        conditioning is not None
        and controlnet is not None
        and conditioning.width != controlnet.cross_attention_width
    ):
        raise WireError(
            "controlnet",
            f"this ControlNet takes text vectors of width {controlnet.cross_attention_width}, but "
            f"the conditioning's have {conditioning.width}: it is for another family of models",
        )
    return conditioning


def _encoded(
    encoder: TextEncoder,
    texts: Sequence[str | list[str] | None],
    second: Sequence[str | list[str] | None],
    clip_skip: int,
    syntax: Syntax,
) -> list[Conditioning]:
    """Encode the texts of several calls in one go; null is zeros of what an empty text gives."""
    import torch

    pairs = [_pair(text, other) for text, other in zip(texts, second, strict=True)]
    columns = [
        [first for pair in pairs for first in pair[0]],
        [x for pair in pairs for x in pair[1]],
    ]
    own = [columns[min(place, 1)] for place in range(len(encoder.encoders))]
    if len(encoder.encoders) == 1 and encoder.family == "sdxl-refiner":
        own = [columns[1]]  # the refiner reads with what is the second encoder elsewhere
    sequence, pooled = encode(encoder, own, clip_skip=clip_skip, syntax=syntax)
    sizes = [len(first) for first, _ in pairs]
    sequences = torch.split(sequence, sizes)
    wholes = [None] * len(sizes) if pooled is None else list(torch.split(pooled, sizes))
    return [
        _conditioning(encoder, part, whole, is_zero=text is None)
        for part, whole, text in zip(sequences, wholes, texts, strict=True)
    ]


def _conditioning(
    encoder: TextEncoder,
    sequence: Tensor,
    pooled: Tensor | None,
    *,
    is_zero: bool,
) -> Conditioning:
    import torch

    if is_zero:
        sequence = torch.zeros_like(sequence)
        pooled = None if pooled is None else torch.zeros_like(pooled)
    return Conditioning((ConditioningPart(sequence, pooled),), encoder.family)


def _pair(
    text: str | list[str] | None, second: str | list[str] | None
) -> tuple[list[str], list[str]]:
    """The texts of the first and of the second encoder, as many."""
    first = _listed("" if text is None else text)
    other = first if second is None else _listed(second)
    if len(other) == 1:
        other = other * len(first)
    if len(first) != len(other):
        raise ValueError(
            f"text has {len(first)} prompts, text_2 has {len(other)}: give as many, or one"
        )
    return first, other


def _listed(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


def _framing(
    original: tuple[int | None, int | None],
    crop: tuple[int, int],
    target: tuple[int | None, int | None],
    score: float,
) -> Framing:
    sizes: list[tuple[int, int] | None] = []
    for name, (height, width) in (("original", original), ("target", target)):
        if (height is None) != (width is None):
            raise ValueError(f"give both {name}_width and {name}_height, or neither")
        sizes.append(None if height is None or width is None else (height, width))
    return Framing(sizes[0], crop, sizes[1], score)


def _framed(conditioning: Conditioning, framing: Framing) -> Conditioning:
    if framing == Framing():
        return conditioning
    return _changed(conditioning, framing=framing)


def _changed(conditioning: Conditioning, **changes: Any) -> Conditioning:  # noqa: ANN401 - of a part
    parts = [replace(part, **changes) for part in conditioning.parts]
    return Conditioning(tuple(parts), conditioning.family)


def _only_part(conditioning: Conditioning, name: str, parameter: str) -> ConditioningPart:
    if len(conditioning.parts) != 1:
        raise ValueError(
            f"{name} takes one prompt as `{parameter}`, this is {len(conditioning.parts)} "
            "combined: put the prompts together before they are combined"
        )
    return conditioning.parts[0]


def _alike(a: Any, b: Any) -> list[Any]:  # noqa: ANN401 - tensors
    """Two batches of one size, from two that may be of one each."""
    size = max(a.shape[0], b.shape[0])
    return [tensor.expand(size, *tensor.shape[1:]) for tensor in (a, b)]


def _mixed(a: ConditioningPart, b: ConditioningPart, weight: float) -> ConditioningPart:
    import torch

    length = max(a.sequence.shape[1], b.sequence.shape[1])
    pad = torch.nn.functional.pad
    first, second = (
        pad(part.sequence, (0, 0, 0, length - part.sequence.shape[1])) for part in (a, b)
    )
    pooled = a.pooled
    if a.pooled is not None and b.pooled is not None:
        pooled = a.pooled * weight + b.pooled * (1 - weight)
    return replace(a, sequence=first * weight + second * (1 - weight), pooled=pooled)


def _same_kind(a: KnownConditioning, b: KnownConditioning) -> KnownConditioning:
    if a is not None and b is not None and (a.width, a.family) != (b.width, b.family):
        raise WireError(
            "b",
            f"`a` is {a.family} conditioning of width {a.width}, but this is {b.family} of width "
            f"{b.width}: encode both with one text encoder",
        )
    return a if a is not None else b

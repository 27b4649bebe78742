"""Triton kernels for what stands between convolutions and matrix products on a GPU.

A map is (N, C, H, W) with its channels last in memory, so that each is rows of pixels, HW a sample,
and columns of channels. Kernels read and write tiles of rows and columns. They compute in float32
and round once, as they write. Sizes of tiles follow from the shapes: nothing is tried out at run
time, so that a pass can be captured at once. Where a tile starts is counted in 64 bits, since a
decoder's maps have more than 2**31 values.

They run where the tensors are, on the current stream, and refuse what gradients are wanted of.
"""

# Triton's language has no types that a checker knows.
# pyright: basic, reportCallIssue=false, reportGeneralTypeIssues=false, reportMissingImports=false

from contextlib import AbstractContextManager

import torch
import triton
import triton.language as tl
from torch import Tensor

# A group of at most so many values (with padding) is normalised by one program that holds it whole.
_HELD = 16384
_TILE = 8192  # values of a larger map that a program holds at once
_PARTS = 64  # moments of more parts of a map than this are merged first, by a kernel of its own
_MOST_PARTS = 512

FLOATS = frozenset({torch.float32, torch.float16, torch.bfloat16})
"""What the kernels take; they would round float64."""


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    silu: bool = False,
    conv_bias: Tensor | None = None,
    time: Tensor | None = None,
    scales: bool = False,
    in_place: bool = False,
) -> Tensor:
    """Group normalisation, with what comes right before and after it.

    A small map is read once and written once, a larger one is read twice, by two kernels.

    Args:
        x: The map, (N, C, H, W).
        groups: How many groups the channels make.
        weight: Scales each channel, (C).
        bias: Is added to each channel after it, (C).
        eps: Added to the variances.
        silu: Whether SiLU follows.
        conv_bias: Added before, (C): the bias that the convolution before left out.
        time: A vector for each sample. Added before, (N, C), or, if it `scales`, the scale and
            shift of what is normalised, (N, 2C).
        scales: What `time` does.
        in_place: Whether the result may take the memory of `x`.

    Returns:
        Shape (N, C, H, W), channels last.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    y = x if in_place else torch.empty_like(x)
    time = None if time is None else time.contiguous()
    samples, channels, rows = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    width = channels // groups
    padded = _power(width)
    with _launching_on(x):
        if _power(rows) * padded <= _HELD:
            _group_norm_held[(groups, samples)](
                x, y, weight, bias, conv_bias, time, rows, channels, eps,
                WIDTH=width, ROWS=_power(rows), PADDED=padded, SILU=silu, SCALES=scales,
                num_warps=_warps(_power(rows) * padded),
            )  # fmt: skip
            return y
        moments, span = _moments(x, groups, conv_bias, None if scales else time)
        parts = moments.shape[1]
        columns = _columns(channels)
        height = min(_TILE // columns, _power(rows))
        _group_norm_tiles[(-(-rows // height), -(-channels // columns), samples)](
            x, y, moments, weight, bias, conv_bias, time, rows, channels, width, groups, parts,
            span, eps,
            PARTS=1 if parts == 1 else _PARTS, GROUPS=_power(groups), ROWS=height, COLUMNS=columns,
            SILU=silu, SCALES=scales,
            num_warps=_warps(height * columns),
        )  # fmt: skip
    return y


def add(h: Tensor, x: Tensor, bias: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
    """`(h + bias + x) / scale` of maps; reads both and writes over `h`.

    Args:
        h: What a convolution or a matrix product just made, (N, C, H, W).
        x: The skip around it, (N, C, H, W).
        bias: The bias that the convolution left out, (C).
        scale: What the sum is divided by.

    Returns:
        Shape (N, C, H, W), channels last: `h` itself, if its channels were last.
    """
    h = h.contiguous(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    channels = h.shape[1]
    rows = h.numel() // channels
    columns = _columns(channels)
    height = min(_TILE // 2 // columns, _power(rows))
    with _launching_on(h):
        _add[(-(-rows // height), -(-channels // columns))](
            h, x, bias, rows, channels, scale,
            ROWS=height, COLUMNS=columns,
            num_warps=_warps(height * columns),
        )  # fmt: skip
    return h


def add_layer_norm(
    a: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`a + x` and its layer normalisation; reads both and writes the sum over `a`.

    Args:
        a: What a matrix product just made, (N, T, width).
        x: The tokens that it is added to, (N, T, width).
        weight: Scales what is normalised, (width).
        bias: Is added after it, (width).
        eps: Added to the variances.

    Returns:
        The sum, which is `a` itself if that was contiguous, and what is normalised.
    """
    a, x = a.contiguous(), x.contiguous()
    normed = torch.empty_like(a)
    width = a.shape[-1]
    rows = a.numel() // width
    padded = _power(width)
    height = min(max(1, _TILE // 4 // padded), _power(rows))
    with _launching_on(a):
        _add_layer_norm[(-(-rows // height),)](
            a, x, normed, weight, bias, rows, width, eps,
            ROWS=height, PADDED=padded,
            num_warps=_warps(height * padded),
        )  # fmt: skip
    return a, normed


def geglu(x: Tensor) -> Tensor:
    """The first half of each row times the GELU of the second: (..., 2W) to (..., W)."""
    x = x.contiguous()
    width = x.shape[-1] // 2
    y = torch.empty((*x.shape[:-1], width), dtype=x.dtype, device=x.device)
    rows = y.numel() // width
    columns = _columns(width)
    height = min(_TILE // 2 // columns, _power(rows))
    with _launching_on(x):
        _geglu[(-(-rows // height), -(-width // columns))](
            x, y, rows, width,
            ROWS=height, COLUMNS=columns,
            num_warps=_warps(height * columns),
        )  # fmt: skip
    return y


def _moments(
    x: Tensor, groups: int, conv_bias: Tensor | None, time: Tensor | None
) -> tuple[Tensor, int]:
    """Mean and squares of a map's groups, (N, parts, 2, groups), and how many rows a part has."""
    samples, channels, rows = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    width = channels // groups
    padded = _power(width)
    block = min(_power(groups), max(1, 128 // padded))  # groups that make a line of the cache
    height = min(max(1, _TILE // (block * padded)), _power(rows))
    tiles, blocks = -(-rows // height), -(-groups // block)
    parts = min(tiles, max(32, _MOST_PARTS // (samples * blocks)))  # programs for the largest GPU
    span = -(-tiles // parts) * height
    parts = -(-rows // span)
    moments = torch.empty(samples, parts, 2, groups, dtype=torch.float32, device=x.device)
    _group_moments[(parts, blocks, samples)](
        x, moments, conv_bias, time, rows, channels, groups, span,
        WIDTH=width, ROWS=height, GROUPS=block, PADDED=padded,
        num_warps=8,
    )  # fmt: skip
    if parts <= _PARTS:
        return moments, span
    whole = torch.empty(samples, 1, 2, groups, dtype=torch.float32, device=x.device)
    _merge_moments[(samples,)](
        moments, whole, rows, width, groups, parts, span,
        PARTS=_MOST_PARTS, GROUPS=_power(groups),
        num_warps=16,
    )  # fmt: skip
    return whole, rows


def _launching_on(x: Tensor) -> AbstractContextManager[None]:
    """Where `x` is: Triton launches on the current device, wherever the tensors are.

    Raises:
        RuntimeError: Gradients are wanted, which nobody would compute.
    """
    if x.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            "a fused model gives no gradients: call it under torch.no_grad(), or take a plain one, "
            "as from_pretrained() of its class reads it"
        )
    guard: AbstractContextManager[None] = torch.cuda.device_of(x)  # type: ignore[no-untyped-call]
    return guard


def _power(number: int) -> int:
    """The least power of two that is not below it."""
    return 1 << (number - 1).bit_length()


def _columns(width: int) -> int:
    """How many columns a tile has: a power of two that divides them, so that no lane is idle."""
    divisor = width & -width
    return min(256, divisor if divisor >= 32 else _power(width))


def _warps(values: int) -> int:
    """How many warps a program of so many values has: 32 values for each thread."""
    return min(16, max(4, values // 1024))


@triton.jit
def _load(pointer: tl.tensor, offsets: tl.tensor, mask: tl.tensor) -> tl.tensor:
    return tl.load(pointer + offsets, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _silu(x: tl.tensor) -> tl.tensor:
    return x / (1.0 + tl.exp(-x))


@triton.jit
def _before(
    conv_bias: tl.tensor,
    time: tl.tensor,
    sample: tl.tensor,
    channel: tl.tensor,
    mask: tl.tensor,
    channels: tl.tensor,
) -> tl.tensor:
    """What is added to a channel before it is normalised, in the shape of `channel`."""
    added = tl.full(channel.shape, 0.0, tl.float32)
    if conv_bias is not None:
        added += _load(conv_bias, channel, mask)
    if time is not None:
        added += _load(time + sample * channels, channel, mask)
    return added


@triton.jit
def _after(
    weight: tl.tensor,
    bias: tl.tensor,
    time: tl.tensor,
    sample: tl.tensor,
    channel: tl.tensor,
    mask: tl.tensor,
    channels: tl.tensor,
    SCALES: tl.constexpr,
) -> tl.tensor:
    """What a normalised channel is multiplied by, and what is added then."""
    scale = _load(weight, channel, mask)
    shift = _load(bias, channel, mask)
    if SCALES:
        time += sample * 2 * channels
        times = 1.0 + _load(time, channel, mask)
        scale *= times
        shift = shift * times + _load(time + channels, channel, mask)
    return scale, shift


@triton.jit
def _group_norm_held(
    x: tl.tensor,
    y: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    conv_bias: tl.tensor,
    time: tl.tensor,
    rows: tl.tensor,
    channels: tl.tensor,
    eps: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    PADDED: tl.constexpr,
    SILU: tl.constexpr,
    SCALES: tl.constexpr,
) -> None:
    """One group of one sample: reads (rows, WIDTH) of x, writes the same of y."""
    group, sample = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, PADDED)[None, :]
    channel = group * WIDTH + column
    is_column = column < WIDTH
    inside = (row < rows) & is_column
    start = sample * rows * channels
    place = row * channels + channel

    value = _load(x + start, place, inside)
    added = None if SCALES else time
    value += _before(conv_bias, added, sample, channel, is_column, channels)
    count = rows * WIDTH
    mean = tl.sum(tl.sum(tl.where(inside, value, 0.0), 1), 0) / count
    value = tl.where(inside, value - mean, 0.0)
    variance = tl.sum(tl.sum(value * value, 1), 0) / count

    scale, shift = _after(weight, bias, time, sample, channel, is_column, channels, SCALES)
    value = value * (tl.rsqrt(variance + eps) * scale) + shift
    if SILU:
        value = _silu(value)
    tl.store(y + start + place, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _group_moments(
    x: tl.tensor,
    moments: tl.tensor,
    conv_bias: tl.tensor,
    time: tl.tensor,
    rows: tl.tensor,
    channels: tl.tensor,
    groups: tl.tensor,
    span: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
    PADDED: tl.constexpr,
) -> None:
    """Some groups over `span` rows: reads these of x, writes mean and squares to moments.

    Moments are (N, parts, 2, groups): the mean, and the sum of squared differences from it.

    Squares are summed up around a pivot, the mean of the first tile. Since that is one in n of what
    is summed, it is within sqrt(n) standard deviations of the mean, and the sums lose no more than
    a factor of n to cancellation, whatever the mean is.
    """
    part, sample = tl.program_id(0), tl.program_id(2).to(tl.int64)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    column = tl.arange(0, PADDED)[None, None, :]
    channel = group[None, :, None] * WIDTH + column
    is_column = (column < WIDTH) & (group < groups)[None, :, None]
    row = tl.arange(0, ROWS)[:, None, None]
    place = row * channels + channel
    first = part * span
    count = tl.minimum(span, rows - first)
    start = x + (sample * rows + first) * channels
    added = _before(conv_bias, time, sample, channel, is_column, channels)

    inside = (row < count) & is_column
    value = tl.where(inside, _load(start, place, inside) + added, 0.0)
    pivot = tl.sum(tl.sum(value, 2), 0) / (tl.minimum(count, ROWS) * WIDTH)  # (GROUPS,)
    value = tl.where(inside, value - pivot[None, :, None], 0.0)
    sums, squares = value, value * value
    added -= pivot[None, :, None]
    for done in range(ROWS, count, ROWS):
        start += ROWS * channels
        inside = (row < count - done) & is_column
        value = tl.where(inside, _load(start, place, inside) + added, 0.0)
        sums += value
        squares += value * value
    total = tl.sum(tl.sum(sums, 2), 0)
    mean = total / (count * WIDTH)
    square = tl.sum(tl.sum(squares, 2), 0) - total * mean

    moments += (sample * tl.num_programs(0) + part) * 2 * groups
    tl.store(moments + group, pivot + mean, mask=group < groups)
    tl.store(moments + groups + group, square, mask=group < groups)


@triton.jit
def _merged(
    moments: tl.tensor,
    sample: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    groups: tl.tensor,
    parts: tl.tensor,
    span: tl.tensor,
    PARTS: tl.constexpr,
    GROUPS: tl.constexpr,
) -> tl.tensor:
    """The moments of a sample's groups, (GROUPS,), from those of its parts. Chan et al. 1979."""
    part, group = tl.arange(0, PARTS)[:, None], tl.arange(0, GROUPS)[None, :]
    there = (part < parts) & (group < groups)
    place = part * 2 * groups + group
    moments += sample * parts * 2 * groups
    count = tl.where(there, tl.minimum(span, rows - part * span), 0).to(tl.float32)
    means = tl.load(moments + place, mask=there, other=0.0)
    squares = tl.load(moments + groups + place, mask=there, other=0.0)
    mean = tl.sum(means * (count / rows), 0)
    apart = means - mean[None, :]
    return mean, tl.sum(squares + apart * apart * (count * width), 0)


@triton.jit
def _merge_moments(
    moments: tl.tensor,
    whole: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    groups: tl.tensor,
    parts: tl.tensor,
    span: tl.tensor,
    PARTS: tl.constexpr,
    GROUPS: tl.constexpr,
) -> None:
    """One sample: from moments of many parts (N, parts, 2, groups) to one, (N, 1, 2, groups)."""
    sample = tl.program_id(0)
    mean, square = _merged(moments, sample, rows, width, groups, parts, span, PARTS, GROUPS)
    group = tl.arange(0, GROUPS)
    whole += sample * 2 * groups
    tl.store(whole + group, mean, mask=group < groups)
    tl.store(whole + groups + group, square, mask=group < groups)


@triton.jit
def _group_norm_tiles(
    x: tl.tensor,
    y: tl.tensor,
    moments: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    conv_bias: tl.tensor,
    time: tl.tensor,
    rows: tl.tensor,
    channels: tl.tensor,
    width: tl.tensor,
    groups: tl.tensor,
    parts: tl.tensor,
    span: tl.tensor,
    eps: tl.tensor,
    PARTS: tl.constexpr,
    GROUPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SILU: tl.constexpr,
    SCALES: tl.constexpr,
) -> None:
    """One tile of one sample: reads (ROWS, COLUMNS) of x and the moments, writes the same of y."""
    sample = tl.program_id(2).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * ROWS
    channel = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)[:, None]
    is_channel = channel < channels
    inside = (row < rows - first) & is_channel[None, :]
    start = (sample * rows + first) * channels
    place = row * channels + channel[None, :]
    value = _load(x + start, place, inside)  # on its way while the moments are merged

    mean, square = _merged(moments, sample, rows, width, groups, parts, span, PARTS, GROUPS)
    factor = tl.rsqrt(square / rows / width + eps)
    group = tl.minimum(channel // width, groups - 1)
    mean, factor = tl.gather(mean, group, 0), tl.gather(factor, group, 0)  # (COLUMNS,)
    added = None if SCALES else time
    added = _before(conv_bias, added, sample, channel, is_channel, channels)
    scale, shift = _after(weight, bias, time, sample, channel, is_channel, channels, SCALES)
    value = (value + (added - mean)[None, :]) * (factor * scale)[None, :] + shift[None, :]
    if SILU:
        value = _silu(value)
    tl.store(y + start + place, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _add(
    h: tl.tensor,
    x: tl.tensor,
    bias: tl.tensor,
    rows: tl.tensor,
    channels: tl.tensor,
    scale: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """One tile: reads (ROWS, COLUMNS) of h and x, writes the same of h."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    channel = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)[:, None]
    is_channel = channel < channels
    inside = (row < rows - first) & is_channel[None, :]
    place = row * channels + channel[None, :]
    h += first * channels
    x += first * channels
    value = _load(h, place, inside) + _load(x, place, inside)
    if bias is not None:
        value += _load(bias, channel, is_channel)[None, :]
    tl.store(h + place, (value / scale).to(h.dtype.element_ty), mask=inside)


@triton.jit
def _add_layer_norm(
    a: tl.tensor,
    x: tl.tensor,
    normed: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    eps: tl.tensor,
    ROWS: tl.constexpr,
    PADDED: tl.constexpr,
) -> None:
    """Some rows: reads (ROWS, width) of a and x, writes the same of a and normed."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    column = tl.arange(0, PADDED)
    row = tl.arange(0, ROWS)[:, None]
    is_column = column < width
    inside = (row < rows - first) & is_column[None, :]
    place = row * width + column[None, :]
    a += first * width
    x += first * width
    value = _load(a, place, inside) + _load(x, place, inside)
    tl.store(a + place, value.to(a.dtype.element_ty), mask=inside)
    mean = tl.sum(value, 1) / width
    value = tl.where(inside, value - mean[:, None], 0.0)
    factor = tl.rsqrt(tl.sum(value * value, 1) / width + eps)
    value = value * factor[:, None] * _load(weight, column, is_column)[None, :]
    value += _load(bias, column, is_column)[None, :]
    normed += first * width
    tl.store(normed + place, value.to(normed.dtype.element_ty), mask=inside)


@triton.jit
def _geglu(
    x: tl.tensor,
    y: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """One tile: reads (ROWS, COLUMNS) of both halves of x, writes the same of y."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    row = tl.arange(0, ROWS)[:, None]
    inside = (row < rows - first) & (column < width)
    x += first * 2 * width
    place = row * 2 * width + column
    value, gate = _load(x, place, inside), _load(x + width, place, inside)
    value *= 0.5 * gate * (1.0 + tl.math.erf(gate * 0.7071067811865476))
    tl.store(y + first * width + row * width + column, value.to(y.dtype.element_ty), mask=inside)

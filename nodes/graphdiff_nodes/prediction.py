"""A UNet's predictions for several samples at once: rows are stacked, run and shared out again."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints.handles import ControlNet, UNet
from graphdiff.schedulers.schedule import Step
from graphdiff_nodes.room import refuse_unet
from graphdiff_nodes.values import Area, Conditioning, ConditioningPart, Control

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Job:
    """One prediction that is wanted.

    Args:
        sample: The noisy sample, before its input is scaled, (batch, channels, height, width).
        step: The place in the schedule.
        conditioning: What guides it; None for a UNet without text.
        extra: Channels that are put beside the sample, unscaled.
        guidance: The guidance scale that a distilled UNet takes as an input.
    """

    sample: Tensor
    step: Step
    conditioning: Conditioning | None = None
    extra: Tensor | None = None
    guidance: float | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """One part of one job, as it goes into the UNet."""

    job: int
    sample: Tensor  # (b, c, h, w), scaled, cropped to the part's area
    extra: Tensor | None
    timestep: float
    part: ConditioningPart | None
    controls: tuple[Control, ...]
    guidance: float | None
    crop: tuple[slice, slice] | None
    size: tuple[int, int]  # of the whole picture in pixels, whatever the crop

    @property
    def group(self) -> Hashable:
        """What rows must share to run together."""
        part = self.part
        return (
            self.sample.shape[1:],
            None if part is None else part.sequence.shape[1:],
            part is not None and part.pooled is not None,
            tuple((control.net, control.hint.shape[1:]) for control in self.controls),
            self.guidance is None,
        )


def predict(unet: UNet, jobs: Sequence[Job]) -> list[Tensor]:
    """Give the UNet's prediction for each job; rows of one shape run in one forward.

    Raises:
        ValueError: A job has no conditioning that applies, or shapes that do not fit the UNet.
    """
    rows = [row for index, job in enumerate(jobs) for row in _rows(unet, index, job)]
    groups: dict[Hashable, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.group, []).append(index)
    predicted: dict[int, Tensor] = {}
    for indices in groups.values():
        outputs = _forward(unet, [rows[index] for index in indices])
        predicted.update(zip(indices, outputs, strict=True))
    shares: list[list[tuple[_Row, Tensor]]] = [[] for _ in jobs]
    for index, row in enumerate(rows):
        shares[row.job].append((row, predicted[index]))
    return [_combined(job, share) for job, share in zip(jobs, shares, strict=True)]


def _rows(unet: UNet, index: int, job: Job) -> Iterator[_Row]:
    sample = job.step.scale_input(job.sample)
    timestep = job.step.timestep
    height, width = (side * unet.spatial_factor for side in sample.shape[2:])
    size = (height, width)
    if job.conditioning is None:
        yield _Row(index, sample, job.extra, timestep, None, (), job.guidance, None, size)
        return
    parts = [part for part in job.conditioning.parts if part.window.holds(job.step)]
    if not parts:
        raise ValueError(
            f"no part of the conditioning applies at timestep {timestep:g}: let the ranges of its "
            "parts cover the whole run"
        )
    for part in parts:
        crop = None if part.area is None else _cells(part.area, unet.spatial_factor, job.sample)
        yield _Row(
            index,
            _cut(sample, crop),
            None if job.extra is None else _cut(job.extra, crop),
            timestep,
            part,
            tuple(
                _control_cut(_control_moved(control, unet), crop, unet.spatial_factor)
                for control in part.controls
                if control.window.holds(job.step)
            ),
            job.guidance,
            crop,
            size,
        )


def _forward(unet: UNet, rows: Sequence[_Row]) -> list[Tensor]:
    """Run rows of one group together."""
    import torch

    from graphdiff.checkpoints.pool import pool

    refuse_unet(unet, sum(row.sample.shape[0] for row in rows), *rows[0].sample.shape[2:])
    model = pool().module(unet)
    dtype: torch.dtype = getattr(torch, unet.dtype)
    device = model.device
    sizes = [row.sample.shape[0] for row in rows]
    sample = torch.cat([row.sample for row in rows]).to(device, dtype)  # (N, c, h, w)
    timestep = _per_picture([float(row.timestep) for row in rows], sizes, torch.float32, device)
    arguments: dict[str, Any] = {}
    parts = [row.part for row in rows if row.part is not None]
    if parts:
        arguments["encoder_hidden_states"] = _stacked([p.sequence for p in parts], sizes, sample)
        if unet.time_ids:
            arguments["added_cond_kwargs"] = _added(unet, rows, sizes, sample)
    if unet.guidance_width:
        scales = [row.guidance for row in rows if row.guidance is not None]
        embedded = guidance_embedding(scales, unet.guidance_width)
        embedded = embedded.to(device, dtype, non_blocking=True)
        arguments["timestep_cond"] = _repeated(embedded, sizes)
    if rows[0].controls:
        down, middle = _residuals(rows, sizes, sample, timestep, arguments)
        arguments["down_block_additional_residuals"] = down
        arguments["mid_block_additional_residual"] = middle
    extras = [row.extra for row in rows if row.extra is not None]
    if extras:
        sample = torch.cat([sample, _stacked(extras, sizes, sample)], dim=1)
    predicted: Tensor = model(sample, timestep, **arguments).sample
    return list(torch.split(predicted, sizes))


def _residuals(
    rows: Sequence[_Row],
    sizes: Sequence[int],
    sample: Tensor,
    timestep: Tensor,
    arguments: dict[str, Any],
) -> tuple[list[Tensor], Tensor]:
    """The sum of what the ControlNets of a group of rows add to the UNet's features."""
    import torch

    from graphdiff.checkpoints.pool import pool

    down: list[Tensor] = []
    middle: Tensor | None = None
    for place, control in enumerate(rows[0].controls):
        controls = [row.controls[place] for row in rows]
        net: ControlNet = control.net
        hint = _stacked([c.hint for c in controls], sizes, sample)
        output = pool().module(net)(
            sample,
            timestep,
            arguments["encoder_hidden_states"],
            controlnet_cond=hint,
            added_cond_kwargs=arguments.get("added_cond_kwargs") if net.pooled_width else None,
        )
        features = [*output.down_block_res_samples, output.mid_block_res_sample]
        scales = torch.cat(
            [
                torch.tensor(_scales(c, len(features))).expand(size, -1)
                for c, size in zip(controls, sizes, strict=True)
            ]
        ).to(sample.device, sample.dtype, non_blocking=True)  # (N, features)
        scaled = [feature * scales[:, i, None, None, None] for i, feature in enumerate(features)]
        down = (
            scaled[:-1]
            if middle is None
            else [a + b for a, b in zip(down, scaled[:-1], strict=True)]
        )
        middle = scaled[-1] if middle is None else middle + scaled[-1]
    assert middle is not None  # a group with controls has at least one
    return down, middle


def _scales(control: Control, features: int) -> list[float]:
    """What each of a ControlNet's features is multiplied by, from the finest to the middle."""
    if not control.guess or control.net.config.get("global_pool_conditions"):
        return [control.strength] * features
    return [10 ** (i / (features - 1) - 1) * control.strength for i in range(features)]


def guidance_embedding(scales: Sequence[float], width: int) -> Tensor:
    """Embed guidance scales as distilled models take them. Meng et al. 2022, arXiv:2210.03142.

    Args:
        scales: One guidance scale a row; 1 is no guidance.
        width: The width of the embedding.

    Returns:
        Sines, then cosines, (rows, width), float32 on the CPU.
    """
    import torch

    half = width // 2
    frequencies = torch.exp(
        torch.arange(half, dtype=torch.float32) * -(torch.log(torch.tensor(10000.0)) / (half - 1))
    )
    angles = (torch.tensor(scales, dtype=torch.float32) - 1)[:, None] * 1000.0 * frequencies
    embedded = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedded, (0, width - embedded.shape[1]))


def _added(
    unet: UNet, rows: Sequence[_Row], sizes: Sequence[int], like: Tensor
) -> dict[str, Tensor]:
    """The pooled texts and the sizes that an SDXL UNet takes."""
    import torch

    parts = [row.part for row in rows if row.part is not None]
    pooled = [part.pooled for part in parts if part.pooled is not None]
    if len(pooled) != len(rows):
        raise ValueError(
            f"an {unet.family} UNet takes a pooled text vector: make its conditioning with "
            "TextEncode and its own text encoder"
        )
    ids = [
        part.framing.time_ids(unet.family, row.size) for part, row in zip(parts, rows, strict=True)
    ]
    numbers = torch.tensor(ids, dtype=like.dtype).to(like.device, non_blocking=True)
    return {"text_embeds": _stacked(pooled, sizes, like), "time_ids": _repeated(numbers, sizes)}


def _stacked(tensors: Sequence[Tensor], sizes: Sequence[int], like: Tensor) -> Tensor:
    """Put tensors below each other, each repeated to the batch that it belongs to.

    With two prompts and four pictures, each prompt is for two neighbours.
    """
    import torch

    rows: list[Tensor] = []
    for tensor, size in zip(tensors, sizes, strict=True):
        if size % tensor.shape[0]:
            raise ValueError(
                f"a batch of {size} pictures cannot share {tensor.shape[0]} prompts or pictures "
                "evenly: give one, one for each, or a number that divides"
            )
        rows.append(tensor.repeat_interleave(size // tensor.shape[0], dim=0))
    return torch.cat(rows).to(like.device, like.dtype)


def _repeated(rows: Tensor, sizes: Sequence[int]) -> Tensor:
    """Repeat each row for each picture of its batch, without asking the device for the sizes."""
    import torch

    pieces = [rows[i : i + 1].expand(size, -1) for i, size in enumerate(sizes)]
    return torch.cat(pieces)


def _per_picture(
    values: Sequence[float], sizes: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    import torch

    flat = [value for value, size in zip(values, sizes, strict=True) for _ in range(size)]
    return torch.tensor(flat, dtype=dtype).to(device, non_blocking=True)


def _combined(job: Job, share: Sequence[tuple[_Row, Tensor]]) -> Tensor:
    """Average the predictions of a job's parts, each by its weight, where it applies."""
    import torch

    if len(share) == 1 and share[0][0].crop is None:
        part = share[0][0].part
        if part is None or part.mask is None:
            return share[0][1]
    shape = (job.sample.shape[0], share[0][1].shape[1], *job.sample.shape[2:])
    total = share[0][1].new_zeros(shape)
    weights = share[0][1].new_zeros((shape[0], 1, *shape[2:]))
    for row, predicted in share:
        part = row.part
        assert part is not None  # only parts of a conditioning are averaged
        weight = torch.full_like(weights, part.weight)
        if part.mask is not None:
            mask = _moved(part.mask, weight.device, weight.dtype)
            weight = weight * torch.nn.functional.interpolate(mask, shape[2:], mode="bilinear")
        rows, columns = row.crop or (slice(None), slice(None))
        total[:, :, rows, columns] += predicted * weight[:, :, rows, columns]
        weights[:, :, rows, columns] += weight[:, :, rows, columns]
    return total / weights.clamp(min=1e-6)


def _cells(area: Area, factor: int, sample: Tensor) -> tuple[slice, slice]:
    """The cells of the latents that an area of the picture covers."""
    height, width = sample.shape[2:]
    top, left = min(area.y // factor, height - 1), min(area.x // factor, width - 1)
    bottom = min(max((area.y + area.height) // factor, top + 1), height)
    right = min(max((area.x + area.width) // factor, left + 1), width)
    return slice(top, bottom), slice(left, right)


def _cut(tensor: Tensor, crop: tuple[slice, slice] | None) -> Tensor:
    return tensor if crop is None else tensor[:, :, crop[0], crop[1]]


def _control_moved(control: Control, unet: UNet) -> Control:
    """A control whose picture lies where a UNet computes."""
    from dataclasses import replace

    import torch

    dtype: torch.dtype = getattr(torch, unet.dtype)
    hint = _moved(control.hint, torch.device(unet.device), dtype)
    return control if hint is control.hint else replace(control, hint=hint)


def _moved(picture: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A picture on a device, brought there once, as long as it lives, and not in each step.

    Pictures lie on the host: to bring one is to cast all of it there, and to wait for the device.
    """
    if (picture.device.type, picture.dtype) == (device.type, dtype):
        return picture
    with _lock:
        known = _brought().setdefault(picture, {})
        if (device, dtype) not in known:
            known[device, dtype] = picture.to(device, dtype)
        return known[device, dtype]


@cache
def _brought() -> MutableMapping[Tensor, dict[tuple[torch.device, torch.dtype], Tensor]]:
    """What was brought to devices, by what it was before; nodes never change a tensor."""
    from torch.utils.weak import WeakIdKeyDictionary

    return WeakIdKeyDictionary()


def _control_cut(control: Control, crop: tuple[slice, slice] | None, factor: int) -> Control:
    if crop is None:
        return control
    from dataclasses import replace

    pixels = [slice(cells.start * factor, cells.stop * factor) for cells in crop]
    return replace(control, hint=control.hint[:, :, pixels[0], pixels[1]])

"""Whether a picture can fit into memory at all, asked before work on it begins.

An accelerator says that its memory is full, and the run tells it. A processor does not: Linux lends
more memory than there is, and ends the process when that shows. So what surely cannot fit is
refused here. The figures are lower bounds: maps that a model holds at one time by its construction,
without anything that a faster kernel could save. What passes may still be too large.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from graphdiff.checkpoints.handles import VAE, UNet
from graphdiff.models.configs import AutoencoderTinyConfig
from graphdiff_nodes.batches import free_memory

BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_WORTH_ASKING: Final = 256 << 20  # bytes from which the free memory is looked up
_FEED_FORWARD: Final = 14  # of a token's width: 8 projected, 4 gated, the input and the skip around
_RESNET: Final = 3  # what goes into a residual block, what its convolution reads and gives
_LEFT_BY_GROUP: Final = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def refuse_unet(unet: UNet, rows: int, height: int, width: int) -> None:
    """Refuse to denoise samples that are too large.

    Args:
        unet: The UNet.
        rows: How many samples there are at once.
        height: Their height in cells of the latents.
        width: Their width.

    Raises:
        ValueError: They do not fit.
    """
    cells = rows * height * width * _maps_of(unet)
    pixels = f"{width * unet.spatial_factor} x {height * unet.spatial_factor} pixels"
    refuse(int(cells * BYTES[unet.dtype]), f"denoising {_pictures(rows)} of {pixels}", unet.device)


def refuse_vae(
    vae: VAE, rows: int, height: int, width: int, doing: Literal["decoding", "encoding"]
) -> None:
    """Refuse to decode or encode pictures that are too large.

    Args:
        vae: The VAE.
        rows: How many pictures there are at once.
        height: Their height in pixels.
        width: Their width.
        doing: What is to be done.

    Raises:
        ValueError: They do not fit.
    """
    config = vae.config
    if isinstance(config, AutoencoderTinyConfig):
        channels = config.decoder_block_out_channels
    else:
        channels = config.block_out_channels
    needed = _RESNET * channels[0] * rows * height * width * BYTES[vae.dtype]
    what = f"{doing} {_pictures(rows)} of {width} x {height} pixels"
    tiled = {"decoding": "VAEDecodeTiled", "encoding": "VAEEncodeTiled"}[doing]
    refuse(needed, what, vae.device, instead=f"lower their size or number, or take {tiled}")


def refuse(
    needed: int, what: str, device: str = "cpu", *, instead: str = "lower their size or number"
) -> None:
    """Refuse what surely takes more memory than is free.

    Args:
        needed: How many bytes it takes at least.
        what: What it is.
        device: Where it is to be; only the memory of processors is looked at.
        instead: What to do about it.

    Raises:
        ValueError: It does not fit.
    """
    if device != "cpu" or needed < _WORTH_ASKING:
        return
    free = _free()
    if free is not None and needed > free:
        raise ValueError(
            f"{what} would take at least {needed / 1e9:,.1f} GB of memory, and "
            f"{free / 1e9:,.1f} GB are free: {instead}"
        )


def _maps_of(unet: UNet) -> float:
    """How many numbers a UNet holds at one time, at least, for a cell of its sample.

    On the way down each block's outputs wait for the way up, while the next blocks work.
    """
    config = unet.config
    layers = config.layers_per_block
    waiting, most, share = float(config.block_out_channels[0]), 0.0, 1.0
    for i, (kind, channels) in enumerate(
        zip(config.down_block_types, config.block_out_channels, strict=True)
    ):
        working = _FEED_FORWARD if "CrossAttn" in kind else _RESNET
        most = max(most, waiting + working * channels * share)
        waiting += (layers if isinstance(layers, int) else layers[i]) * channels * share
        share /= 4
    return most


def _free() -> int | None:
    """How many bytes can still be had: of the machine, and of the group that the process is in."""
    free = free_memory("cpu")
    if free is None:
        return None
    left = [left for left in map(_left, _groups()) if left is not None]
    return min([free + _swap(), *left])


def _groups() -> list[tuple[Path, Path, Path, str]]:
    """Where the limit, the use and the statistics of this process's groups stand."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[tuple[Path, Path, Path, str]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        limit, used, reclaimable = _LEFT_BY_GROUP[controllers == "memory"]
        for place in (path.lstrip("/"), ""):  # in a container the group may be the root itself
            root = Path("/sys/fs/cgroup")
            folder = (root / limit).parent / place
            names = (folder / Path(limit).name, folder / Path(used).name, folder / "memory.stat")
            found.append((*names, reclaimable))
    return found


def _left(group: tuple[Path, Path, Path, str]) -> int | None:
    """How many bytes a group may still take; None where it has no limit."""
    limit, used, statistics, reclaimable = group
    try:
        most = int(limit.read_text(encoding="ascii"))
        left = most - int(used.read_text(encoding="ascii"))
        rows = dict(row.split() for row in statistics.read_text(encoding="ascii").splitlines())
        return left + int(rows.get(reclaimable, 0))
    except (OSError, ValueError):  # there is none, or it is called `max`
        return None


def _swap() -> int:
    try:
        rows = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(r.split()[1]) << 10 for r in rows if r.startswith("SwapFree:")), 0)


def _pictures(count: int) -> str:
    return "a picture" if count == 1 else f"{count} pictures"

"""Edits behind the sampler, where decoding is dear: the whole run against its nodes alone."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.checkpoint import written
from benchmarks.gpu.families import family
from benchmarks.pipelines import run_command
from benchmarks.rounds import ROOT, Goal, Row

WORKFLOW = ROOT / "benchmarks" / "workflows" / "after.yaml"
_METHODS = ("nearest", "bilinear", "bicubic")  # `area` gives what `nearest` gave
_AT_MOST: Goal = ("ours", "<=", 1.1)


def measure(rounds: int, full: bool) -> list[Row]:
    """The VAE of Stable Diffusion 1.5 at 512x512 in float32; a quarter as wide unless `full`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        side = 256 if full else 128
        checkpoint = _checkpoint(folder, full=full)
        given = {"checkpoint": str(checkpoint), "side": side}
        case = f"VAE of SD 1.5, {'whole' if full else 'a quarter as wide'}, {2 * side}x{2 * side}"
        return [
            *_decoded(rounds, folder, given, case),
            _resized(rounds, folder, given, case),
        ]


def _checkpoint(folder: Path, *, full: bool) -> Path:
    """A small model with a large decoder."""
    vae = dict(family("sd15").parts["vae"])
    if not full:
        vae["block_out_channels"] = [channels // 4 for channels in vae["block_out_channels"]]
    small = family("tiny")
    mixed = replace(small, parts={**small.parts, "vae": vae})
    return written(mixed, folder, dtype=torch.float32, device="cpu")


def _decoded(rounds: int, folder: Path, given: Mapping[str, Any], case: str) -> list[Row]:
    """Latents are stretched in another way, so that all behind them is computed again."""
    methods = _METHODS[: rounds + 1]
    live = in_a_session(folder, given, "method", methods)
    cold: list[float] = []
    cache = folder / "finished"
    run_command(WORKFLOW, given, cache=cache, folder=folder)
    for method in methods[1:]:
        shutil.copytree(cache, folder / "copy")
        edited = {**given, "method": method, "file": method}
        cold.append(run_command(WORKFLOW, edited, cache=folder / "copy", folder=folder).cpu)
        shutil.rmtree(folder / "copy")
    return [
        _row(f"{case}: decoded again, live session", live),
        _row(f"{case}: decoded again, new process", replace(live, whole=tuple(cold))),
    ]


def _resized(rounds: int, folder: Path, given: Mapping[str, Any], case: str) -> Row:
    """The picture is saved in another size, decoded as it is; so quickly that more is averaged."""
    live = in_a_session(folder, given, "size", range(256, 257 + 4 * rounds))
    return _row(f"{case}: resized and saved again, live session", live)


@dataclass(frozen=True)
class Edited:
    """What edits took.

    Args:
        whole: CPU seconds of the runs.
        alone: CPU seconds of the same nodes, called as functions.
        ran: The nodes that ran.
    """

    whole: tuple[float, ...]
    alone: tuple[float, ...]
    ran: tuple[str, ...]


def in_a_session(
    folder: Path, given: Mapping[str, Any], name: str, values: Sequence[Any]
) -> Edited:
    """Edit an input of a finished run, and compute the same alone, in turns.

    Args:
        folder: Where there is room for a cache.
        given: The inputs.
        name: The one that is edited.
        values: What it was, and then what it becomes.
    """
    import graphdiff
    from graphdiff.engine.events import NodeFinished

    whole: list[float] = []
    alone: list[float] = []
    ran: list[str] = []
    with (
        tempfile.TemporaryDirectory(dir=folder) as cache,
        graphdiff.Session(cache=cache, device="cpu", output_dir=Path(cache) / "out") as session,
    ):
        found = session.run(WORKFLOW, {**given, name: values[0]}, targets=["model", "denoise"])
        vae, latents = found.outputs["model"]["vae"], found.outputs["denoise"]["sample"]
        again = _alone(vae, latents, Path(cache) / "alone.png", decodes=name == "method")
        session.run(WORKFLOW, {**given, name: values[0]})
        for value in values[1:]:
            changed = {**given, name: value, "file": f"edited-{value}"}
            start = time.process_time()
            events = session.run(WORKFLOW, changed).events
            whole.append(time.process_time() - start)
            ran = [event.type for event in events if isinstance(event, NodeFinished)]
            start = time.process_time()
            again(value)
            alone.append(time.process_time() - start)
    return Edited(tuple(whole), tuple(alone), tuple(ran))


def _alone(vae: Any, latents: Any, file: Path, *, decodes: bool) -> Callable[[Any], None]:  # noqa: ANN401
    """The nodes behind the sampler, called as functions with what is edited."""
    from graphdiff_nodes.images import ResizeImage
    from graphdiff_nodes.latents import ResizeLatents, VAEDecode
    from graphdiff_nodes.pictures import to_pillow

    from graphdiff.picture import embed

    @torch.no_grad()
    def decoded(method: Any) -> Any:  # noqa: ANN401
        return VAEDecode.fn(vae, ResizeLatents.fn(latents, 2.0, method=method))

    before = decoded("nearest")

    def call(value: Any) -> None:  # noqa: ANN401
        image, size = (decoded(value), 256) if decodes else (before, value)
        (picture,) = to_pillow(ResizeImage.fn(image, size, size).pixels)
        file.write_bytes(embed(picture, "png", None, compress_level=4))

    return call


def _row(case: str, edited: Edited) -> Row:
    whole, alone = edited.whole, edited.alone
    times = statistics.median(a / b for a, b in zip(whole, alone, strict=True))
    note = f"{statistics.median(whole):.4g} s of CPU, alone {statistics.median(alone):.4g} s"
    note += f"; ran {', '.join(edited.ran)}"
    return Row("after", case, "times the nodes alone", times, goal=_AT_MOST, note=note)

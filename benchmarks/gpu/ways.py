"""Ways to draw one and the same picture: graphdiff's, and diffusers', plain and compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import torch

from benchmarks.gpu.families import Family, Name, family
from benchmarks.models import diffusers
from benchmarks.rounds import ROOT
from graphdiff.checkpoints.handles import DeviceKind

if TYPE_CHECKING:
    from torch import Tensor

    from graphdiff.engine.events import Watcher

WORKFLOW = ROOT / "benchmarks" / "workflows" / "pictures.yaml"
PROMPT, GUIDANCE = "a red apple", 5.0

Draw = Callable[[int], "Tensor"]
"""From a seed to pictures in [0, 1] on the host, float32, (batch, 3, height, width)."""


@dataclass(frozen=True)
class Task:
    """What is drawn.

    Args:
        name: The family.
        folder: Its checkpoint.
        steps: How many steps.
        batch: How many pictures at once.
        device: On what.
        dtype: In what.
    """

    name: Name
    folder: Path
    steps: int
    batch: int
    device: DeviceKind
    dtype: str

    @property
    def family(self) -> Family:
        """The family."""
        return family(self.name)

    @property
    def case(self) -> str:
        """What is drawn, in words."""
        side = self.family.pixels
        return f"{self.name} {side}x{side}, {self.steps} steps, batch {self.batch}"

    @property
    def torch_dtype(self) -> torch.dtype:
        """What it is drawn in."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def inputs(self, seed: int) -> dict[str, Any]:
        """What our workflow is given."""
        return {
            "checkpoint": str(self.folder),
            "prompt": PROMPT,
            "seed": seed,
            "steps": self.steps,
            "guidance": GUIDANCE,
            "batch": self.batch,
        }


def ours(task: Task, *, compiles: bool = False, watch: Watcher | None = None) -> Draw:
    """Runs of a live session that remembers no result."""
    import graphdiff

    session = graphdiff.Session(
        cache=None, device=task.device, dtype=task.dtype, compile=compiles, metadata=False
    )

    def draw(seed: int) -> Tensor:
        results = session.run(WORKFLOW, task.inputs(seed), on_event=watch)
        pixels: Tensor = results.outputs["image"].pixels
        return pixels

    return draw


def without(task: Task, *left_out: str, arranged: bool = True) -> Draw:
    """Our runs without some of what makes them fast, with a weights pool of their own.

    Args:
        task: What is drawn.
        left_out: Functions that give a faster form of a model, which give it as it is.
        arranged: Whether models are arranged for the device at all.
    """
    from graphdiff.checkpoints.pool import WeightsPool

    own = WeightsPool(packs=arranged)
    draw = ours(task)

    def drawn(seed: int) -> Tensor:
        with ExitStack() as patches:
            patches.enter_context(mock.patch("graphdiff.checkpoints.pool._pool", own))
            for name in left_out:
                patches.enter_context(mock.patch(name, lambda model: model))
            return draw(seed)

    return drawn


def theirs(task: Task, *, mode: str | None = None) -> Draw:
    """Calls of a pipeline of diffusers.

    Args:
        task: What is drawn.
        mode: How torch.compile compiles its UNet, laid out as diffusers advises; None for not.
    """
    from graphdiff.rng import Rng

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline: Any = getattr(diffusers(), task.family.pipeline).from_pretrained(
            task.folder, torch_dtype=task.torch_dtype
        )
    pipeline.to(task.device)
    pipeline.set_progress_bar_config(disable=True)
    if mode is not None:
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.unet = torch.compile(pipeline.unet, mode=mode)
    side = task.family.side
    shape = (task.batch, task.family.parts["unet"].get("in_channels", 4), side, side)

    def draw(seed: int) -> Tensor:
        # Diffusers draws noise in 16 bits, which is other noise; it is given ours.
        noise, _ = Rng.from_seed([seed + i for i in range(task.batch)]).normal(shape)
        pixels = pipeline(
            PROMPT,
            negative_prompt="",
            num_inference_steps=task.steps,
            guidance_scale=GUIDANCE,
            num_images_per_prompt=task.batch,
            latents=noise.to(task.device, task.torch_dtype),
            output_type="np",
        ).images
        return torch.from_numpy(pixels).movedim(-1, 1)

    return draw


def way(name: str, task: Task, *, watch: Watcher | None = None) -> Draw:
    """A way to draw.

    Args:
        name: One of `WAYS`.
        task: What is drawn.
        watch: Told what happens in runs of graphdiff.
    """
    if name in _MODES:
        return theirs(task, mode=_MODES[name])
    if name in _LEFT_OUT:
        return without(task, *_LEFT_OUT[name], arranged=name != "graphdiff plain")
    return ours(task, compiles=name == "graphdiff compiled", watch=watch)


_MODES = {
    "diffusers": None,
    "diffusers compiled": "default",
    "diffusers reduce-overhead": "reduce-overhead",
}
_LEFT_OUT = {
    "graphdiff plain": (),
    "graphdiff fused": ("graphdiff.models.graphed.graphed",),
    "graphdiff graphed": ("graphdiff.models.fused.fused",),
}
"""With one of the two alone, or none: what each gives."""

THEIRS: Final = tuple(_MODES)
OURS: Final = ("graphdiff", "graphdiff compiled", *_LEFT_OUT)
WAYS: Final = ("diffusers", "graphdiff", "graphdiff compiled", *THEIRS[1:], *_LEFT_OUT)
"""In the order in which they are worth their time; the first says what the picture should be."""


def with_steps(task: Task, steps: int) -> Task:
    """The same with another number of steps."""
    return replace(task, steps=steps)


def difference(found: Tensor, expected: Tensor) -> float:
    """How far pictures are from others, as a share of the contrast of these."""
    if found.shape != expected.shape:
        raise ValueError(f"pictures of {tuple(found.shape)} and of {tuple(expected.shape)}")
    if not expected.isfinite().all() or expected.std() < 1e-3:
        raise ValueError("the pictures of diffusers are of one colour, and would prove nothing")
    return float((found - expected).square().mean().sqrt() / expected.std())

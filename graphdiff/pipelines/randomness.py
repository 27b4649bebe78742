"""A caller's torch generators as streams of random numbers, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphdiff.rng import Rng

if TYPE_CHECKING:
    import torch


def streams(generator: torch.Generator | Sequence[torch.Generator] | None, batch: int) -> Rng:
    """The streams that a call draws from.

    Args:
        generator: One for the whole batch, one for each picture, or None for torch's own. A
            generator on an accelerator stands for its seed: numbers are drawn on the CPU.
        batch: How many pictures there are.

    Raises:
        ValueError: There are several generators, but not one for each picture.
    """
    import torch

    if generator is None:
        return _stream(torch.default_generator)
    if not isinstance(generator, Sequence):
        return _stream(generator)
    if len(generator) not in (1, batch):
        raise ValueError(
            f"{len(generator)} generators were given for {batch} pictures: give one for all of "
            "them, or one for each"
        )
    return Rng.join(_stream(each) for each in generator)


def advance(generator: torch.Generator | Sequence[torch.Generator] | None, rng: Rng | None) -> None:
    """Leave the caller's generators where a call has left its streams."""
    import torch

    if rng is None:
        return
    if generator is None:
        generator = torch.default_generator
    targets = generator if isinstance(generator, Sequence) else [generator]
    for target, stream in zip(targets, rng.generators(), strict=True):
        if target.device.type == "cpu":
            target.set_state(stream.get_state())


def _stream(generator: torch.Generator) -> Rng:
    """One stream; as a seed where nothing was drawn yet, so that equal seeds are seen as equal."""
    import torch

    seed = generator.initial_seed()
    if generator.device.type != "cpu":
        return Rng.from_seed(seed)
    fresh = torch.Generator().manual_seed(seed)
    if bool((fresh.get_state() == generator.get_state()).all()):
        return Rng.from_seed(seed)
    return Rng.from_generator(generator)

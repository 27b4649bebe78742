"""Randomness as a value: streams of normal numbers that are passed on, not advanced in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SEEDS = range(-(2**63), 2**64)  # what torch.Generator.manual_seed takes


@dataclass(frozen=True, slots=True)
class Rng:
    """One stream of random numbers, or one for each picture of a batch.

    A draw gives the numbers and the advanced `Rng`; the old one still gives what it gave. Numbers
    are drawn as float32 on the CPU, so that a seed means the same on every device and in every
    precision.

    Attributes:
        streams: For each stream a seed that nothing was drawn from yet, or the state of a
            `torch.Generator` in bytes.
    """

    streams: tuple[int | bytes, ...]

    def __post_init__(self) -> None:
        if not self.streams:
            raise ValueError(
                "an Rng needs at least one stream; give Rng.from_seed one seed or more"
            )
        for stream in self.streams:
            if isinstance(stream, int) and stream not in _SEEDS:
                raise ValueError(f"seed {stream} does not fit; seeds go from -2**63 to 2**64 - 1")

    @classmethod
    def from_seed(cls, seed: int | Sequence[int]) -> Rng:
        """Start one stream from a seed, or one from each of several."""
        return cls((seed,) if isinstance(seed, int) else tuple(seed))

    @classmethod
    def from_generator(cls, generator: torch.Generator | Sequence[torch.Generator]) -> Rng:
        """Continue where torch's generators on the CPU stand; they are left as they are."""
        generators = generator if isinstance(generator, Sequence) else (generator,)
        for each in generators:
            if each.device.type != "cpu":
                raise ValueError(f"an Rng draws on the CPU, but the generator is on {each.device}")
        return cls(tuple(_state(each) for each in generators))

    @classmethod
    def join(cls, parts: Iterable[Rng]) -> Rng:
        """Put the streams of several side by side, as for pictures that are put into one batch."""
        return cls(tuple(stream for part in parts for stream in part.streams))

    def split(self) -> tuple[Rng, ...]:
        """Take the streams apart, one `Rng` each."""
        return tuple(Rng((stream,)) for stream in self.streams)

    def generators(self) -> tuple[torch.Generator, ...]:
        """Make a torch generator for each stream, standing where the stream stands."""
        return tuple(_generator(stream) for stream in self.streams)

    def normal(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> tuple[Tensor, Rng]:
        """Draw from the standard normal distribution.

        Args:
            shape: The shape to draw. One stream gives all of it; with several, `shape[0]` must be
                their number, and each gives one row.
            dtype: What to cast to afterwards; float32 by default.
            device: Where to move the numbers afterwards; the CPU by default.

        Returns:
            The numbers, and the advanced `Rng`.

        Raises:
            ValueError: The batch and the number of streams differ.
        """
        import torch

        generators = self.generators()
        if len(generators) == 1:
            drawn = torch.randn(tuple(shape), generator=generators[0])
        elif shape[0] == len(generators):
            row = (1, *shape[1:])
            drawn = torch.cat([torch.randn(row, generator=each) for each in generators])
        else:
            raise ValueError(
                f"cannot draw a batch of {shape[0]} from {len(generators)} streams: "
                "give one seed for the whole batch or one for each picture"
            )
        moved = drawn.to(dtype=dtype or torch.float32, device=device or "cpu", non_blocking=True)
        return moved, Rng(tuple(_state(each) for each in generators))

    def entropy(self) -> tuple[tuple[int, ...], Rng]:
        """Draw one whole number below 2**63 - 1 from each stream, to seed other generators with."""
        import torch

        generators = self.generators()
        drawn = tuple(int(torch.randint(0, 2**63 - 1, (), generator=g)) for g in generators)
        return drawn, Rng(tuple(_state(each) for each in generators))


def _generator(stream: int | bytes) -> torch.Generator:
    import torch

    generator = torch.Generator()
    if isinstance(stream, int):
        return generator.manual_seed(stream)
    generator.set_state(torch.frombuffer(bytearray(stream), dtype=torch.uint8))
    return generator


def _state(generator: torch.Generator) -> bytes:
    return generator.get_state().numpy().tobytes()

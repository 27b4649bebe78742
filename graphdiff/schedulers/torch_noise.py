"""Noise drawn as diffusers draws it: in the dtype that is wanted, from torch's generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

Generators = torch.Generator | list[torch.Generator]


@dataclass(frozen=True, slots=True)
class TorchNoise:
    """What a shell gives its rule to draw from.

    Attributes:
        generator: One generator, one for each picture, or None for torch's own.
        given: Noise to use instead of drawing any.
    """

    generator: Generators | None = None
    given: Tensor | None = None

    def normal(
        self, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, Self]:
        """Draw standard normal numbers; the generators are advanced in place.

        Raises:
            ValueError: A generator on an accelerator is given for a tensor on another device, or
                there are not as many generators as pictures.
        """
        if self.given is not None:
            return self.given.to(device=device, dtype=dtype), self
        generators = self.generator if isinstance(self.generator, list) else [self.generator]
        first = generators[0]
        source = torch.device(device) if first is None else first.device
        if source.type not in ("cpu", torch.device(device).type):
            raise ValueError(f"a generator on {source} cannot draw for a tensor on {device}")
        if len(generators) == 1:
            drawn = torch.randn(tuple(shape), generator=first, device=source, dtype=dtype)
        elif len(generators) != shape[0]:
            raise ValueError(
                f"{len(generators)} generators are given for a batch of {shape[0]}: give one for "
                "the whole batch or one for each picture"
            )
        else:
            row = (1, *shape[1:])
            drawn = torch.cat(
                [torch.randn(row, generator=g, device=source, dtype=dtype) for g in generators]
            )
        return drawn.to(device), self

    def entropy(self) -> tuple[tuple[int, ...], Self]:
        """Draw a seed from torch's own generator, as diffusers does, whichever is given."""
        return (int(torch.randint(0, 2**63 - 1, ())),), self

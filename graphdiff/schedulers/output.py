"""What a scheduler's step gives: tensors with names."""

from __future__ import annotations

from typing import Self, SupportsIndex, overload

from torch import Tensor


class SchedulerOutput(tuple[Tensor, ...]):
    """What `step` gives: a tuple of tensors, each of which has a name as well.

    The first is `prev_sample`, the less noisy sample; a second is what else the scheduler gives.
    Since it is a tuple anyway, `return_dict`, which `step` takes as in diffusers, changes nothing.
    """

    _names: tuple[str, ...]

    def __new__(cls, prev_sample: Tensor, **others: Tensor) -> Self:
        """Name the less noisy sample, and what else there is."""
        output = super().__new__(cls, (prev_sample, *others.values()))
        output._names = ("prev_sample", *others)
        return output

    @property
    def prev_sample(self) -> Tensor:
        """The less noisy sample."""
        return self[0]

    @property
    def pred_original_sample(self) -> Tensor | None:
        """The image that the prediction points to, where the scheduler gives it."""
        return dict(self.items()).get("pred_original_sample")

    @property
    def denoised(self) -> Tensor | None:
        """The image of a consistency model."""
        return dict(self.items()).get("denoised")

    @property
    def pred_noised_sample(self) -> Tensor | None:
        """Where TCD leaves the trajectory."""
        return dict(self.items()).get("pred_noised_sample")

    @overload
    def __getitem__(self, key: SupportsIndex | str) -> Tensor: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, key: SupportsIndex | str | slice) -> Tensor | tuple[Tensor, ...]:
        return super().__getitem__(self._names.index(key) if isinstance(key, str) else key)

    def keys(self) -> tuple[str, ...]:
        """Give the names of what is there."""
        return self._names

    def values(self) -> tuple[Tensor, ...]:
        """Give what is there."""
        return self.to_tuple()

    def items(self) -> tuple[tuple[str, Tensor], ...]:
        """Give what is there with its name."""
        return tuple(zip(self._names, self, strict=True))

    def to_tuple(self) -> tuple[Tensor, ...]:
        """Give what is there as a plain tuple."""
        return tuple(self)

"""What a tensor looked like: its version, and a few of its elements.

The version tells of every change that torch knows of. Who writes through `tensor.numpy()`, or
through other memory that the tensor shares, does not tell torch; that shows in the elements, as far
as those change that are looked at. Tensors on devices are known by their version alone, since to
read them would make the device wait.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_LOOKED_AT: Final = 61  # elements, evenly spread; no power of two, which shapes are made of


class TensorState(NamedTuple):
    """What a tensor looked like.

    Attributes:
        version: How often it was changed, as torch knows; -1 where it does not count.
        elements: Some of its elements; empty if they are not looked at.
        nan: Whether one of these is no number.
    """

    version: int
    elements: bytes
    nan: bool

    @classmethod
    def of(cls, tensor: Any) -> TensorState:  # noqa: ANN401 - a tensor
        """What a tensor looks like now."""
        looked_at = _elements(tensor)
        if looked_at is None:
            return cls(_version(tensor), b"", False)
        return cls(_version(tensor), looked_at.tobytes(), _has_nan(looked_at, tensor))

    def changed(self, tensor: Any, *, closely: bool) -> bool:  # noqa: ANN401 - a tensor
        """Whether the tensor looks different now.

        Args:
            tensor: The tensor.
            closely: Whether its elements are looked at, which takes some microseconds.
        """
        if _version(tensor) != self.version:
            return True
        if not closely or not self.elements:
            return False
        looked_at = _elements(tensor)
        return looked_at is None or looked_at.tobytes() != self.elements


def _version(tensor: Any) -> int:  # noqa: ANN401 - a tensor
    try:
        return int(tensor._version)
    except RuntimeError:  # made in inference mode: it cannot be changed outside of that
        return -1


def _elements(tensor: Any) -> Any:  # noqa: ANN401 - a numpy array, or None
    if not tensor.is_cpu:
        return None
    try:
        array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    except TypeError:  # a dtype that numpy lacks, such as bfloat16
        array = _bits(tensor)
    except RuntimeError:  # sparse, or a conjugate
        return None
    return None if array is None or not array.size else array.flat[:: array.size // _LOOKED_AT + 1]


def _bits(tensor: Any) -> Any:  # noqa: ANN401 - a numpy array, or None
    import torch

    if tensor.dtype is torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy()
    return None


def _has_nan(elements: Any, tensor: Any) -> bool:  # noqa: ANN401 - an array, and its tensor
    kind = elements.dtype.kind
    if kind == "f":
        largest = elements[elements.argmax()]  # to numpy, the largest is what is no number
        return bool(largest != largest)
    if kind == "i" and tensor.is_floating_point():  # the bits of bfloat16
        return bool(((elements & 0x7FFF) > 0x7F80).any())
    return False

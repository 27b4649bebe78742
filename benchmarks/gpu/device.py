"""What a device is asked while it is measured: to finish, what it holds, who waited for it."""

from __future__ import annotations

import resource
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from graphdiff.checkpoints.handles import DeviceKind


@dataclass(frozen=True)
class Device:
    """A device.

    Args:
        kind: `cuda` or `cpu`; on a CPU every figure can be had, so that tests go the same way.
    """

    kind: DeviceKind

    @property
    def is_gpu(self) -> bool:
        """Whether there is anything to wait for."""
        return self.kind == "cuda"

    @property
    def name(self) -> str:
        """What it calls itself."""
        return torch.cuda.get_device_name() if self.is_gpu else "cpu"

    def synchronise(self) -> None:
        """Wait until all is done that was asked of it."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def held(self) -> int:
        """The bytes that tensors take now."""
        return torch.cuda.memory_allocated() if self.is_gpu else 0

    def forget_peaks(self) -> None:
        """Count peaks from now on."""
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats()

    def peaks(self) -> tuple[int, int]:
        """The most bytes that tensors took, and the most that torch kept for them.

        On a CPU both are the most that the process took.
        """
        if self.is_gpu:
            return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return peak, peak

    @contextmanager
    def waits(self) -> Generator[list[str]]:
        """Where the host waits for the device inside, as far as torch notices: file and line."""
        found: list[str] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if self.is_gpu:
                torch.cuda.set_sync_debug_mode("warn")
            try:
                yield found
            finally:
                if self.is_gpu:
                    torch.cuda.set_sync_debug_mode("default")
                found += [
                    f"{warning.filename}:{warning.lineno}"
                    for warning in caught
                    if "synchronizing" in str(warning.message)
                ]

"""Nodes run without gradients; torch is not imported for that, only looked for."""

from __future__ import annotations

import sys
import threading
from typing import Any

_importing = threading.Lock()


def loaded_torch() -> Any:  # noqa: ANN401 - the module torch, or None
    """The module torch, if something has imported it."""
    return sys.modules.get("torch")


def import_torch() -> None:
    """Import torch before a node does, so that its first call runs without gradients too."""
    if loaded_torch() is None:
        with _importing:
            import torch

            torch.set_grad_enabled(False)


class NoGradients:
    """Runs without gradients in this thread, also if torch is imported on the way."""

    def __enter__(self) -> None:
        torch = loaded_torch()
        self._before = torch is None or bool(torch.is_grad_enabled())
        if torch is not None:
            torch.set_grad_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch = loaded_torch()
        if torch is not None:
            torch.set_grad_enabled(self._before)

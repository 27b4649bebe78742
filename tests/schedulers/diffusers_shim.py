"""Put our schedulers into diffusers' place, so that its own scheduler tests run on them.

To run them, take `tests` from diffusers' source release, copy this file beside it as `conftest.py`,
and run pytest on `tests/schedulers` with this repository on PYTHONPATH.
"""

from __future__ import annotations

from typing import Any

import diffusers
from torch import Tensor

import graphdiff.schedulers as library
from graphdiff.schedulers.pndm import PNDMHistory
from graphdiff.schedulers.rules import NAMES
from graphdiff.schedulers.shells_of_solvers import SolverScheduler


def _remember(scheduler: Any, predictions: list[Tensor]) -> None:
    scheduler._history = PNDMHistory(tuple(predictions))


def _forget(scheduler: Any, outputs: list[Tensor]) -> None:
    """Do nothing: diffusers does not look at outputs that no step has counted, either."""


def _install() -> None:
    for name in NAMES:
        ours: Any = getattr(library, name)
        ours._deprecated_kwargs = []
        getattr(diffusers, name)  # resolved first, or diffusers' lazy module would put its own back
        setattr(diffusers, name, ours)
    pndm: Any = library.PNDMScheduler
    pndm.ets = pndm.ets.setter(_remember)
    solver: Any = SolverScheduler
    solver.model_outputs = solver.model_outputs.setter(_forget)


_install()

"""The same call of diffusers' pipeline and of ours."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import graphdiff

TOLERANCE = 1e-4


def generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def oracle_of(
    folder: Path, made: Any, name: str, scheduler: str | None = None, **components: Any
) -> Any:
    """Diffusers' pipeline of a class, from another one's components.

    The scheduler is made from the saved configuration, whose keys are all stated: one in memory
    would leave those that hold defaults to the other class.
    """
    import diffusers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = getattr(diffusers, name)(**{**made.components, **components})
        if scheduler is not None:
            oracle.scheduler = getattr(diffusers, scheduler).from_config(
                json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
            )
    oracle.set_progress_bar_config(disable=True)
    return oracle


def difference(
    oracle: Any,
    folder: Path | str,
    name: str,
    *,
    scheduler: str | None = None,
    random: Callable[[], Any] = generator,
    ours: dict[str, Any] | None = None,
    **arguments: Any,
) -> float:
    """How far the two pictures are apart, in the [0, 1] range."""
    pipeline = getattr(graphdiff, name).from_pretrained(folder, cache=False, **(ours or {}))
    if scheduler is not None:
        cls = getattr(graphdiff, scheduler)
        pipeline.scheduler = cls.from_config(pipeline.scheduler.config)
    arguments = {"num_inference_steps": 4, "output_type": "np"} | arguments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = oracle(generator=random(), **arguments).images
    found = pipeline(generator=random(), **arguments).images
    assert found.shape == wanted.shape
    assert wanted.std() > 0.05  # a flat picture would prove nothing
    return float(np.abs(np.asarray(found) - np.asarray(wanted)).max())

"""Small checkpoints for the pipelines, each beside diffusers' pipeline of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import graphdiff
from tests.nodes import tiny

Pair = tuple[Path, Any]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHDIFF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    """Build a checkpoint once: its folder, and diffusers' pipeline."""
    made: dict[str, Pair] = {}

    def build(name: str) -> Pair:
        if name not in made:
            folder = tmp_path_factory.mktemp("checkpoints") / name
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what diffusers and transformers say of themselves
                made[name] = folder, getattr(tiny, name)(folder)
        return made[name]

    return build


@pytest.fixture
def folder(checkpoint: Callable[..., Pair]) -> Path:
    """A small Stable Diffusion checkpoint."""
    return checkpoint("stable_diffusion")[0]


@pytest.fixture
def pipeline(folder: Path) -> graphdiff.StableDiffusionPipeline:
    """Its pipeline, which remembers nothing."""
    made: Any = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    return cast("graphdiff.StableDiffusionPipeline", made)

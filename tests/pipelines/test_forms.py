"""One checkpoint in all of its forms gives one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import graphdiff
from tests.checkpoints.originals import write_single_file
from tests.pipelines.compare import TOLERANCE, generator


def draw(checkpoint: Path, **options: Any) -> Any:
    pipeline = graphdiff.StableDiffusionPipeline.from_pretrained(checkpoint, cache=False, **options)
    arguments: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
    return pipeline("a cat", generator=generator(), **arguments).images


@pytest.fixture(scope="module")
def made(checkpoint: Any) -> Any:
    """A pipeline whose weights are the same in 16 bits."""
    _, pipeline = checkpoint("rounded")
    return pipeline


def test_a_folder_a_variant_shards_and_a_single_file_give_one_picture(
    made: Any, tmp_path: Path
) -> None:
    folder, variant, shards = (tmp_path / name for name in ("folder", "variant", "shards"))
    made.save_pretrained(folder)
    made.save_pretrained(variant, variant="fp16")
    made.save_pretrained(shards, max_shard_size="100KB")
    assert len(list((shards / "unet").glob("*.safetensors"))) > 2
    file = write_single_file(folder, "sd1", tmp_path / "single.safetensors")
    wanted = draw(folder)
    assert wanted.std() > 0.05
    for found in (
        draw(variant, variant="fp16"),
        draw(shards),
        draw(file, config=folder),
    ):
        assert np.abs(found - wanted).max() < TOLERANCE


def test_lower_precision_gives_nearly_the_same_picture(made: Any, tmp_path: Path) -> None:
    made.save_pretrained(tmp_path)
    gap = np.abs(draw(tmp_path, torch_dtype=torch.bfloat16) - draw(tmp_path))
    assert 0 < gap.mean() < 0.05

"""Pictures from noise alone equal those of diffusers' pipelines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipelines.compare import TOLERANCE, difference, generator, oracle_of


def test_ddpm_equals_diffusers(checkpoint: Any) -> None:
    folder, made = checkpoint("unconditional")
    options: dict[str, Any] = {"batch_size": 2, "num_inference_steps": 8}
    assert difference(made, folder, "DDPMPipeline", **options) < TOLERANCE


@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim_equals_diffusers(checkpoint: Any, eta: float) -> None:
    folder, made = checkpoint("unconditional")
    oracle = oracle_of(folder, made, "DDIMPipeline", "DDIMScheduler")
    options: dict[str, Any] = {"eta": eta, "num_inference_steps": 8}
    assert difference(oracle, folder, "DDIMPipeline", **options) < TOLERANCE


def test_each_picture_has_a_generator_of_its_own(checkpoint: Any) -> None:
    folder, made = checkpoint("unconditional")
    options: dict[str, Any] = {"batch_size": 2, "num_inference_steps": 4}

    def several() -> Any:
        return [generator(1), generator(2)]

    assert difference(made, folder, "DDPMPipeline", random=several, **options) < TOLERANCE

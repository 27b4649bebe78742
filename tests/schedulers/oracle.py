"""diffusers' schedulers as the oracle: the same model, the same noise, a whole trajectory."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphdiff.rng import Rng
from graphdiff.schedulers import rule_from_config
from graphdiff.schedulers.schedule import NoiseSource, Schedule

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers as diffusers

diffusers.utils.logging.set_verbosity_error()

SHAPE = (2, 4, 8, 8)
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
IGNORED = (
    "ignore:__array__ implementation:DeprecationWarning",  # numpy's, at diffusers' np.array(tensor)
    "ignore:__array_wrap__ must accept:DeprecationWarning",
    "ignore:Should have t:UserWarning",  # torchsde's, at times that diffusers rounds out of range
    "ignore:.*algorithm_type:FutureWarning",
    "ignore:invalid value encountered:RuntimeWarning",
    "ignore:divide by zero encountered:RuntimeWarning",
)


def model(sample: Tensor, timestep: float) -> Tensor:
    """Stand for a model: nonlinear, not the same everywhere, different at each timestep."""
    return torch.sin(sample * 1.3 + timestep / 500) * 0.7 + 0.1 * sample.flip(-1)


def start(seed: int = 7) -> tuple[Tensor, torch.Generator]:
    """Draw noise, and give the generator that goes on from there."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator), generator


def reference(name: str, **config: Any) -> Any:
    """Make diffusers' scheduler."""
    return getattr(diffusers, name)(**config)


def reference_run(
    scheduler: Any, sample: Tensor, generator: torch.Generator, first: int = 0, **arguments: Any
) -> Tensor:
    """Follow diffusers' scheduler from one of its entries to the end."""
    if "generator" in inspect.signature(scheduler.step).parameters:
        arguments["generator"] = generator
    for timestep in scheduler.timesteps[first:]:
        scaled = sample
        if hasattr(scheduler, "scale_model_input"):
            scaled = scheduler.scale_model_input(sample, timestep)
        output = model(scaled, float(timestep))
        sample = scheduler.step(output, timestep, sample, return_dict=False, **arguments)[0]
    return sample


def rule_run(schedule: Schedule, sample: Tensor, rng: Rng) -> Tensor:
    """Follow our schedule from its first entry to its last."""
    history: Any = None
    source: NoiseSource | None = rng
    for step in schedule:
        output = model(step.scale_input(sample), step.timestep)
        sample, history, source = step.rule.step(output, step, sample, history, source)
    return sample


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Give the largest difference, in units of the largest value."""
    assert torch.isfinite(theirs).all(), "the oracle itself is not finite"
    return float((ours - theirs).abs().max() / theirs.abs().max())


def compare(
    name: str,
    steps: int | None = 6,
    first: int = 0,
    /,
    **config: Any,
) -> float:
    """Run both from the same noise, and give the difference of where they arrive.

    Args:
        name: The scheduler class.
        steps: How many steps.
        first: The entry to start from.
        **config: The configuration; beside it `grid`, further arguments of set_timesteps and
            schedule, and `options`, arguments of diffusers' step, which are fields of our rule.
    """
    grid: dict[str, Any] = config.pop("grid", {})
    options: dict[str, Any] = config.pop("options", {})
    theirs = reference(name, **config)
    arguments = dict(grid or {}) if steps is None else {**grid, "num_inference_steps": steps}
    if name == "UniPCMultistepScheduler" and "sigmas" in arguments:
        arguments["sigmas"] = np.array(arguments["sigmas"])
    theirs.set_timesteps(**arguments)
    rule = rule_from_config({"_class_name": name, **config, **options})
    schedule = rule.schedule(steps, **grid)
    assert len(schedule) == len(theirs.timesteps)
    times = torch.tensor([step.timestep for step in schedule], dtype=torch.float64)
    assert torch.allclose(times, theirs.timesteps.double(), rtol=1e-6, atol=1e-4)
    scale = float(getattr(theirs, "init_noise_sigma", 1.0))
    assert abs(schedule.init_noise_sigma - scale) <= 1e-6 * scale
    noise, generator = start()
    rng = Rng.from_generator(generator)
    ours = rule_run(schedule[first:], noise * scale, rng)
    return difference(ours, reference_run(theirs, noise * scale, generator, first, **options))

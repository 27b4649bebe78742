"""Whole runs on the bundled model: diffusers' pipeline, and graphdiff's command and session."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import BUNDLED, diffusers
from benchmarks.rounds import ROOT, Spent, process

WORKFLOW = ROOT / "benchmarks" / "workflows" / "edits.yaml"
PROMPT, SEED, STEPS = "a red apple", 0, 30


def inputs(**edited: object) -> dict[str, Any]:
    """The inputs of the workflow, some of them edited."""
    config = json.loads((BUNDLED / "scheduler" / "scheduler_config.json").read_bytes())
    return {
        "prompt": PROMPT,
        "scheduler": config["_class_name"],
        "seed": SEED,
        "steps": STEPS,
        "scales": [5.0] * STEPS,
    } | edited


def diffusers_pipeline() -> Callable[..., Any]:
    """A function that makes one picture with a warm diffusers pipeline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = diffusers().StableDiffusionPipeline.from_pretrained(
            BUNDLED, torch_dtype=torch.float32
        )
    pipeline.set_progress_bar_config(disable=True)

    def draw(prompt: str = PROMPT, steps: int = STEPS, **more: object) -> Any:  # noqa: ANN401
        generator = torch.Generator().manual_seed(SEED)
        return pipeline(
            prompt, num_inference_steps=steps, guidance_scale=5.0, generator=generator, **more
        ).images[0]

    return draw


def command(
    given: Mapping[str, object], *, cache: Path, folder: Path, options: tuple[str, ...] = ()
) -> Spent:
    """Run the workflow by the command line in a new process."""
    return run_command(WORKFLOW, given, cache=cache, folder=folder, options=options)


def run_command(
    workflow: Path,
    given: Mapping[str, object],
    *,
    cache: Path,
    folder: Path,
    options: tuple[str, ...] = (),
) -> Spent:
    """Run a workflow by the command line in a new process."""
    arguments: list[str | Path] = ["-m", "graphdiff", "run", workflow, *options]
    for name, value in given.items():
        arguments += [f"--{name}", json.dumps(value) if isinstance(value, list) else str(value)]
    return process(arguments, cache=cache, folder=folder)


def diffusers_process(folder: Path, steps: int = STEPS) -> Spent:
    """Run the diffusers script in a new process."""
    script = ROOT / "benchmarks" / "diffusers_script.py"
    return process(
        [script, BUNDLED, PROMPT, str(SEED), str(steps), "theirs.png"],
        cache=folder / "unused",
        folder=folder,
    )

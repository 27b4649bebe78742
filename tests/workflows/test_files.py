"""Every shipped workflow is right, explains itself, and runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import graphdiff
from graphdiff.checkpoints.open import bundled_names
from graphdiff.graph.parts import resolve
from graphdiff.graph.registry import load_registry
from graphdiff.graph.yaml import read
from graphdiff.shipped import shipped_workflows

WORKFLOWS = shipped_workflows()
TASKS = [
    "another_scheduler",
    "controlnet",
    "depth_to_image",
    "guidance_by_step",
    "image_to_image",
    "inpainting",
    "inpainting_model",
    "lora",
    "prompt_list",
    "safety_checker",
    "sdxl_base_refiner",
    "text_to_image",
    "two_passes",
    "unconditional",
]


def test_there_is_one_for_each_task() -> None:
    assert sorted(WORKFLOWS) == TASKS


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_says_what_it_shows_and_what_its_inputs_mean(name: str) -> None:
    text = WORKFLOWS[name].read_text(encoding="utf-8")
    comment = [line for line in text.partition("graphdiff: 1")[0].splitlines() if line[:1] == "#"]
    assert len(comment) >= 4
    assert any(f"graphdiff run {name}" in line for line in comment)
    graph = read(WORKFLOWS[name]).graph
    assert graph.description.endswith(".")
    assert [key for key, value in graph.inputs.items() if not value.help] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_mistakes(name: str) -> None:
    graphdiff.load(WORKFLOWS[name])  # raises with all of them


def test_no_workflow_reaches_beyond_what_is_shipped() -> None:
    for path in WORKFLOWS.values():
        for picture in re.findall(r"pictures/[\w.]+", path.read_text(encoding="utf-8")):
            assert (path.parent / picture).is_file()


def defaults(name: str) -> dict[str, Any]:
    return {key: value.default for key, value in read(WORKFLOWS[name]).graph.inputs.items()}


RUNNABLE = [
    name
    for name in WORKFLOWS
    if defaults(name).get("checkpoint") in bundled_names()
    and not {"lora", "controlnet"} & set(defaults(name))
]


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_workflow_runs_as_it_stands_on_the_bundled_model(name: str, tmp_path: Path) -> None:
    results = graphdiff.run(
        WORKFLOWS[name], {"steps": 2}, output_dir=tmp_path, cache=False, device="cpu"
    )
    assert results.files
    assert all(path.is_file() and path.is_relative_to(tmp_path) for path in results.files)


def test_the_part_is_the_loop_of_text_to_image(tmp_path: Path) -> None:
    """A run with `type: Denoise` finds every result of one with the loop written out."""
    text = WORKFLOWS["text_to_image"].read_text(encoding="utf-8")
    start, end = text.index("  denoise:"), text.index("  image: ")
    short = (
        "  denoise: {type: Denoise, unet: $model.unet, schedule: $schedule, sample: $noise.latents,"
        " rng: $noise.rng, positive: $positive, negative: $negative, guidance: $inputs.guidance}\n"
    )
    file = tmp_path / "short.yaml"
    file.write_text(text[:start] + short + text[end:], encoding="utf-8")
    session = graphdiff.Session(cache=tmp_path / "cache", output_dir=tmp_path, device="cpu")
    session.run(WORKFLOWS["text_to_image"], {"steps": 2})
    plan = session.plan(file, {"steps": 2})
    assert {call.status for call in plan.calls} == {"cached"}


def test_named_parts_explain_themselves() -> None:
    registry = load_registry()
    for name, path in registry.parts.items():
        workflow = resolve(read(path), registry)
        assert workflow.graph.description.endswith("."), name
        assert [key for key, value in workflow.graph.inputs.items() if not value.help] == []

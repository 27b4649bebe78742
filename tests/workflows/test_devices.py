"""On another device than the host nothing is read back before the picture is there.

The device is `meta`: what is computed there has no numbers, so that to read one, or to compute with
what lies on the host, fails. What waits for a GPU would show in the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import graphdiff
from graphdiff.checkpoints import build, parts
from graphdiff.checkpoints.pool import pool
from graphdiff.engine.errors import RunError
from graphdiff.engine.events import NodeFinished
from graphdiff.shipped import find_workflow
from tests.pipelines.test_stable_diffusion import mask, picture

LEAVES = ("VAEDecode", "LatentsToImage")  # the nodes whose pictures leave the device
KINDS = {
    "text_to_image": "stable_diffusion",
    "another_scheduler": "stable_diffusion",
    "guidance_by_step": "stable_diffusion",
    "prompt_list": "stable_diffusion",
    "image_to_image": "stable_diffusion",
    "two_passes": "stable_diffusion",
    "inpainting": "stable_diffusion",
    "inpainting_model": "inpainting",
    "depth_to_image": "depth",
    "controlnet": "controlled",
    "safety_checker": "checked",
    "sdxl_base_refiner": "stable_diffusion_xl",
    "unconditional": "unconditional",
}


@pytest.fixture(autouse=True)
def _meta(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A device named `meta`, which loads models as any other does."""
    monkeypatch.setattr(parts, "resolve_device", lambda device: device)
    monkeypatch.setattr(parts, "resolve_dtype", lambda *_: "bfloat16")
    monkeypatch.setattr(build, "check_device", lambda _: None)
    yield
    pool().release()


@pytest.mark.parametrize("name", KINDS)
def test_a_workflow_reads_nothing_back_before_its_picture(
    checkpoint: Any, tmp_path: Path, name: str
) -> None:
    folder, _ = checkpoint(KINDS[name])
    picture(72, 64).save(tmp_path / "in.png")
    mask(72, 64).save(tmp_path / "mask.png")
    given: dict[str, Any] = {
        "base": str(folder),
        "refiner": str(checkpoint("xl_refiner")[0]) if "sdxl" in name else None,
        "checkpoint": str(folder),
        "controlnet": str(folder / "controlnet"),
        "image": tmp_path / "in.png",
        "mask": tmp_path / "mask.png",
        "steps": 3,
    }
    session = graphdiff.Session(cache=False, device="meta", output_dir=tmp_path / "out")
    workflow = find_workflow(name)
    known = session.load(workflow)[0].graph.inputs
    with pytest.raises(RunError) as failed:
        session.run(workflow, {key: given[key] for key in given.keys() & known.keys()})
    failures = [(error.type, str(error.__cause__)) for error in failed.value.failures]
    assert failures
    assert all(kind in LEAVES and "copy out of meta" in said for kind, said in failures)
    ran = [event.type for event in failed.value.results.events if isinstance(event, NodeFinished)]
    assert "SchedulerStep" in ran

"""On another device than the host nothing is read back before the picture is there.

The device is `meta`: what is computed there has no numbers, so that to read one, or to compute with
what lies on the host, fails. What waits for a GPU would show in the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import graphdiff
from graphdiff.checkpoints import build, parts
from graphdiff.checkpoints.pool import pool
from graphdiff.engine.errors import RunError
from graphdiff.engine.events import NodeFinished
from graphdiff.shipped import find_workflow
from tests.nodes.test_models import QUERY, lora
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
    "lora": "stable_diffusion",
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
    results, failures = drawn(checkpoint, tmp_path, name, steps=3)
    assert failures
    assert all(kind in LEAVES and "copy out of meta" in said for kind, said in failures)
    ran = [event.type for event in results.events if isinstance(event, NodeFinished)]
    assert "SchedulerStep" in ran


@pytest.mark.parametrize("name", ["text_to_image", "inpainting", "inpainting_model", "controlnet"])
def test_no_step_waits_until_the_device_has_what_is_copied_there(
    checkpoint: Any, tmp_path: Path, name: str
) -> None:
    drawn(checkpoint, tmp_path, name, steps=2)  # models are loaded
    counts: list[int] = []
    for steps in (2, 6):
        with Waits() as waits:
            drawn(checkpoint, tmp_path, name, steps=steps)
        counts.append(waits.count)
    assert counts[0] == counts[1]


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the copies to the device that the host waits for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            source, device = args[0], torch.device(named.get("device") or args[0].device)
            waits = not named.get("non_blocking")
        elif func is torch.ops.aten.copy_.default:
            source, device = args[1], args[0].device
            waits = True not in args[2:]
        else:
            return func(*args, **named)
        self.count += waits and (source.device.type, device.type) == ("cpu", "meta")
        return func(*args, **named)


def drawn(
    checkpoint: Any, tmp_path: Path, name: str, *, steps: int
) -> tuple[Any, list[tuple[str, str]]]:
    """What a workflow gives, and what failed in it."""
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
        "steps": steps,
        "lora": lora(tmp_path / "lora.safetensors", f"unet.{QUERY}"),
    }
    session = graphdiff.Session(cache=False, device="meta", output_dir=tmp_path / "out")
    workflow = find_workflow(name)
    known = session.load(workflow)[0].graph.inputs
    with pytest.raises(RunError) as failed:
        session.run(workflow, {key: given[key] for key in given.keys() & known.keys()})
    failures = [(error.type, str(error.__cause__)) for error in failed.value.failures]
    return failed.value.results, failures

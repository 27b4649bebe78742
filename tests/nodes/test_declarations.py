"""What holds for every built-in node: documented, typed, light to import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from graphdiff.graph.registry import load_registry

ROOT = Path(__file__).parents[2]
REGISTRY = load_registry()
LISTED = """
LoadModel LoadUNet LoadVAE LoadLoRA LoadControlNet LoadTextualInversion Scheduler Timesteps
StepCount TextEncode ConditioningCombine ConditioningConcat ConditioningAverage
ConditioningSetArea ConditioningSetMask ConditioningSetTimestepRange ApplyControlNet NoiseSample
NoiseFromLatents AddNoise UNetPredict Guidance SchedulerStep MaskedBlend VAEEncode VAEDecode
EmptyLatents ResizeLatents RepeatLatents InpaintChannels DepthChannels LatentsToImage
ImageToLatents PictureSize LoadImage ResizeImage CropImage PadImage BlendImages BatchImages
ImageGrid LoadMask MaskFromImage MaskFromColor MaskFromDepth MaskFromBox InvertMask GrowMask
BlurMask ResizeMask BinarizeMask MaskImage CompositeImage DepthEstimate DepthFromImage SafetyCheck
CropAroundMask PasteArea VAEDecodeTiled VAEEncodeTiled
SaveImage PreviewImage FormatText JoinText SplitText ListItem Length Seeds Ramp Calculate Round
"""


def test_these_are_the_nodes() -> None:
    own = {name for name, node in REGISTRY.nodes.items() if "graphdiff_nodes" in node.__module__}
    assert own == set(LISTED.split())


@pytest.mark.parametrize("name", LISTED.split())
def test_a_node_explains_itself_and_each_of_its_inputs(name: str) -> None:
    node = REGISTRY.nodes[name]
    assert re.fullmatch(r"[A-Z].{8,98}[.:]", node.summary)
    assert [p.name for p in node.params.values() if not p.help] == []


@pytest.mark.parametrize("name", LISTED.split())
def test_batches_and_facts_ask_for_inputs_that_there_are(name: str) -> None:
    node = REGISTRY.nodes[name]
    known = set(node.params)
    for function in (node.inferred, node.needed, node.batch and node.batch.fn):
        if callable(function):
            assert set(inspect.signature(function).parameters) <= known


def test_the_nodes_import_nothing_heavy() -> None:
    code = (
        "import sys; from graphdiff.graph.registry import load_registry; load_registry();"
        "print([m for m in ('torch','numpy','transformers','PIL','pydantic') if m in sys.modules])"
    )
    path = f"{ROOT}:{ROOT / 'nodes'}"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]", found.stderr

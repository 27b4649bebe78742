"""The safety checker and the depth estimator, held against diffusers' and transformers' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from graphdiff.checkpoints.handles import DepthEstimator, SafetyChecker, Weights
from graphdiff.checkpoints.open import weight_file
from graphdiff.checkpoints.pool import WeightsPool
from graphdiff.checkpoints.vision import prepared
from graphdiff.config import FrozenConfig

PROCESSOR: dict[str, Any] = {
    "feature_extractor_type": "CLIPFeatureExtractor",
    "size": 32,
    "crop_size": 32,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "resample": 3,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def handle(kind: Any, folder: Path, processor: dict[str, Any]) -> Any:
    config = FrozenConfig(json.loads((folder / "config.json").read_text()))
    weights = Weights((weight_file(folder / "model.safetensors"),))
    return kind(config, weights, FrozenConfig(processor))


@pytest.mark.parametrize("doubled", [True, False])
def test_the_safety_checker_flags_what_that_of_diffusers_flags(
    doubled: bool, tmp_path: Path
) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 4, "image_size": 32, "patch_size": 8, "projection_dim": 16}
    theirs = StableDiffusionSafetyChecker(CLIPConfig(vision_config=small, projection_dim=16))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    pixels = torch.randn(24, 3, 32, 32)
    with torch.no_grad():  # thresholds that some pass, some by the care of a special concept alone
        seen = F.normalize(theirs.visual_projection(theirs.vision_model(pixels)[1]))
        likeness = seen @ F.normalize(theirs.concept_embeds).T
        theirs.concept_embeds_weights.copy_(likeness.topk(2, dim=0).values[1] + 0.005)
        special = seen @ F.normalize(theirs.special_care_embeds).T
        theirs.special_care_embeds_weights.copy_(special.median(dim=0).values)
    theirs.eval().save_pretrained(tmp_path)
    if doubled:  # as files are that transformers before 5 wrote
        file = tmp_path / "model.safetensors"
        tensors = {
            name.replace("vision_model.", "vision_model.vision_model.", 1): tensor.clone()
            for name, tensor in load_file(file).items()
        }
        save_file(tensors, file)
    ours = WeightsPool().module(handle(SafetyChecker, tmp_path, PROCESSOR))
    _, flagged = theirs(pixels, torch.zeros(24, 3, 8, 8))
    assert 0 < sum(flagged) < 24
    assert list(ours(pixels)) == flagged


def test_pictures_are_prepared_as_clip_wants_them(tmp_path: Path) -> None:
    from transformers.models.clip import image_processing_pil_clip

    picture = Image.effect_noise((50, 40), 90).convert("RGB")
    options = {key: value for key, value in PROCESSOR.items() if "type" not in key}
    theirs = image_processing_pil_clip.CLIPImageProcessorPil(**options)
    wanted = theirs([picture], return_tensors="pt").pixel_values
    (tmp_path / "model.safetensors").write_bytes(b"")
    checker = SafetyChecker(
        FrozenConfig({}),
        Weights((weight_file(tmp_path / "model.safetensors"),)),
        FrozenConfig(PROCESSOR),
    )
    assert torch.equal(prepared(checker, [picture]), wanted)


def test_the_depth_estimator_is_that_of_transformers(tmp_path: Path) -> None:
    from transformers import DPTConfig, DPTForDepthEstimation

    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        is_hybrid=False,
    )
    theirs: Any = DPTForDepthEstimation(config)
    theirs.eval()
    theirs.save_pretrained(tmp_path)
    found = WeightsPool().module(handle(DepthEstimator, tmp_path, {}))
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        wanted = theirs(pixels).predicted_depth
        torch.testing.assert_close(found(pixels).predicted_depth, wanted)

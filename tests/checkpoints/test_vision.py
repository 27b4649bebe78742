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
from torch import Tensor

from graphdiff.checkpoints import build
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import DepthEstimator, SafetyChecker, Weights
from graphdiff.checkpoints.open import weight_file
from graphdiff.checkpoints.pool import WeightsPool
from graphdiff.checkpoints.vision import SafetyCheckerModel, prepared
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


@pytest.fixture(params=["as today", "doubled"])
def checker(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, SafetyChecker, Tensor]:
    """A safety checker of diffusers, ours of the same files, and pictures of which some are unfit.

    Their names are also doubled, as files are that transformers before 5 wrote.
    """
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
    if request.param == "doubled":
        file = tmp_path / "model.safetensors"
        tensors = {
            name.replace("vision_model.", "vision_model.vision_model.", 1): tensor.clone()
            for name, tensor in load_file(file).items()
        }
        save_file(tensors, file)
    return theirs, handle(SafetyChecker, tmp_path, PROCESSOR), pixels


@pytest.mark.parametrize("share", [None, 0.6, 0.35])
def test_the_safety_checker_flags_what_that_of_diffusers_flags(
    share: float | None, checker: tuple[Any, SafetyChecker, Tensor]
) -> None:
    theirs, ours, pixels = checker
    pool = pool_with(share, ours)
    _, flagged = theirs(pixels, torch.zeros(24, 3, 8, 8))
    assert 0 < sum(flagged) < 24
    for _ in range(2):
        assert list(pool.module(ours)(pixels)) == flagged
        assert pool.budget is None or 0 < pool.bytes_on("cpu") <= pool.budget


def pool_with(share: float | None, handle: Any) -> WeightsPool:
    """A pool that has room for a share of a model."""
    size = build.size_of(handle.weights, handle.config, handle.dtype)
    return WeightsPool(None if share is None else int(share * size), packs=True)


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


BACKBONE: dict[str, Any] = {
    "model_type": "bit",
    "global_padding": "same",
    "depths": [1, 1, 1],
    "hidden_sizes": [8, 16, 32],
    "embedding_size": 8,
    "num_groups": 2,
    "out_features": ["stage1", "stage2", "stage3"],
    "embedding_dynamic_padding": True,
}
DEPTHS: dict[str, dict[str, Any]] = {
    "plain": {"is_hybrid": False, "neck_hidden_sizes": [16, 16, 32, 32]},
    "hybrid": {  # as that of Stable Diffusion 2
        "is_hybrid": True,
        "neck_hidden_sizes": [8, 16, 32, 32],
        "neck_ignore_stages": [0, 1],
        "readout_type": "project",
        "backbone_featmap_shape": [1, 32, 2, 2],
        "backbone_config": BACKBONE,
    },
}


@pytest.mark.parametrize("share", [None, 0.6, 0.35])
@pytest.mark.parametrize("kind", DEPTHS)
def test_the_depth_estimator_is_that_of_transformers(
    kind: str, share: float | None, tmp_path: Path
) -> None:
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
        fusion_hidden_size=16,
        **DEPTHS[kind],
    )
    theirs: Any = DPTForDepthEstimation(config)
    theirs.eval()
    theirs.save_pretrained(tmp_path)
    ours = handle(DepthEstimator, tmp_path, {})
    pool = pool_with(share, ours)
    for _ in range(2):
        pixels = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            wanted = theirs(pixels).predicted_depth
            found = pool.module(ours)(pixels).predicted_depth
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
        assert pool.budget is None or 0 < pool.bytes_on("cpu") <= pool.budget


def test_tensors_that_no_file_holds_are_not_left_out(
    checker: tuple[Any, SafetyChecker, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, ours, _ = checker
    before = SafetyCheckerModel.__init__

    def with_a_buffer(self: SafetyCheckerModel, config: Any) -> None:
        before(self, config)
        self.register_buffer("table", torch.ones(3), persistent=False)

    monkeypatch.setattr(SafetyCheckerModel, "__init__", with_a_buffer)
    with pytest.raises(CheckpointError, match="computes table when it is made"):
        pool_with(0.5, ours).module(ours)

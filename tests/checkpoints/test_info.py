"""What is said of checkpoints, from headers alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.info import info, listed
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.checkpoints.pool import WeightsPool


def test_the_bundled_model_is_listed_with_its_size() -> None:
    found = {entry.name: entry for entry in listed()}
    assert found["emoji"].origin == "bundled"
    assert 1e6 < found["emoji"].size < 1e9


def test_a_pipeline_is_counted_part_by_part(sd1: Path) -> None:
    found = info(sd1)
    assert (found.kind, found.family, found.prediction_type) == ("pipeline", "sd1", "epsilon")
    assert [part.name for part in found.parts] == ["text_encoder", "unet", "vae"]
    unet = WeightsPool().module(open_checkpoint(sd1, device="cpu").unet)
    (part,) = (part for part in found.parts if part.name == "unet")
    assert part.parameters == sum(parameter.numel() for parameter in unet.parameters())
    assert part.size == 4 * part.parameters
    assert part.dtypes == ("F32",)


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        ({"unet.a.lora_A.weight": (2, 4), "unet.a.lora_B.weight": (4, 2)}, "LoRA"),
        ({"lora_unet_a.lora_down.weight": (2, 4), "lora_unet_a.alpha": ()}, "LoRA"),
        ({"<hat>": (2, 768)}, "embedding"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "embedding"),
        ({"a.weight": (3, 3, 3), "b": (1, 2, 3)}, "tensors"),
    ],
)
def test_a_file_is_told_by_its_keys(
    tensors: dict[str, tuple[int, ...]], kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, file)
    assert info(file).kind == kind


def test_a_single_file_says_its_family_and_parts(tmp_path: Path) -> None:
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    file = tmp_path / "x.safetensors"
    save_file({key: torch.zeros(640, 2048), "first_stage_model.a": torch.zeros(3)}, file)
    found = info(file)
    assert (found.kind, found.family) == ("single file", "sdxl")
    assert {part.name for part in found.parts} == {"unet", "vae"}


def test_a_pickle_is_named_with_the_command_that_converts_it(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"anything")
    found = info(tmp_path / "x.ckpt")
    assert found.kind == "pickle"
    assert "graphdiff models convert" in found.problem


def test_what_cannot_be_opened_is_described_with_the_reason(sd1: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = Path(shutil.copytree(sd1, tmp_path / "copy"))
    index = json.loads((folder / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "FluxTransformer2DModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert "transformer is not supported" in info(folder).problem


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither model_index\.json"):
        info(tmp_path)

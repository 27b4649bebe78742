from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from graphdiff.checkpoints import hub
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.weight_files import find_weights
from graphdiff.models import AutoencoderKL, CLIPTextModel, UNet2DConditionModel, UNet2DModel
from graphdiff.models.base import without_memory
from tests.models.reference import COMMON, UNETS, assert_equal, randomise, unet_inputs

CONFIG: dict[str, Any] = COMMON | UNETS["sd2"]


@pytest.fixture(scope="module")
def theirs() -> Any:
    return randomise(diffusers.UNet2DConditionModel(**CONFIG))


@torch.no_grad()
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"variant": "fp16"},
        {"max_shard_size": "200KB"},
        {"variant": "v", "max_shard_size": "200KB"},
    ],
    ids=str,
)
def test_each_form_that_diffusers_writes_is_read(
    form: dict[str, Any], theirs: Any, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path / "unet", **form)
    files = find_weights(tmp_path / "unet", variant=form.get("variant"))
    assert (len(files) > 1) == ("max_shard_size" in form)
    ours = UNet2DConditionModel.from_pretrained(
        tmp_path, subfolder="unet", variant=form.get("variant")
    )
    inputs = unet_inputs(CONFIG)
    assert_equal(ours(**inputs).sample, theirs(**inputs).sample)


@torch.no_grad()
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"variant": "fp16"},
        {"max_shard_size": "200KB"},
        {"variant": "v", "max_shard_size": "200KB"},
    ],
    ids=str,
)
def test_each_form_that_is_written_is_read_by_diffusers(
    form: dict[str, Any], theirs: Any, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path / "theirs")
    ours = UNet2DConditionModel.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours", **form)
    again = diffusers.UNet2DConditionModel.from_pretrained(
        tmp_path / "ours", variant=form.get("variant")
    )
    assert not again.training
    inputs = unet_inputs(CONFIG)
    assert_equal(ours(**inputs).sample, again(**inputs).sample)
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    read = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert written == {key: value for key, value in read.items() if key != "_diffusers_version"}


def test_a_model_says_what_it_computes_in_and_where(theirs: Any, tmp_path: Path) -> None:
    theirs.half().save_pretrained(tmp_path)
    theirs.float()
    assert UNet2DConditionModel.from_pretrained(tmp_path).dtype == torch.float32
    for dtype in (torch.bfloat16, "bfloat16", "torch.bfloat16"):
        model = UNet2DConditionModel.from_pretrained(tmp_path, dtype=dtype)
        assert model.dtype == torch.bfloat16
    model = UNet2DConditionModel.from_pretrained(tmp_path, torch_dtype=torch.float16, device="cpu")
    assert (model.dtype, model.device, model.training) == (
        torch.float16,
        torch.device("cpu"),
        False,
    )
    with pytest.raises(ValueError, match="no dtype 'float8'; use float32"):
        UNet2DConditionModel.from_pretrained(tmp_path, dtype="float8")


def test_a_config_makes_a_model_with_random_weights(tmp_path: Path) -> None:
    model = UNet2DConditionModel.from_config(CONFIG)
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_dict()))
    for config in (model.config, dict(model.config), tmp_path, str(tmp_path / "config.json")):
        assert UNet2DConditionModel.from_config(config).config == model.config
    with pytest.raises(AttributeError, match="frozen"):
        model.config.in_channels = 5  # type: ignore[misc]


def test_another_models_folder_is_refused(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match="config of a UNet2DConditionModel, not of a UNet2DModel"
    ):
        UNet2DModel.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
        CLIPTextModel.from_pretrained(tmp_path, subfolder="text_encoder")


def test_weights_of_another_family_are_refused_by_name_and_shape(
    theirs: Any, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def change(**keys: Any) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config | keys))

    change(cross_attention_dim=64)
    with pytest.raises(
        CheckpointError,
        match=r"attn2\.to_k\.weight' has the shape \[\d+, 48\], expected \[\d+, 64\]",
    ) as info:
        UNet2DConditionModel.from_pretrained(tmp_path)
    assert info.value.file == tmp_path / "diffusion_pytorch_model.safetensors"
    change(layers_per_block=2)
    with pytest.raises(CheckpointError, match=r"\d+ missing \(.*, 0 unexpected"):
        UNet2DConditionModel.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(
        CheckpointError, match=r"not the weights of this AutoencoderKL: .* unexpected"
    ):
        AutoencoderKL.from_pretrained(tmp_path)


def test_a_damaged_file_is_refused(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"truncated: expected \d+ bytes, found \d+"):
        UNet2DConditionModel.from_pretrained(tmp_path)


def test_a_pickle_is_refused(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(CheckpointError, match="graphdiff models convert"):
        UNet2DConditionModel.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="only safetensors"):
        UNet2DConditionModel.from_pretrained(tmp_path, use_safetensors=False)


def test_a_name_that_is_no_folder_goes_to_the_hub(
    theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs.save_pretrained(tmp_path / "unet")
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> Path:
        asked.update(options, name=name)
        return tmp_path

    monkeypatch.setattr(hub, "download", download)
    model = UNet2DConditionModel.from_pretrained(
        "some/model", subfolder="unet", revision="main", local_files_only=True
    )
    assert model.config.cross_attention_dim == CONFIG["cross_attention_dim"]
    assert asked == {
        "name": "some/model",
        "subfolder": "unet",
        "variant": None,
        "revision": "main",
        "token": None,
        "local_files_only": True,
    }


def test_the_package_gives_its_models_by_name_only() -> None:
    import graphdiff.models as models

    for name in models.__all__:
        assert getattr(models, name).__name__ == name
    assert set(dir(models)) == set(models.__all__)
    with pytest.raises(AttributeError, match="has no 'Flux'; it has AutoencoderKL"):
        models.Flux  # noqa: B018


def test_modules_made_without_memory_have_neither_memory_nor_the_compiler() -> None:
    """Filling a tensor without memory would import torch's compiler, which takes a second."""
    code = (
        "import sys; from graphdiff.models import CLIPTextModel, UNet2DConditionModel\n"
        "from graphdiff.models.base import without_memory\n"
        "with without_memory():\n"
        "    models = [CLIPTextModel.from_config({'hidden_size': 32, 'intermediate_size': 64,"
        " 'num_attention_heads': 4, 'num_hidden_layers': 1}),"
        " UNet2DConditionModel.from_config({'block_out_channels': (32, 64, 64, 64)})]\n"
        "assert all(t.is_meta for m in models for t in m.state_dict().values())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_made_after_others_without_memory_are_filled_again() -> None:
    with without_memory():
        torch.nn.Linear(3, 3)
    filled = torch.nn.Linear(3, 3)
    assert not filled.weight.is_meta
    assert filled.weight.std() > 0


def test_a_bundled_model_is_found_by_its_name() -> None:
    model = UNet2DModel.from_pretrained("emoji-unconditional", subfolder="unet")
    assert model.config.sample_size == 32

"""Pickles rewritten as safetensors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphdiff.checkpoints.convert import convert
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.info import info
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.checkpoints.pool import WeightsPool


class Unfit:
    """What a pickle must not hold."""


def test_a_file_keeps_its_tensors_and_says_what_was_left_out(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    data = {"state_dict": {"a": tensor, "b": tensor.T, "a again": tensor, "step": 3}, "epoch": 1}
    torch.save(data, tmp_path / "model.ckpt")
    (done,) = convert(tmp_path / "model.ckpt")
    assert done.target == tmp_path / "model.safetensors"
    assert done.left_out == ("step",)
    found = load_file(done.target)
    assert found.keys() == {"a", "b", "a again"}
    assert torch.equal(found["b"], tensor.T)
    assert (tmp_path / "model.ckpt").exists()


def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    torch.save({"a": Unfit()}, tmp_path / "evil.bin")
    with pytest.raises(CheckpointError, match="holds more than weights") as caught:
        convert(tmp_path / "evil.bin")
    assert caught.value.file == tmp_path / "evil.bin"
    assert not (tmp_path / "evil.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"PK\x03\x04 a broken archive"])
def test_a_damaged_pickle_is_an_error_that_names_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.bin"):
        convert(tmp_path / "x.bin")


def test_an_existing_file_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.bin")
    convert(tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match="exists already"):
        convert(tmp_path / "x.bin")
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin")
    (done,) = convert(tmp_path / "x.bin", overwrite=True)
    assert load_file(done.target)["a"].sum() == 0


@pytest.mark.parametrize("in_place", [True, False])
def test_a_folder_of_pickles_becomes_one_that_opens(
    in_place: bool, sd1: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(sd1, tmp_path / "pickled"))
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "pytorch_model"),
    ):
        (file,) = (folder / part).glob("*.safetensors")
        torch.save(load_file(file), folder / part / f"{stem}.bin")
        file.unlink()
    torch.save({"lr": 1}, folder / "optimizer.bin")
    with pytest.raises(CheckpointError, match="graphdiff models convert"):
        open_checkpoint(folder, device="cpu")
    target = folder if in_place else tmp_path / "converted"
    done = convert(folder, None if in_place else target)
    assert len(done) == 3
    ours, theirs = open_checkpoint(target, device="cpu"), open_checkpoint(sd1, device="cpu")
    left, right = (WeightsPool().module(found.unet).state_dict() for found in (ours, theirs))
    assert all(torch.equal(left[name], right[name]) for name in right)
    assert info(target).problem == ""


def test_a_folder_without_pickles_is_an_error(sd1: Path) -> None:
    with pytest.raises(CheckpointError, match="no pickled weights"):
        convert(sd1)


def test_what_is_safetensors_already_is_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="safetensors file already"):
        convert(path)
    with pytest.raises(CheckpointError, match="safetensors file already"):
        convert(path, overwrite=True)
    assert load_file(path)["a"].sum() == 2

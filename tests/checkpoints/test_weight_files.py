"""The files of weights are found, and written whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.headers import read_header
from graphdiff.checkpoints.weight_files import find_weights, parse_size, save_weights, write_tensors
from graphdiff.checkpoints.weights import load_into
from tests.checkpoints.small import STEM, meta, weights


def test_weights_are_found_by_variant(tmp_path: Path) -> None:
    for name in (f"{STEM}.safetensors", f"{STEM}.fp16.safetensors", "model.safetensors"):
        save_file(weights(), tmp_path / name)
    assert find_weights(tmp_path) == (tmp_path / f"{STEM}.safetensors",)
    assert find_weights(tmp_path, variant="fp16") == (tmp_path / f"{STEM}.fp16.safetensors",)
    assert find_weights(tmp_path, "model") == (tmp_path / "model.safetensors",)
    assert find_weights(tmp_path / "model.safetensors") == (tmp_path / "model.safetensors",)
    with pytest.raises(CheckpointError, match="no weights variant='bf16', but there is"):
        find_weights(tmp_path, variant="bf16")
    (tmp_path / f"{STEM}.safetensors").unlink()
    with pytest.raises(CheckpointError, match="without a variant, but there is variant='fp16'"):
        find_weights(tmp_path, STEM)


def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}.bin"
    path.write_bytes(b"pickle")
    command = f"graphdiff models convert {path}"
    for place in (tmp_path, path):
        with pytest.raises(CheckpointError) as info:
            find_weights(place)
        assert command in str(info.value)
    with pytest.raises(CheckpointError, match="graphdiff models convert"):
        read_header(path)


def test_a_folder_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        find_weights(tmp_path / "nothing")
    (tmp_path / "readme.md").touch()
    with pytest.raises(
        CheckpointError, match=r"there is no .*model.safetensors; it holds readme.md"
    ):
        find_weights(tmp_path)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_are_written_found_and_read(variant: str | None, tmp_path: Path) -> None:
    files = save_weights(weights(), tmp_path, STEM, variant=variant, max_shard_size=40)
    assert len(files) > 1
    assert find_weights(tmp_path, variant=variant) == files
    net = meta()
    load_into(net, files)
    assert all(torch.equal(a, weights()[name]) for name, a in net.state_dict().items())


def test_a_missing_shard_is_an_error_that_names_it(tmp_path: Path) -> None:
    files = save_weights(weights(), tmp_path, STEM, max_shard_size=40)
    files[1].unlink()
    with pytest.raises(CheckpointError, match=files[1].name):
        find_weights(tmp_path)
    index = tmp_path / f"{STEM}.safetensors.index.json"
    index.write_text('{"weight_map": {"x": "../secret.safetensors"}}')
    with pytest.raises(CheckpointError, match="not beside it"):
        find_weights(tmp_path)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="expected JSON with a weight_map"):
        find_weights(tmp_path)


def test_saving_again_leaves_no_older_weights_behind(tmp_path: Path) -> None:
    save_weights(weights(), tmp_path, STEM, max_shard_size=40)
    (single,) = save_weights(weights(1), tmp_path, STEM)
    assert [path.name for path in tmp_path.iterdir()] == [single.name]


def test_mapped_weights_can_be_written_over(file: Path) -> None:
    net = meta()
    load_into(net, [file])
    save_weights({name: t + 1 for name, t in net.state_dict().items()}, file.parent, STEM)
    assert all(torch.equal(t, weights()[name]) for name, t in net.state_dict().items())
    assert torch.equal(load_file(file)["first.bias"], weights()["first.bias"] + 1)


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5_000_000_000), ("1.5 KiB", 1536), ("200 B", 200), (7, 7)]
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_a_size_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="'many' is no size"):
        parse_size("many")


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_have_the_mode_that_all_files_get(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        (path,) = save_weights(weights(), tmp_path, STEM)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        write_tensors({"a": shared, "b": shared}, tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []

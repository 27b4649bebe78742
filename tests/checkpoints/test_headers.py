"""Headers say what files hold, and what is wrong with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.headers import read_header
from tests.checkpoints.small import weights


def test_a_header_says_names_shapes_dtypes_and_places(file: Path) -> None:
    header = read_header(file)
    assert header.metadata == {"format": "pt"}
    info = header.tensors["first.weight"]
    assert (info.dtype, info.shape) == ("F32", (3, 4))
    raw = file.read_bytes()[info.start : info.end]
    assert torch.frombuffer(bytearray(raw), dtype=torch.float32).equal(
        weights()["first.weight"].flatten()
    )


def test_headers_are_read_without_torch(file: Path) -> None:
    code = (
        "import sys; from graphdiff.checkpoints.weight_files import find_weights\n"
        "from graphdiff.checkpoints.weights import MappedTensors\n"
        "MappedTensors(find_weights(sys.argv[1])); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file.parent)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_truncated_file_is_an_error_with_both_sizes(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-7])
    with pytest.raises(
        CheckpointError, match=rf"expected {len(data)} bytes, found {len(data) - 7}"
    ):
        read_header(file)
    file.write_bytes(data + b"more")
    with pytest.raises(CheckpointError, match="damaged, there is more than its header tells"):
        read_header(file)


@pytest.mark.parametrize("kept", [0, 5, 8, 40])
def test_a_file_cut_in_its_header_is_an_error_that_names_it(kept: int, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"truncated|not a safetensors file") as info:
        read_header(file)
    assert info.value.file == file
    assert str(file) in str(info.value)


def test_what_is_no_safetensors_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        read_header(path)
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_header(path)
    path.write_bytes((5).to_bytes(8, "little") + b"{oops")
    with pytest.raises(CheckpointError, match="damaged: its header is no list of tensors"):
        read_header(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_header(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, r"shape \[3\].*takes 12 bytes"),
        ({"dtype": "Q4", "shape": [8], "data_offsets": [0, 8]}, "dtype Q4, which is not supported"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 400]}, "truncated"),
        ({"dtype": "F32", "shape": [2]}, "damaged"),
    ],
)
def test_a_header_that_lies_is_an_error(entry: dict[str, Any], error: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    text = json.dumps({"x": entry}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(CheckpointError, match=error):
        read_header(path)

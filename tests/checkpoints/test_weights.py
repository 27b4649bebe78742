from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.weights import (
    MappedTensors,
    find_weights,
    load_into,
    match_names,
    parse_size,
    read_header,
    save_weights,
)

STEM = "diffusion_pytorch_model"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2)


def weights(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: torch.randn_like(tensor) for name, tensor in Net().state_dict().items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / f"{STEM}.safetensors"
    save_file(weights(), path, metadata={"format": "pt"})
    return path


def meta() -> Net:
    with torch.device("meta"):
        return Net()


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
        "import sys; from graphdiff.checkpoints.weights import *\n"
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


def test_two_files_must_not_hold_one_tensor(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"first.bias": torch.zeros(3)}, other)
    with pytest.raises(CheckpointError, match=r"'first.bias' is also in"):
        MappedTensors([file, other])


def test_tensors_are_mapped_not_copied(file: Path) -> None:
    tensors = MappedTensors([file])
    assert set(tensors) == set(weights())
    assert tensors.file_of("first.bias") == file
    first, again = tensors["first.weight"], tensors["first.weight"]
    assert first.data_ptr() == again.data_ptr()
    one, two = meta(), meta()
    load_into(one, tensors, dtype=torch.float32)
    load_into(two, tensors)
    assert one.first.weight.data_ptr() == two.first.weight.data_ptr() == first.data_ptr()


def test_weights_are_cast_on_their_way(tmp_path: Path) -> None:
    tensors = weights() | {"count": torch.arange(3)}
    net = meta()
    net.register_buffer("count", torch.zeros(3, dtype=torch.int64, device="meta"))
    load_into(net, tensors, dtype=torch.float16)
    assert net.first.weight.dtype == torch.float16
    assert net.count.dtype == torch.int64
    assert net.first.weight.requires_grad


def bytes_read() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def address_space() -> str:
    return Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux's counters")
def test_a_cast_reads_the_bytes_of_the_file_once_and_leaves_nothing_mapped(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    module = nn.Linear(1000, 1000)
    save_file({name: tensor.half() for name, tensor in module.state_dict().items()}, path)
    before = bytes_read()
    load_into(module, [path], dtype=torch.float32)
    read = bytes_read() - before
    assert path.stat().st_size <= read < 1.05 * path.stat().st_size
    assert str(path) not in address_space()
    load_into(module, [path], dtype=torch.float16)
    assert str(path) in address_space()
    load_into(module, [path], dtype=torch.float16, unmapped={"weight", "bias"})
    assert str(path) not in address_space()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64"])
def test_a_tensor_that_is_read_is_the_one_that_is_mapped(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    tensors = {"a": torch.arange(6).reshape(2, 3), "b": torch.zeros(0, 2), "c": torch.tensor(3)}
    save_file({name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}, path)
    mapped = MappedTensors([path])
    for name in tensors:
        assert torch.equal(mapped.read(name), mapped[name])
        assert mapped.read(name).dtype == mapped[name].dtype


def test_missing_and_unexpected_tensors_are_counted_and_named(file: Path) -> None:
    tensors = weights()
    tensors["third.weight"] = tensors.pop("second.weight")
    save_file(tensors, file)
    net = meta()
    with pytest.raises(CheckpointError) as info:
        load_into(net, [file])
    assert "1 missing (second.weight), 1 unexpected (third.weight)" in str(info.value)
    assert info.value.file == file
    assert all(tensor.is_meta for tensor in net.state_dict().values())


def test_a_tensor_of_another_shape_is_named_with_both_shapes(file: Path) -> None:
    save_file(weights() | {"second.weight": torch.zeros(2, 5)}, file)
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"'second.weight' has the shape \[2, 5\], expected \[2, 3\]"
    ):
        load_into(net, [file])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_names_of_older_files_are_recognised() -> None:
    net = nn.Module()
    net.attention = nn.ModuleDict(
        {"to_q": nn.Linear(2, 2), "to_out": nn.ModuleList([nn.Linear(2, 2)])}
    )
    net.text_model = nn.ModuleDict({"encoder": nn.Linear(2, 2)})
    state = net.state_dict()
    old = {
        name.replace("to_q", "query")
        .replace("to_out.0", "proj_attn")
        .removeprefix("text_model."): t
        for name, t in state.items()
    } | {"text_model.embeddings.position_ids": torch.arange(3)}
    assert set(old) & set(state) == set()
    names = match_names(net, old)
    assert set(names) == set(state)
    assert names["attention.to_out.0.bias"] == "attention.proj_attn.bias"


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5_000_000_000), ("1.5 KiB", 1536), ("200 B", 200), (7, 7)]
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_a_size_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="'many' is no size"):
        parse_size("many")

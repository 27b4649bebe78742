"""Weights are mapped, matched and cast on their way into modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.weights import MappedTensors, load_into, match_names
from tests.checkpoints.small import Net, meta, weights


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

"""What `auto` means, without torch."""

from __future__ import annotations

import pytest

from graphdiff.checkpoints import devices
from graphdiff.checkpoints.devices import resolve_device, resolve_dtype
from graphdiff.checkpoints.errors import CheckpointError


def test_auto_agrees_with_torch_on_this_machine() -> None:
    import torch

    device = resolve_device("auto")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert device == ("mps" if torch.backends.mps.is_available() else expected)
    if device == "cuda":
        assert (resolve_dtype("auto", device) == "bfloat16") == (
            torch.cuda.get_device_capability(0)[0] >= 8
        )


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_none(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_torch_is_built_for", lambda _: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(devices, "_has_mps", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_a_gpu_that_torch_was_not_built_for_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_torch_is_built_for", lambda _: False)
    assert not devices._has_cuda()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("dtype", "device", "resolved"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "mps", "float16"),
        ("float16", "cuda", "float16"),
        ("bfloat16", "cpu", "bfloat16"),
        ("torch.bfloat16", "cuda", "bfloat16"),
    ],
)
def test_dtypes_are_resolved_by_device(dtype: str, device: str, resolved: str) -> None:
    assert resolve_dtype(dtype, resolve_device(device)) == resolved


def test_an_index_names_no_other_kind_of_device() -> None:
    assert resolve_device("cuda:1") == "cuda"


def test_float16_on_a_cpu_is_refused_with_what_to_use() -> None:
    with pytest.raises(CheckpointError, match="bfloat16 to halve the memory"):
        resolve_dtype("float16", "cpu")


def test_unknown_words_are_refused_with_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match="use auto, cpu, cuda or mps"):
        resolve_device("gpu")
    with pytest.raises(CheckpointError, match="use auto, float32, bfloat16 or float16"):
        resolve_dtype("half", "cpu")

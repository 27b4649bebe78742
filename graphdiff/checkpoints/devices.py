"""Which kind of device and which precision `auto` means, found without importing torch."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast, get_args

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import DeviceKind, Dtype

_AMPERE = 8  # the first NVIDIA generation that computes in bfloat16
_MAJOR = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR


def resolve_device(device: str = "auto") -> DeviceKind:
    """The kind of device that `device` means here.

    Args:
        device: `auto` for the best one of this machine, or `cpu`, `cuda` or `mps`; an index after
            a colon is dropped, since which of several equal devices computes changes no result.

    Raises:
        CheckpointError: there is no such kind of device.
    """
    kind = device.partition(":")[0]
    if kind == "auto":
        if _has_cuda():
            return "cuda"
        return "mps" if _has_mps() else "cpu"
    if kind not in get_args(DeviceKind):
        raise CheckpointError(
            f"there is no device {device!r}; use auto, cpu, cuda or mps",
            expected=("auto", *get_args(DeviceKind)),
            found=device,
        )
    return cast(DeviceKind, kind)


def resolve_dtype(dtype: str, device: DeviceKind) -> Dtype:
    """The precision that `dtype` means on `device`.

    Args:
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        device: Where it is computed.

    Raises:
        CheckpointError: there is no such precision, or it is float16 on a CPU.
    """
    name = dtype.removeprefix("torch.")
    if name == "auto":
        match device:
            case "cpu":
                return "float32"
            case "mps":
                return "float16"
            case "cuda":
                return "bfloat16" if _computes_in_bfloat16() else "float16"
    if name not in get_args(Dtype):
        raise CheckpointError(
            f"there is no dtype {dtype!r}; use auto, float32, bfloat16 or float16",
            expected=("auto", *get_args(Dtype)),
            found=dtype,
        )
    if name == "float16" and device == "cpu":
        raise CheckpointError(
            "float16 on a CPU is hundreds of times slower than float32: use dtype auto or float32 "
            "there, bfloat16 to halve the memory, or float16 with device cuda or mps",
            expected="float32 or bfloat16",
            found="float16",
        )
    return cast(Dtype, name)


def _has_cuda() -> bool:
    """Whether there is both a GPU to see and a torch that was built for it."""
    hidden = ("", "-1")
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in hidden:
        return False
    if any(Path(sign).exists() for sign in ("/proc/driver/nvidia/version", "/dev/dxg")) or (
        sys.platform == "win32" and Path("C:/Windows/System32/nvcuda.dll").exists()
    ):
        return _torch_is_built_for("cuda")
    if Path("/dev/kfd").exists() and os.environ.get("HIP_VISIBLE_DEVICES", "0") not in hidden:
        return _torch_is_built_for("hip")
    return False


def _has_mps() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _torch_is_built_for(backend: Literal["cuda", "hip"]) -> bool:
    spec = find_spec("torch")  # finds the package, does not import it
    if spec is None or spec.origin is None:
        return False
    return any((Path(spec.origin).parent / "lib").glob(f"*torch_{backend}.*"))


def _computes_in_bfloat16() -> bool:
    """Whether the first GPU is of a generation that has bfloat16; yes where that cannot be told."""
    import ctypes

    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return True
    major = ctypes.c_int()
    device = ctypes.c_int()
    if library.cuInit(0) or library.cuDeviceGet(ctypes.byref(device), 0):
        return True
    if library.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device):
        return True
    return major.value >= _AMPERE

"""Fused kernels compute what torch's own do, and compile for a GPU as they should."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Half of the last place of each dtype, or all of it for bfloat16, which the interpreter cuts off.
ERRORS = {torch.float32: 2e-6, torch.float16: 2**-11, torch.bfloat16: 2**-7}
DTYPES = [torch.float32, torch.bfloat16]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(DEVICE, dtype)


def vectors(count: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    return [random(width, seed=7 + i, dtype=dtype) for i in range(count)]


def assert_near(ours: Tensor, exact: Tensor) -> None:
    """Rounded once from what is exact, float32's own errors on the way aside."""
    assert ours.shape == exact.shape
    assert exact.std() > 1e-3, "a test on zeros proves nothing"
    torch.testing.assert_close(ours.double(), exact, rtol=ERRORS[ours.dtype], atol=2e-5)


def channel(vector: Tensor) -> Tensor:
    """A value for each channel, (C) or (N, C), as what can be added to a map."""
    return vector.double()[..., None, None]


def exact_group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    silu: bool = False,
    conv_bias: Tensor | None = None,
    time: Tensor | None = None,
    scales: bool = False,
) -> Tensor:
    h = x.double()
    if conv_bias is not None:
        h = h + channel(conv_bias)
    if time is not None and not scales:
        h = h + channel(time)
    h = F.group_norm(h, groups, weight.double(), bias.double(), eps)
    if time is not None and scales:
        scale, shift = channel(time).chunk(2, dim=1)
        h = h * (1 + scale) + shift
    return F.silu(h) if silu else h


# By how a map is normalised: held whole, in tiles, and in so many that they are merged first.
HELD = [(1, 320, 32, 5, 7), (3, 640, 32, 3, 3), (2, 1280, 32, 5, 5), (1, 1920, 32, 7, 9)]
TILED = [(1, 320, 32, 33, 37), (1, 960, 32, 23, 25), (1, 2560, 32, 13, 11), (2, 24, 2, 61, 59)]
MERGED = [(1, 64, 8, 113, 101)]


def options(kind: str, samples: int, channels: int, dtype: torch.dtype) -> dict[str, Any]:
    added = {
        "silu": True,
        "conv_bias": random(channels, seed=3, dtype=dtype),
        "time": random(samples, channels, seed=4, dtype=dtype),
    }
    scaling = {"scales": True, "time": random(samples, 2 * channels, seed=4, dtype=dtype)}
    return {"alone": {}, "added": added, "scaled": added | scaling}[kind]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("alone", torch.float32), ("added", torch.bfloat16), ("scaled", torch.float32)],
)
@pytest.mark.parametrize("shape", HELD + TILED + MERGED)
def test_a_map_is_normalised_with_what_comes_before_and_after(
    kernels: ModuleType, shape: tuple[int, ...], kind: str, dtype: torch.dtype
) -> None:
    samples, channels, groups, height, width = shape
    x = random(samples, channels, height, width, dtype=dtype) * 2 + 1
    weight, bias = vectors(2, channels, dtype)
    more = options(kind, samples, channels, dtype)
    found = kernels.group_norm(x, groups, weight, bias, 1e-5, **more)
    assert_near(found, exact_group_norm(x, groups, weight, bias, 1e-5, **more))


@pytest.mark.parametrize("shape", [HELD[0], TILED[3]])
def test_float16_is_normalised_too(kernels: ModuleType, shape: tuple[int, ...]) -> None:
    samples, channels, groups, height, width = shape
    x = random(samples, channels, height, width, dtype=torch.float16)
    weight, bias = vectors(2, channels, torch.float16)
    found = kernels.group_norm(x, groups, weight, bias, 1e-5)
    assert_near(found, exact_group_norm(x, groups, weight, bias, 1e-5))


@pytest.mark.parametrize("shape", [HELD[0], TILED[3], MERGED[0]])
def test_a_mean_far_above_the_deviation_costs_no_more_than_its_own_rounding(
    kernels: ModuleType, shape: tuple[int, ...]
) -> None:
    samples, channels, groups, height, width = shape
    x = random(samples, channels, height, width) + 1e4
    ones, zeros = torch.ones(channels, device=DEVICE), torch.zeros(channels, device=DEVICE)
    found = kernels.group_norm(x, groups, ones, zeros, 1e-5)
    exact = exact_group_norm(x, groups, ones, zeros, 1e-5)
    # One place of 1e4 in float32 is 1e-3. Squares less the squared mean would be off by 8.
    assert float((found - exact).abs().max()) < 3e-3


@pytest.mark.parametrize("shape", [TILED[3], MERGED[0]])
def test_a_first_tile_unlike_all_others_spoils_no_sum(
    kernels: ModuleType, shape: tuple[int, ...]
) -> None:
    samples, channels, groups, height, width = shape
    x = random(samples, channels, height, width)
    x[:, :, :2] += 1e4
    weight, bias = vectors(2, channels, torch.float32)
    found = kernels.group_norm(x, groups, weight, bias, 1e-5)
    exact = exact_group_norm(x, groups, weight, bias, 1e-5)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [HELD[0], TILED[3]])
def test_how_a_map_lies_in_memory_does_not_matter(
    kernels: ModuleType, shape: tuple[int, ...]
) -> None:
    samples, channels, groups, height, width = shape
    x = random(samples, channels, height, width)
    weight, bias = vectors(2, channels, torch.float32)
    last = x.contiguous(memory_format=torch.channels_last)
    wider = torch.cat([last, last], dim=1).contiguous(memory_format=torch.channels_last)
    found = [
        kernels.group_norm(each, groups, weight, bias, 1e-5)
        for each in (x, last, wider[:, :channels])
    ]
    for each in found:
        assert each.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(each, found[0])


@pytest.mark.parametrize("shape", [HELD[0], TILED[3]])
def test_a_map_is_only_written_over_where_that_is_asked_for(
    kernels: ModuleType, shape: tuple[int, ...]
) -> None:
    samples, channels, groups, height, width = shape
    x = random(samples, channels, height, width).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    weight, bias = vectors(2, channels, torch.float32)
    found = kernels.group_norm(x, groups, weight, bias, 1e-5)
    assert torch.equal(x, before)
    assert kernels.group_norm(x, groups, weight, bias, 1e-5, in_place=True) is x
    assert torch.equal(x, found)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("shape", [HELD[0], TILED[3]])
def test_silu_of_what_is_far_below_zero_is_zero(
    kernels: ModuleType, shape: tuple[int, ...]
) -> None:
    samples, channels, groups, height, width = shape
    x = random(samples, channels, height, width)
    weight = torch.full((channels,), 1e4, device=DEVICE)
    found = kernels.group_norm(x, groups, weight, torch.zeros_like(weight), 1e-5, silu=True)
    assert torch.isfinite(found).all()
    assert (found[x < -1] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1.5])
@pytest.mark.parametrize("shape", [(2, 320, 9, 7), (1, 24, 5, 5), (3, 40, 1, 1)])
def test_a_skip_is_added_with_a_bias_and_written_over_what_it_is_added_to(
    kernels: ModuleType, shape: tuple[int, ...], scale: float, dtype: torch.dtype
) -> None:
    h = random(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    x, bias = random(*shape, seed=1, dtype=dtype), random(shape[1], seed=2, dtype=dtype)
    exact = (h.double() + x.double() + channel(bias)) / scale
    without = (h.double() + x.double()) / scale
    assert_near(kernels.add(h.clone(), x, scale=scale), without)
    assert kernels.add(h, x, bias, scale=scale) is h
    assert_near(h, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [24, 320, 640, 1280])
def test_a_sum_and_its_normalisation_come_together(
    kernels: ModuleType, width: int, dtype: torch.dtype
) -> None:
    a, x = random(2, 35, width, dtype=dtype), random(2, 35, width, seed=1, dtype=dtype) + 3
    weight, bias = vectors(2, width, dtype)
    exact = a.double() + x.double()
    kept = x.clone()
    total, normed = kernels.add_layer_norm(a, x, weight, bias, 1e-5)
    assert total is a
    assert torch.equal(x, kept)
    assert_near(total, exact)
    assert_near(normed, F.layer_norm(exact, (width,), weight.double(), bias.double(), 1e-5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [24, 1280])
def test_one_half_of_a_row_gates_the_other(
    kernels: ModuleType, width: int, dtype: torch.dtype
) -> None:
    x = random(2, 19, 2 * width, dtype=dtype) * 3
    x[0, 0] = 1e4  # far outside of where the gate is neither open nor shut
    x[0, 1] = -1e4
    value, gate = x.double().chunk(2, dim=-1)
    assert_near(kernels.geglu(x), value * F.gelu(gate))
    assert_near(kernels.geglu(x[:, 3:11]), (value * F.gelu(gate))[:, 3:11])


def test_gradients_are_refused_rather_than_wrong(kernels: ModuleType) -> None:
    x = random(2, 8).requires_grad_()
    with pytest.raises(RuntimeError, match=r"torch\.no_grad\(\)"):
        kernels.geglu(x)
    with torch.no_grad():
        assert kernels.geglu(x).shape == (2, 4)


class Launch(NamedTuple):
    """A kernel, and what it would have been started with."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, Any]
    warps: int


def of_real_models(dtype: torch.dtype) -> None:
    """Kernels at the sizes of Stable Diffusion 1.5 and XL and their decoder, batch 8."""
    from graphdiff.models import kernels

    def vector(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    def norm(samples: int, channels: int, side: int, **more: Any) -> None:
        x = vector(samples, channels, side, side)
        weight = vector(channels)
        kernels.group_norm(x, 32, weight, weight, 1e-5, **more)

    for channels, side in ((320, 128), (640, 64), (960, 64), (1280, 16), (2560, 32), (1280, 8)):
        norm(2, channels, side, silu=True)
    norm(16, 320, 64, silu=True, conv_bias=vector(320), time=vector(16, 320))
    norm(2, 320, 16, silu=True, conv_bias=vector(320), time=vector(2, 640), scales=True)
    norm(2, 2560, 32, silu=True, conv_bias=vector(2560), time=vector(2, 5120), scales=True)
    norm(8, 256, 1024, silu=True, conv_bias=vector(256))
    norm(1, 128, 1024, silu=True)
    norm(1, 32, 64)  # groups of one channel
    kernels.add(vector(8, 128, 1024, 1024), vector(8, 128, 1024, 1024), vector(128))
    kernels.add(vector(2, 320, 64, 64), vector(2, 320, 64, 64), scale=2.0)
    for width in (320, 640, 1280):
        tokens, weight = vector(2, 4096, width), vector(width)
        kernels.add_layer_norm(tokens, tokens, weight, weight, 1e-5)
    kernels.geglu(vector(2, 4096, 2560))
    # Numbers that are 1 are compiled in, and are then not what others are.
    norm(1, 32, 1)
    kernels.group_norm(vector(1, 1, 256, 256), 1, vector(1), vector(1), 1e-5)
    kernels.add(vector(1, 1, 8, 8), vector(1, 1, 8, 8), vector(1))
    kernels.add_layer_norm(vector(1, 1, 1), vector(1, 1, 1), vector(1), vector(1), 1e-5)
    kernels.geglu(vector(2))


@cache
def launches(dtype: torch.dtype) -> list[Launch]:
    """What they would launch, of which nothing runs."""
    from triton.runtime.jit import JITFunction

    from graphdiff.models import kernels

    found: list[Launch] = []

    class Recorder:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*args: Any, num_warps: int, **named: Any) -> None:
                names = dict(zip(self.kernel.arg_names, args, strict=False)) | named
                found.append(Launch(self.kernel, grid, names, num_warps))

            return launch

    with pytest.MonkeyPatch.context() as patch:
        for name, kernel in list(vars(kernels).items()):
            if isinstance(kernel, JITFunction):
                patch.setattr(kernels, name, Recorder(kernel))
        of_real_models(dtype)
    return found


class StandIn:
    """A driver of a GPU of compute capability 9.0, as far as compiling asks for one."""

    def get_current_device(self) -> int:
        return -1  # of which nothing else has anything compiled

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


@cache
def compiled_launches(dtype: torch.dtype) -> list[tuple[Launch, Any]]:
    """One launch of each kernel in each of its forms, the last one, and what is compiled for it."""
    forms: dict[tuple[Any, ...], Launch] = {}
    for launch in launches(dtype):
        form = (
            (value.dtype if isinstance(value, Tensor) else name.isupper() and value)
            for name, value in launch.arguments.items()
        )
        forms[launch.kernel.__name__, launch.warps, *form] = launch
    from triton.runtime import driver

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", folder)
        patch.setattr(driver, "_active", StandIn())
        return [
            (each, each.kernel.warmup(grid=each.grid, num_warps=each.warps, **each.arguments))
            for each in forms.values()
        ]


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, pytest.param(torch.float32, marks=pytest.mark.slow)]
)
def test_kernels_compile_for_a_gpu_and_keep_what_they_hold_in_registers(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    from triton import knobs

    assert {launch.kernel.__name__ for launch in launches(dtype)} == {
        "_add",
        "_add_layer_norm",
        "_geglu",
        "_group_moments",
        "_group_norm_held",
        "_group_norm_tiles",
        "_merge_moments",
    }
    for launch, made in compiled_launches(dtype):
        binary = tmp_path / "kernel.cubin"
        binary.write_bytes(made.asm["cubin"])
        usage = subprocess.run(
            [knobs.nvidia.cuobjdump.path, "-res-usage", binary],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", usage)
        assert found is not None, usage
        registers, stack, local = map(int, found.groups())
        assert (stack, local) == (0, 0), f"{launch} spills"
        assert registers * launch.warps * 32 <= 65536, f"{launch} could not start"
        if "WIDTH" not in launch.arguments and "PARTS" not in launch.arguments:  # whole tiles
            if any(value == 1 for value in launch.arguments.values() if type(value) is int):
                continue
            wide = re.findall(r"(?:ld|st)\.global\.v4\.b32", made.asm["ptx"])
            assert len(wide) >= 2, f"{launch} does not move 16 bytes at a time"


def test_where_a_tile_of_a_large_map_starts_is_counted_in_64_bits() -> None:
    found = compiled_launches(torch.bfloat16)
    maps = [launch.arguments["x"] for launch, _ in found if "x" in launch.arguments]
    assert max(x.numel() for x in maps) >= 2**31
    for launch, made in found:
        text = made.asm["ttir"]
        for name in launch.arguments.keys() & {"x", "y", "h", "a", "normed"}:
            starts = re.findall(rf"tt\.addptr %{name}, %\S+ : !tt\.ptr<bf16>, (i\d+)", text)
            assert starts, f"{launch.kernel.__name__} does not start anywhere in {name}"
            assert set(starts) == {"i64"}, launch.kernel.__name__


def test_no_grid_is_larger_than_a_gpu_allows() -> None:
    for launch in launches(torch.bfloat16):
        first, *others = launch.grid
        assert 0 < first < 2**31
        assert all(0 < other < 2**16 for other in others)


def test_tiles_of_real_widths_leave_no_column_idle() -> None:
    from graphdiff.models import kernels

    for width in (128, 256, 320, 512, 640, 960, 1280, 1920, 2560, 5120):
        assert width % kernels._columns(width) == 0
        assert kernels._columns(width) * 2 >= 128, "less than a line of the cache"

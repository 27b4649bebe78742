"""What a profiler saw is sorted by kinds of work, and its time counted once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.gpu.device import Device
from benchmarks.gpu.trace import Seen, kind_of, per_step, seen, synchronising, watched


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64>>", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7", "attention"),
        (
            "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64",
            "convolution",
        ),
        ("void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16>", "copies"),
        ("Memcpy DtoH (Device -> Pinned)", "copies"),
        ("void at::native::(anonymous namespace)::CatArrayBatchedCopy<c10::BFloat16>", "copies"),
        (
            "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda>",
            "copies",
        ),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NTN", "matrix products"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matrix products"),
        ("void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm>", "matrix products"),
        (
            "void at::native::(anonymous namespace)::RowwiseMomentsCUDAKernel<float>",
            "normalisation",
        ),
        ("void vectorized_layer_norm_kernel<c10::BFloat16, float>", "normalisation"),
        ("triton_red_fused_native_group_norm_3", "normalisation"),
        ("triton_poi_fused__to_copy_convolution_silu_7", "elementwise"),
        ("void at::native::vectorized_elementwise_kernel<4, silu_kernel>", "elementwise"),
        ("something unheard of", "other"),
    ],
)
def test_a_kernel_is_known_by_its_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def event(name: str, start: float, taken: float, cat: str = "kernel", tid: int = 7) -> Any:
    return {"ph": "X", "cat": cat, "name": name, "ts": start, "dur": taken, "pid": 0, "tid": tid}


def test_time_in_which_two_streams_work_is_busy_once() -> None:
    found = seen([event("gemm", 0, 10), event("Memcpy HtoD", 5, 10, "gpu_memcpy", tid=8)])
    assert found.busy == pytest.approx(15e-6)
    assert found.kinds == {
        "matrix products": pytest.approx(10e-6),
        "copies": pytest.approx(10e-6),
    }
    assert found.kernels == 2


def test_an_operation_is_not_charged_with_those_inside_it() -> None:
    found = seen(
        [
            event("aten::linear", 0, 10, "cpu_op"),
            event("aten::addmm", 1, 8, "cpu_op"),
            event("aten::copy_", 2, 3, "cpu_op"),
            event("aten::mul", 20, 1, "cpu_op"),
        ]
    )
    assert found.names["aten::linear"] == pytest.approx(2e-6)
    assert found.names["aten::addmm"] == pytest.approx(5e-6)
    assert found.busy == pytest.approx(11e-6)
    assert sum(found.kinds.values()) == pytest.approx(found.busy)


def test_waits_are_counted_by_the_call_that_waits() -> None:
    calls = ["cudaStreamSynchronize", "cudaLaunchKernel", "cudaEventSynchronize"]
    found = seen([event(name, i, 1, "cuda_runtime") for i, name in enumerate(calls)])
    assert found.waits == {"cudaStreamSynchronize": 1, "cudaEventSynchronize": 1}
    assert found.kernels == 0


def test_a_step_costs_what_more_of_them_add() -> None:
    few = Seen({"copies": 1.0, "other": 2.0}, 3.0, 10, {"wait": 1}, {"a": 1.0})
    many = Seen({"copies": 5.0, "other": 2.0}, 7.0, 50, {"wait": 9}, {"a": 5.0, "b": 4.0})
    found = per_step(few, many, 4)
    assert found == Seen({"copies": 1.0, "other": 0.0}, 1.0, 10, {"wait": 2}, {"a": 1.0, "b": 1.0})


def test_what_runs_on_this_machine_is_seen() -> None:
    a = torch.randn(64, 64)
    found = watched(lambda: torch.mm(a, a).relu(), Device("cpu"))
    assert found.kinds["matrix products"] > 0
    assert 0 < found.busy < 10


def test_a_wait_that_torch_warns_of_is_found_with_its_place() -> None:
    import warnings

    def wait() -> torch.Tensor:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return torch.zeros(1)

    (place,) = synchronising(wait, Device("cpu"))
    assert "test_trace.py:" in place

"""What a device did while it was watched: the time of each kind of work, by names of kernels."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.gpu.device import Device

KINDS: Final[Mapping[str, str]] = {
    # The first whose pattern is found in a name has it: attention is made of products, too.
    "attention": r"flash|fmha|sdpa|attention|fprop_mha|softmax",
    "copies": r"memcpy|memset|copy|cat|nchw|nhwc_?to|to_?nhwc|transpose|permute|convert_tensor"
    r"|contiguous|clone|aten::to\b|fill",
    "normalisation": r"norm|moments|welford",
    "convolution": r"conv|fprop|implicit_gemm|dgrad|wgrad|winograd|xmma_.*nhwc",
    "matrix products": r"gemm|nvjet|cutlass|cublas|splitk|gemv|matmul|addmm|bmm|::mm\b|linear",
    "elementwise": r"elementwise|vectorized|triton|geglu|gelu|silu|add|mul|div|sub|upsample|reduce"
    r"|exp|sin|cos|pow|clamp|neg|sqrt|bias|skip|gate|activation",
}
OTHERS: Final = "other"
_PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in KINDS.items()}
# cuDNN names convolutions on channels-last maps so, and `nhwc` alone does not make a copy.
_PRODUCTS = re.compile(r"xmma|implicit_gemm|fprop|cutlass|nvjet|gemm", re.IGNORECASE)
_WAITS = re.compile(r"(Device|Stream|Event|Ctx)Synchronize|^cudaMemcpy$")


@dataclass(frozen=True)
class Seen:
    """What was seen.

    Args:
        kinds: Seconds of each kind of work, and of what has none.
        busy: Seconds in which the device did anything at all.
        kernels: How many kernels, or on a CPU operations, ran.
        waits: How often the host waited for the device, by the call that did.
        names: Seconds by name, for what is to be looked at closely.
    """

    kinds: Mapping[str, float]
    busy: float
    kernels: int
    waits: Mapping[str, int]
    names: Mapping[str, float]


def kind_of(name: str) -> str:
    """The kind of work of a kernel, by its name."""
    if name.startswith("triton_"):  # the compiler lists in it all that it fused
        if name.startswith("triton_tem"):
            return "matrix products"
        return "normalisation" if "norm" in name else "elementwise"
    for kind, pattern in _PATTERNS.items():
        if pattern.search(name) and not (kind == "copies" and _PRODUCTS.search(name)):
            return kind
    return OTHERS


def watched(do: Callable[[], object], device: Device) -> Seen:
    """Do something, and see what a device does.

    Args:
        do: What to do; it was done before.
        device: The device.
    """
    from torch.profiler import ProfilerActivity, profile

    watches = ProfilerActivity.CUDA if device.is_gpu else ProfilerActivity.CPU
    device.synchronise()
    with profile(activities=[watches]) as profiler:
        do()
        device.synchronise()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        events: list[dict[str, Any]] = json.loads(file.read_bytes())["traceEvents"]
    return seen(events)


def seen(events: Iterable[Mapping[str, Any]]) -> Seen:
    """Add up the events of a trace, as torch's profiler writes one.

    Args:
        events: What the device did, or on a CPU the operations, and the calls of CUDA's runtime.
    """
    events = [event for event in events if event.get("ph") == "X"]
    work = [event for event in events if event.get("cat") in _WORK]
    names: defaultdict[str, float] = defaultdict(float)
    kinds: defaultdict[str, float] = defaultdict(float)
    for name, microseconds in _own_times(work):
        names[name] += microseconds / 1e6
        kinds[kind_of(name)] += microseconds / 1e6
    runtime = [event["name"] for event in events if event.get("cat") in _RUNTIME]
    return Seen(
        dict(kinds),
        _covered([(event["ts"], event["ts"] + event["dur"]) for event in work]) / 1e6,
        len(work),
        Counter(name for name in runtime if _WAITS.search(name)),
        dict(names),
    )


_WORK = ("kernel", "gpu_memcpy", "gpu_memset", "cpu_op")
_RUNTIME = ("cuda_runtime", "cuda_driver")


def _own_times(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """What each event took without those inside it; kernels of a stream have none inside."""
    found: list[tuple[str, float]] = []
    open_ones: dict[object, list[tuple[float, int]]] = {}  # by thread or stream: end, and which
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        start, taken = event["ts"], event["dur"]
        outer = open_ones.setdefault((event.get("pid"), event.get("tid")), [])
        while outer and outer[-1][0] <= start:
            outer.pop()
        if outer:
            name, own = found[outer[-1][1]]
            found[outer[-1][1]] = name, own - taken
        outer.append((start + taken, len(found)))
        found.append((event["name"], taken))
    return found


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long it is that at least one of the spans lasts."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def per_step(few: Seen, many: Seen, steps: int) -> Seen:
    """What each further step costs, from a run of few steps and one of `steps` more."""
    kinds = {*few.kinds, *many.kinds}
    return Seen(
        {k: (many.kinds.get(k, 0.0) - few.kinds.get(k, 0.0)) / steps for k in kinds},
        (many.busy - few.busy) / steps,
        round((many.kernels - few.kernels) / steps),
        {n: round((m - few.waits.get(n, 0)) / steps) for n, m in many.waits.items()},
        {n: (t - few.names.get(n, 0.0)) / steps for n, t in many.names.items()},
    )


def synchronising(do: Callable[[], torch.Tensor], device: Device) -> list[str]:
    """Where the host waited for the device while something was done, as far as torch warns."""
    with device.waits() as places:
        do()
    return places

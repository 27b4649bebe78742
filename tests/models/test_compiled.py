"""A compiled model computes what the plain one does, and mends its cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.models import AutoencoderKL, UNet2DConditionModel
from graphdiff.models.compiled import compiled
from graphdiff.models.graphed import graphed
from tests.models.reference import COMMON, SDXL, randomise, unet_inputs
from tests.models.test_graphed import Recorder

TINY = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": (32,),
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "layers_per_block": 1,
}
PROGRAM = f"""
import sys, torch
from pathlib import Path
from graphdiff.models import AutoencoderKL
from graphdiff.models.compiled import compiled
torch.manual_seed(0)
plain = AutoencoderKL.from_config({TINY!r}).eval().requires_grad_(False)
fast = compiled(plain, folder=Path(sys.argv[1]))
latents = torch.randn(1, 4, 8, 8)
with torch.no_grad():
    torch.testing.assert_close(fast.decode(latents).sample, plain.decode(latents).sample,
                               atol=1e-5, rtol=1e-4)
"""


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_nothing_is_compiled_before_the_first_call_and_the_plain_model_stays_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain = AutoencoderKL.from_config(TINY)
    fast = compiled(plain, folder=tmp_path)
    assert fast.decoder is not plain.decoder
    assert plain.decoder._compiled_call_impl is None
    assert fast.decoder._compiled_call_impl is not None
    assert fast.decoder.conv_in is plain.decoder.conv_in
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".running-")]
    assert torch.is_tensor(plain.decode(torch.randn(1, 4, 8, 8)).sample)


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_a_machine_without_a_compiler_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import cpp_builder, exc

    def none() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(CheckpointError, match=r"needs a C\+\+ compiler.*without compile"):
        compiled(AutoencoderKL.from_config(TINY), folder=tmp_path)


class Counts:
    """A backend that runs what was traced as it is, and counts how often it was given something."""

    def __init__(self) -> None:
        self.traces = 0

    def __call__(self, traced: torch.fx.GraphModule, _: list[torch.Tensor]) -> Any:
        self.traces += 1
        return traced.forward


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    made = Counts()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("graphdiff.models.compiled._BACKEND", made)
    torch.compiler.reset()
    yield made
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_the_log_is_told_once_what_is_compiled(
    counts: Counts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False)
    fast = compiled(plain, by_region=True, folder=tmp_path)
    caplog.set_level("INFO", "graphdiff")
    assert not caplog.messages
    with torch.no_grad():
        for _ in range(2):
            fast(**unet_inputs(COMMON))
    said = [record.message for record in caplog.records if record.name.startswith("graphdiff")]
    assert said == ["compiling UNet2DConditionModel, which takes a minute or two the first time"]


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_by_regions_blocks_of_equal_shapes_are_compiled_once(
    counts: Counts, tmp_path: Path
) -> None:
    config = COMMON | SDXL | {"transformer_layers_per_block": (1, 2, 5)}
    plain = randomise(UNet2DConditionModel.from_config(config)).requires_grad_(False)
    fast = compiled(plain, by_region=True, folder=tmp_path)
    blocks = [m for m in plain.modules() if type(m).__name__ == "BasicTransformerBlock"]
    assert len(blocks) == 26
    regions = [m for m in fast.modules() if "forward" in m.__dict__ and m is not fast]
    kinds: set[Hashable] = set()

    def note(module: Any, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        scale = repr(getattr(module, "output_scale", None))  # 1 and 1.0 are two to the compiler
        kinds.add((type(module), given[0].shape, given[0].stride(), result.shape, scale))

    for region in regions:
        region.register_forward_hook(note)
    inputs = unet_inputs(config)
    with torch.no_grad():
        wanted = plain(**inputs).sample
        for _ in range(2):
            torch.testing.assert_close(fast(**inputs).sample, wanted)
        first = counts.traces
        assert first == len(kinds) < len(regions) / 2
        inputs = unet_inputs(config, height=8)
        torch.testing.assert_close(fast(**inputs).sample, plain(**inputs).sample)
    assert counts.traces <= 2 * first
    assert "forward" not in plain.mid_block.resnets[0].__dict__


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_nothing_is_compiled_in_a_capture_whatever_the_callers_modes_and_layouts(
    counts: Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr("graphdiff.models.graphed.Cuda", lambda: recorder)
    plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False)
    fast = graphed(compiled(plain, by_region=True, folder=tmp_path))
    inputs = unet_inputs(COMMON)
    inputs["encoder_hidden_states"] = inputs["encoder_hidden_states"][:1].expand(2, -1, -1)
    wanted = plain(**inputs).sample
    with torch.inference_mode():
        inputs["sample"] = inputs["sample"].clone()
        torch.testing.assert_close(fast(**inputs).sample, wanted)
        first = counts.traces
        for _ in range(2):
            torch.testing.assert_close(fast(**inputs).sample, wanted)
    assert len(recorder.made) == 1
    assert counts.traces == first > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_by_regions_it_computes_what_the_plain_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False)
    plain = plain.to(memory_format=torch.channels_last)
    fast = compiled(plain, by_region=True, folder=tmp_path)
    inputs = unet_inputs(COMMON)
    with torch.no_grad():
        wanted = plain(**inputs).sample
        for _ in range(2):
            torch.testing.assert_close(fast(**inputs).sample, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")
def test_on_a_gpu_regions_are_compiled_and_then_captured(tmp_path: Path) -> None:
    plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False)
    plain = plain.to("cuda", memory_format=torch.channels_last)
    fast = graphed(compiled(plain, by_region=True, folder=tmp_path))
    for height in (16, 16, 16, 8, 8, 8, 16):
        inputs: Any = unet_inputs(COMMON, height=height)
        inputs = {name: tensor.cuda() for name, tensor in inputs.items()}
        found, wanted = fast(**inputs).sample, plain(**inputs).sample
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
def test_weights_are_frozen_and_those_of_each_model_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    latents = torch.randn(1, 4, 8, 8)
    models = [AutoencoderKL.from_config(TINY).eval().requires_grad_(False) for _ in range(2)]
    fast = [compiled(model, folder=tmp_path) for model in models]
    with torch.no_grad():
        wanted = [model.decode(latents).sample for model in models]
        for _ in range(2):
            for made, right in zip(fast, wanted, strict=True):
                torch.testing.assert_close(made.decode(latents).sample, right, atol=1e-5, rtol=1e-4)
        models[0].decoder.conv_in.weight.zero_()
        torch.testing.assert_close(fast[0].decode(latents).sample, wanted[0], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_process_killed_while_it_compiles_does_not_break_the_next(
    share: float, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    command = [sys.executable, "-c", PROGRAM]
    start = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True, env=environment)
    took = time.monotonic() - start
    folder = tmp_path / "cut"
    process = subprocess.Popen([*command, str(folder)], env=environment, start_new_session=True)
    time.sleep(share * took)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run([*command, str(folder)], check=True, env=environment)
    assert not list(folder.glob(".running-*"))


@pytest.mark.slow
def test_a_damaged_cache_is_mended_by_the_next_process(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    subprocess.run(command, check=True, env=environment)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".so" for path in files)
    for path in files:
        path.write_bytes(b"")
    subprocess.run(command, check=True, env=environment)

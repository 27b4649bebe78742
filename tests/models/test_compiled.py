"""A compiled model computes what the plain one does, and mends its cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.models import AutoencoderKL
from graphdiff.models.compiled import compiled

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

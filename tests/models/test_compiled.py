"""A compiled model computes what the plain one does, and mends its cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphdiff.models import AutoencoderKL
from graphdiff.models.compiled import compiled, repair

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


def test_files_that_a_killed_process_left_empty_are_removed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    broken, whole = tmp_path / "ab" / "kernel.cpp", tmp_path / "ab" / "kernel.so"
    lock, writing = tmp_path / "ab" / "kernel.lock", tmp_path / ".1.2.tmp"
    for path in (broken, lock, writing):
        path.touch()
    whole.write_bytes(b"code")
    assert repair(tmp_path) == 1
    assert not broken.exists()
    assert whole.exists()
    assert lock.exists()
    assert writing.exists()


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
    assert not list(tmp_path.iterdir())
    assert torch.is_tensor(plain.decode(torch.randn(1, 4, 8, 8)).sample)


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

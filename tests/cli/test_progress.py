"""Progress: plain lines without a terminal, bars in one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from graphdiff.cli.progress import Lines
from graphdiff.engine.events import LoopProgress, NodeFailed, NodeFinished
from tests.cli.conftest import NODES


def test_a_line_tells_of_a_slow_call_and_none_of_a_quick_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Lines() as lines:
        lines(NodeFinished("quick", "Add", 0.01))
        lines(NodeFinished("slow", "Decode", 1.5))
    assert capsys.readouterr() == ("", "slow (Decode) 1.50 s\n")


def said_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], times: list[float]
) -> str:
    """What is said of a loop whose last passes end at these times."""
    with Lines() as lines:
        for done, now in enumerate(times, 31 - len(times)):
            monkeypatch.setattr("time.monotonic", lambda now=now: now)
            lines(LoopProgress("denoise", done, 30))
    return capsys.readouterr().err


def test_a_loop_is_one_line_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_of(monkeypatch, capsys, [k / 8 for k in range(30)])
    assert said == "denoise 30/30 steps, 8.0 a second\n"


def test_the_rate_of_a_resumed_loop_is_that_of_the_passes_that_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_of(monkeypatch, capsys, [1000 + k / 2 for k in range(5)])
    assert said == "denoise 30/30 steps, 2.0 a second\n"


def test_passes_that_end_at_once_have_no_rate_and_batches_that_of_their_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_of(monkeypatch, capsys, [k * 1e-5 for k in range(30)])
    assert said == "denoise 30/30 steps\n"
    batches = [batch + k * 1e-5 for batch in range(3) for k in range(10)]
    said = said_of(monkeypatch, capsys, batches)
    assert said == "denoise 30/30 steps, 10.0 a second\n"


def test_a_failure_is_said_when_it_happens(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as lines:
        lines(NodeFailed("bad", "Fail", ValueError("bad (Fail): no good")))
    assert capsys.readouterr().err == "error: bad (Fail): no good\n"


LOOP = """\
graphdiff: 1
nodes:
  outer:
    type: Loop
    over: 2
    carry: {value: 1}
    nodes:
      inner:
        type: Loop
        over: 3
        carry: {value: $carry.value}
        nodes: {slow: {type: Slow, value: $carry.value, seconds: 0.25}}
        next: {value: $slow}
    next: {value: $inner.value}
outputs: {x: $outer.value}
"""


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_a_terminal_shows_bars_with_steps_rate_and_time_and_keeps_stdout_clean(
    folder: Path,
) -> None:
    Path("loop.yaml").write_text(LOOP)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "graphdiff", "run", "loop.yaml", "--nodes", str(NODES)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    said = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as run:
        os.close(theirs)
        while data := read(ours):
            said += data
        assert run.stdout is not None
        assert run.stdout.read() == b"x: 7\n"
    os.close(ours)
    assert run.returncode == 0
    screen = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", said.decode())
    assert "━" in screen
    assert "left" in screen
    assert re.search(r"outer\[1\]\.inner ━+ 3/3 [\d.]+ it/s 0:00", screen)
    assert re.search(r"outer +━+ 2/2", screen)

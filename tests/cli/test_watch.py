"""`graphdiff watch`: a run on each save, until Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import NODES, TOY, Command


def test_a_save_runs_again_a_mistake_is_said_and_ctrl_c_ends_it() -> None:
    file = Path("toy.yaml")
    command = [sys.executable, "-m", "graphdiff", "watch", "toy.yaml", "--nodes", str(NODES)]
    watching = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    assert watching.stdout.readline() == "outputs/sum-1.txt\n"
    file.write_text(TOY.replace("default: 1", "default: 5"))
    assert watching.stdout.readline() == "outputs/sum-5.txt\n"
    file.write_text(TOY.replace("type: Write", "type: Wriet"))
    while "did you mean Write" not in (line := watching.stderr.readline()):
        assert line
    file.write_text(TOY)
    assert watching.stdout.readline() == "outputs/sum-1.txt\n"
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "Traceback" not in err


def test_a_picture_cannot_be_watched(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml")
    said = graphdiff("watch", "outputs/1.png")
    assert said.code == 2
    assert "name a workflow file" in said.err

"""What computes nothing loads nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import NODES

HEAVY = (
    "torch",
    "numpy",
    "transformers",
    "huggingface_hub",
    "networkx",
    "PIL",
    "rich",
    "tokenizers",
)

SCRIPT = """
import sys
from graphdiff.cli.main import main
code = main(sys.argv[2:])
found = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"imported {found}" if found else code)
"""


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, ",".join(HEAVY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("validate", "text_to_image"),
        ("plan", "text_to_image", "--steps", "2"),
        ("run", "text_to_image", "--help"),
        ("diff", "text_to_image", "two_passes"),
        ("nodes", "UNetPredict"),
        ("expand", "two_passes"),
        ("models", "ls"),
        ("models", "info", "emoji"),
        ("cache", "info"),
        ("draw", "two_passes", "--plan"),
        ("init",),
    ],
)
def test_a_command_that_computes_nothing_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert (done.returncode, done.stderr if done.returncode else "") == (0, "")


def test_a_run_whose_results_are_all_cached_imports_nothing_heavy(folder: Path) -> None:
    arguments = ("run", "text_to_image", "--steps", "2")
    first = subprocess.run(
        [sys.executable, "-m", "graphdiff", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    again = call(*arguments)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert "13 cached" in again.stderr
    plan = call("plan", "outputs/a red apple-0.png")
    assert plan.returncode == 0, plan.stderr
    assert "0 to run, 13 cached" in plan.stderr


def test_a_cached_toy_run_imports_nothing_heavy() -> None:
    arguments = ("run", "toy.yaml", "--nodes", str(NODES))
    assert "5 ran" in call(*arguments).stderr
    assert "5 cached" in call(*arguments).stderr


@pytest.mark.parametrize(
    ("asked", "spins"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_wait_asleep_unless_asked_otherwise(asked: dict[str, str], spins: str) -> None:
    script = "import os; from graphdiff.cli.main import main; main(['--version'])\n"
    script += "print(os.environ.get('GOMP_SPINCOUNT'))"
    bare = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=bare | asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == spins

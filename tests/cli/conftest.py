"""A folder, a cache and toy workflows of its own for each test of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from graphdiff.cli.main import main

NODES = Path(__file__).parent / "toy_nodes.py"

TOY = """\
graphdiff: 1
name: toy
description: Numbers.
inputs:
  start: {type: int, default: 1, min: 0, help: Where to start}
  passes: 3
  scale: {type: float, default: 1.0}
  name: {type: str, default: sum, choices: [sum, total]}
  text: ""
  flag: false
  numbers: {type: "[int]", default: [1, 2]}
nodes:
  first: {type: Add, a: $inputs.start}
  loop:
    type: Loop
    over: $inputs.passes
    carry: {value: $first}
    nodes:
      next: {type: Add, a: $carry.value, b: 1}
    next: {value: $next}
  write: {type: Write, value: $loop.value, path: "${inputs.name}-${inputs.start}.txt"}
outputs: {sum: $loop.value}
"""

FAILING = """\
graphdiff: 1
nodes:
  good: {type: Add, a: 1}
  bad: {type: Fail, value: $good}
  after: {type: Add, a: $bad}
  write: {type: Write, value: $good, path: good.txt}
outputs: {after: $after}
"""

PAINTING = """\
graphdiff: 1
inputs: {start: 1}
nodes:
  sum: {type: Add, a: $inputs.start, b: 1}
  paint: {type: Paint, value: $sum, path: "${inputs.start}.png"}
"""


@dataclass(frozen=True)
class Said:
    """What a command gave: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Command = Callable[..., Said]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the toy workflows in it."""
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name, text in {"toy": TOY, "failing": FAILING, "painting": PAINTING}.items():
        (work / f"{name}.yaml").write_text(text)
    return work


@pytest.fixture
def graphdiff(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process; those on a workflow know the toy nodes."""

    def call(*arguments: str) -> Said:
        knows_nodes = arguments[:1] and arguments[0] in ("run", "plan", "validate", "draw", "watch")
        more = ["--nodes", str(NODES)] if knows_nodes else []
        capsys.readouterr()
        code = main([*arguments, *more])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Said(code, out, err)

    return call

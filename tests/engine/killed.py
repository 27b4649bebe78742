"""A run to kill: a loop whose passes take time, in a module that is quick to import."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

from graphdiff.engine.session import Session
from graphdiff.graph.node import OutputFile, Outputs, node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call, Graph, Loop, Ref

SECONDS = 0.004
"""What a pass takes at the least."""


class Written(NamedTuple):
    """What was written."""

    path: str


@node(cache="always")
def Slow(x: int) -> int:
    """Take some time."""
    time.sleep(SECONDS)
    return x + 1


@node(effect=True)
def Write(value: int, path: OutputFile, outputs: Outputs) -> Written:
    """Write a number to a file."""
    return Written(outputs.write(path, str(value).encode()).name)


def slow_loop(passes: int) -> Graph:
    """Count to `passes`, and write that down as end.txt."""
    loop = Loop(
        over=passes,
        carry={"x": 0},
        nodes={"step": Call("Slow", {"x": Ref(("carry", "x"))})},
        next={"x": Ref(("step",))},
    )
    save = Call("Write", {"value": Ref(("loop", "x")), "path": "end.txt"})
    return Graph(nodes={"loop": loop, "save": save})


def slow_session(folder: Path) -> Session:
    """A session on a cache that outlives the process."""
    return Session(
        cache=folder / "cache", output_dir=folder / "out", registry=Registry.of(Slow, Write)
    )


def say(text: str) -> None:
    """Tell the process that watches."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Run, and say so as soon as it begins."""
    folder, passes = Path(sys.argv[1]), int(sys.argv[2])
    session, loop = slow_session(folder), slow_loop(passes)
    results = session.run(loop, on_event=lambda _: say("."))
    say(results.files[0].read_text())

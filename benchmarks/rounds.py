"""Fair measurements on a machine that others use too: interleaved rounds and paired ratios."""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

ROOT = Path(__file__).parent.parent
_SOURCES = (ROOT, ROOT / "nodes")
_FOUND_BEFORE = os.environ.get("PYTHONPATH", "")

Goal: TypeAlias = tuple[Literal["ratio", "ours", "share"], Literal[">=", "<="], float]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        benchmark: What it belongs to.
        case: What was measured.
        unit: Of `ours` and `theirs`.
        ours: The median over rounds.
        theirs: What it is compared with, likewise; None where there is nothing to compare.
        ratio: The median over rounds of theirs / ours, each pair from one round; above 1 is ours.
        low: The lowest of these.
        high: The highest.
        goal: What to reach, and of which of the columns.
        note: What a reader should know.
        floor: What `ours` would be if the machine did nothing but its arithmetic, at full rate.
    """

    benchmark: str
    case: str
    unit: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None
    note: str = ""
    floor: float | None = None

    @property
    def share(self) -> float | None:
        """Ours as a share of the floor, of figures of which more is better."""
        return None if self.floor is None else self.ours / self.floor

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        if self.goal is None:
            return None
        column, sign, bound = self.goal
        value = {"ratio": self.ratio, "ours": self.ours, "share": self.share}[column]
        if value is None:
            return None
        return value >= bound if sign == ">=" else value <= bound

    def to_json(self) -> dict[str, Any]:
        """The row as JSON data."""
        return asdict(self) | {"share": self.share, "met": self.met}


@dataclass(frozen=True)
class Paired:
    """What several ways of doing one thing took, round by round."""

    times: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """The median of one."""
        return statistics.median(self.times[name])

    def ratios(self, ours: str, theirs: str) -> list[float]:
        """What theirs is divided by ours, round by round."""
        return [b / a for a, b in zip(self.times[ours], self.times[theirs], strict=True)]

    def row(
        self,
        benchmark: str,
        case: str,
        ours: str,
        theirs: str,
        *,
        unit: str = "ms",
        scale: float = 1e3,
        at_least: float | None = None,
        note: str = "",
    ) -> Row:
        """The line of the table that compares two of them."""
        ratios = self.ratios(ours, theirs)
        return Row(
            benchmark,
            case,
            unit,
            self.median(ours) * scale,
            self.median(theirs) * scale,
            statistics.median(ratios),
            min(ratios),
            max(ratios),
            None if at_least is None else ("ratio", ">=", at_least),
            note,
        )


def interleaved(
    ways: Mapping[str, Callable[[], object]], rounds: int, *, repeat: int = 1, warm: bool = True
) -> Paired:
    """CPU seconds of each way, measured in rounds that do all of them in a random order.

    Args:
        ways: What to do, by name.
        rounds: How many rounds.
        repeat: How often to do it in one round.
        warm: Whether each is done once before.
    """
    order = list(ways)
    shuffle = random.Random(0).shuffle
    times: dict[str, list[float]] = {name: [] for name in ways}
    if warm:
        for do in ways.values():
            do()
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            do = ways[name]
            start = time.process_time()
            for _ in range(repeat):
                do()
            times[name].append((time.process_time() - start) / repeat)
    return Paired(times)


@dataclass(frozen=True)
class Spent:
    """What a process took.

    Args:
        cpu: User and system time, in seconds.
        peak: The most memory that it held, in bytes.
        output: What it wrote to stdout.
    """

    cpu: float
    peak: float
    output: str


def cpu_seconds() -> float:
    """The CPU time of this process and of those that it waited for, which compile."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def process(arguments: Sequence[str | Path], *, cache: Path, folder: Path) -> Spent:
    """Run a program to its end, on one thread, and measure it.

    Args:
        arguments: Its arguments; python itself stands before them.
        cache: The cache folder that it gets.
        folder: Where it runs.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        measured = [sys.executable, "-I", str(ROOT / "benchmarks" / "measured.py"), report.name]
        done = subprocess.run(
            [*measured, sys.executable, *map(str, arguments)],
            capture_output=True,
            cwd=folder,
            env=environment(cache),
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, arguments))} failed:\n{done.stderr}")
        return Spent(**json.load(report), output=done.stdout)


def environment(cache: Path) -> dict[str, str]:
    """The environment of a measured process: one thread, this source tree, no network."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "GRAPHDIFF_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (*map(str, _SOURCES), _FOUND_BEFORE))),
    }

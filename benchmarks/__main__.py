"""The command: `python -m benchmarks [NAME ...] [--rounds N] [--full]`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import report
from benchmarks.rounds import ROOT, Row

# Each is a module with `measure(rounds, full) -> list[Row]`, and how many rounds it takes.
BENCHMARKS = {
    "forward": 15,
    "pictures": 5,
    "edits": 3,
    "after": 2,
    "caching": 5,
    "resume": 1,
    "memory": 3,
    "loop": 7,
    "sweep": 3,
}


def main(arguments: list[str]) -> int:
    """Run what is named, or all; print the table, write JSON and plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, help="how many rounds instead of each one's own")
    parser.add_argument("--full", action="store_true", help="Stable Diffusion 1.5 at full width")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    names = options.names or list(BENCHMARKS)
    rows: list[Row] = []
    for name in names:
        sys.stderr.write(f"{name} ...\n")
        rounds = options.rounds or BENCHMARKS[name]
        rows += import_module(f"benchmarks.{name}").measure(rounds, options.full)
    sys.stdout.write(report.table(rows) + "\n")
    for file in report.write(rows, options.results, "-".join(names) if options.names else "all"):
        sys.stderr.write(f"{file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command: `python -m benchmarks.gpu TABLE [--family NAME] [--batch N] [--steps N] ...`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import get_args

import torch

from benchmarks import report
from benchmarks.gpu.checkpoint import written
from benchmarks.gpu.device import Device
from benchmarks.gpu.families import Name, family
from benchmarks.gpu.results import Results
from benchmarks.gpu.timing import Deadline
from benchmarks.gpu.trial import Trial
from benchmarks.gpu.ways import WAYS, Task
from benchmarks.rounds import ROOT

# Each is a module with `measure(trial) -> Iterator[Row]`.
TABLES = ("pictures", "steps", "first", "sweeps", "memory")
_GRACE = 30.0  # seconds beyond the last minute, for what was begun before
_TOLERANCES = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.05}


def main(arguments: list[str]) -> int:
    """Measure one table; write JSON and PNG row by row, and print the rows at the end."""
    options = _parser().parse_args(arguments)
    deadline = Deadline(60 * options.minutes)
    dtype: torch.dtype = getattr(torch, options.dtype)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("torch sees no GPU here; --device cpu --family tiny tries the way\n")
        return 2
    torch.backends.cudnn.benchmark = options.search
    folder = written(
        family(options.family), options.checkpoints, dtype=dtype, device=options.device
    )
    task = Task(options.family, folder, options.steps, options.batch, options.device, options.dtype)
    trial = Trial(
        task,
        options.ways,
        options.rounds,
        deadline,
        options.tolerance or _TOLERANCES[options.dtype],
        options.matrix,
        options.points,
        round(options.budget * 1e9),
    )
    name = f"{options.table}-{task.name}-{options.steps}-steps-batch-{options.batch}"
    facts = {"device": Device(options.device).name, "dtype": options.dtype, "arguments": arguments}
    results = Results(options.out, _unused(options.out, name), facts)
    guard = threading.Timer(deadline.left + _GRACE, _give_up)
    guard.daemon = True
    guard.start()
    try:
        for row in import_module(f"benchmarks.gpu.{options.table}").measure(trial):
            results.add(row)
            sys.stderr.write(report.table([row]).partition("\n")[2] + "\n")
    finally:
        guard.cancel()
    sys.stdout.write(report.table(results.rows) + "\n")
    sys.stderr.write(f"{results.data}\n{results.picture}\n")
    return 0


def _unused(folder: Path, name: str) -> str:
    """The name, or where another run has left its table under it, the name with a number."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(each for each in names if not (folder / f"{each}.json").exists())


def _give_up() -> None:
    """End the process, whatever it is compiling; the rows so far are written."""
    sys.stderr.write("the time is over, and what is measured now has not ended\n")
    sys.stderr.flush()
    os._exit(124)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--family", choices=get_args(Name), default="sd15")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--ways",
        nargs="+",
        type=lambda name: name.replace("_", " "),  # without quotes in a shell
        choices=WAYS,
        default=WAYS[:2],
        metavar="WAY",
        help=", ".join(WAYS).replace(" ", "_").replace(",_", ", "),
    )
    parser.add_argument("--rounds", type=int, default=5, help="at most")
    parser.add_argument("--minutes", type=float, default=8.0, help="when to stop")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=tuple(_TOLERANCES), default="bfloat16")
    parser.add_argument("--tolerance", type=float, help="share of the contrast; by dtype if unset")
    parser.add_argument("--points", type=int, default=16, help="seeds of a sweep")
    parser.add_argument("--budget", type=float, default=4.0, help="GB of weights for `memory`")
    parser.add_argument("--search", action="store_true", help="cuDNN tries convolutions out")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the product timed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=Path(tempfile.gettempdir()) / "graphdiff-benchmarks",
        help="where random weights are written once",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`graphdiff run`: run a workflow, or a picture made by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from graphdiff.cli.common import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    any_path,
    refuse_unwritable,
    shown_path,
)
from graphdiff.cli.options import refuse_missing_device, session_options, session_parameters
from graphdiff.cli.results import print_event, show
from graphdiff.cli.stopping import stopping
from graphdiff.cli.target import Target, TargetCommand
from graphdiff.engine.errors import Interrupted, RunError
from graphdiff.engine.events import Watcher
from graphdiff.engine.results import Results
from graphdiff.engine.run import Cancel
from graphdiff.engine.session import Session
from graphdiff.engine.sweep import points_of


def run(
    target: Target,
    *,
    session: Mapping[str, Any],
    inputs: Mapping[str, Any],
    sweep: Mapping[str, Sequence[Any]],
    targets: Sequence[str],
    as_json: bool,
    grid: Path | None,
    max_vram: str | None,
) -> int:
    """Run what the command line names, and print one line for each file."""
    if max_vram is not None:
        _bound_weights(max_vram)
    if grid is not None:
        _refuse_grid(grid, sweep)
    refuse_missing_device(session["device"])
    with Session(**session) as opened:
        if target.picture is not None:
            from graphdiff.cli.again import say_differences

            say_differences(target.picture, opened, inputs)
        code, results = run_once(opened, target, inputs, sweep, targets or None, as_json=as_json)
    if grid is not None and code != EXIT_INTERRUPTED:
        code = code or _write_grid(results, sweep, grid, as_json=as_json)
    return code


command = TargetCommand(
    "run",
    run,
    help="""Run WORKFLOW: a file, the name of a shipped workflow, or a picture made by one.

    Each input of the workflow is an option; `graphdiff run WORKFLOW --help` shows them.
    """,
    params=[
        *session_parameters(),
        click.Option(
            ["--grid"], type=any_path, metavar="FILE.png", help="Write a contact sheet of a sweep."
        ),
        click.Option(
            ["--max-vram"],
            metavar="SIZE",
            help="Keep at most so many bytes of weights on the device, as in 4GB.",
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print events as JSON lines."),
    ],
    options=session_options,
)


def _bound_weights(size: str) -> None:
    """Let models that are not in use leave the device when weights would exceed a size."""
    from graphdiff.checkpoints.pool import pool
    from graphdiff.cli.units import read_bytes

    budget = read_bytes(size, "--max-vram")
    if not budget:
        raise click.BadParameter(
            f"{size!r} leaves no room for weights: write a size such as 4GB",
            param_hint="--max-vram",
        )
    pool().budget = budget


def run_once(
    session: Session,
    target: Target,
    inputs: Mapping[str, Any],
    sweep: Mapping[str, Sequence[Any]],
    targets: Sequence[str] | None,
    *,
    as_json: bool,
) -> tuple[int, Results]:
    """Run, show what happens on stderr and what came of it on stdout.

    Returns:
        The exit code, and what there is.
    """
    code = 0
    try:
        with stopping() as cancel:
            if as_json:
                results = _run(session, target, inputs, sweep, targets, print_event, cancel)
            else:
                from graphdiff.cli.notices import notices
                from graphdiff.cli.progress import reporter

                with reporter() as watch, notices(watch.tell):
                    results = _run(session, target, inputs, sweep, targets, watch, cancel)
    except RunError as error:
        code, results = EXIT_FAILED, error.results
    except Interrupted as error:
        code, results = EXIT_INTERRUPTED, error.results
    if not as_json:  # else the summary was the last event
        show(results)
    if code == EXIT_INTERRUPTED:
        click.echo("stopped; what was computed is kept, and the next run goes on", err=True)
    return code, results


def _run(
    session: Session,
    target: Target,
    inputs: Mapping[str, Any],
    sweep: Mapping[str, Sequence[Any]],
    targets: Sequence[str] | None,
    watch: Watcher,
    cancel: Cancel,
) -> Results:
    if sweep:
        points = points_of(sweep, inputs)
        return session.run_many(
            target.workflow, points, targets=targets, on_event=watch, cancel=cancel
        )
    return session.run(target.workflow, inputs, targets=targets, on_event=watch, cancel=cancel)


def _refuse_grid(grid: Path, sweep: Mapping[str, Sequence[Any]]) -> None:
    """Refuse what could not be written when all is computed."""
    if not sweep:
        raise click.UsageError("--grid shows a sweep: add --sweep NAME=VALUES")
    if grid.suffix.lower() != ".png":
        raise click.BadParameter(f"{grid}: name a .png file", param_hint="--grid")
    refuse_unwritable(grid, "--grid")


def _write_grid(
    results: Results, sweep: Mapping[str, Sequence[Any]], target: Path, *, as_json: bool
) -> int:
    from graphdiff.cli.grid import write_contact_sheet

    values = [{name: p.inputs[name] for name in sweep} for p in points_of(sweep)]
    made = [_picture(point) for point in results.points]
    if not any(made):
        click.echo(f"error: no point of the sweep gave a picture for {target}", err=True)
        return EXIT_WRONG
    write_contact_sheet(list(zip(values, made, strict=True)), target)
    click.echo(shown_path(target), err=as_json)
    return 0


def _picture(point: Results) -> Path | None:
    pictures = (".png", ".webp", ".jpg", ".jpeg")
    return next((file for file in point.files if file.suffix.lower() in pictures), None)

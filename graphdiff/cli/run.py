"""`graphdiff run`: run a workflow, or a picture made by one."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from graphdiff.cli.common import EXIT_FAILED, EXIT_INTERRUPTED, any_path
from graphdiff.cli.target import Target, TargetCommand, session_options, session_parameters
from graphdiff.engine.errors import Interrupted, RunError
from graphdiff.engine.events import Event, to_json
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
) -> int:
    """Run what the command line names, and print one line for each file."""
    if grid is not None and not sweep:
        raise click.UsageError("--grid shows a sweep: add --sweep NAME=VALUES")
    for difference in target.differences:
        click.echo(f"differs here: {difference}", err=True)
    with Session(**session) as opened:
        try:
            results = _results(opened, target, inputs, sweep, targets or None, as_json=as_json)
        except RunError as error:
            _say_failures(error, as_json=as_json)
            _show(error.results, as_json=as_json)
            if grid is not None:
                _write_grid(error.results, sweep, grid)
            return EXIT_FAILED
        except Interrupted as error:
            _show(error.results, as_json=as_json)
            click.echo("stopped; what was computed is kept, and the next run goes on", err=True)
            return EXIT_INTERRUPTED
    _show(results, as_json=as_json)
    if grid is not None:
        _write_grid(results, sweep, grid)
        if not as_json:
            click.echo(str(grid))
    return 0


command = TargetCommand(
    "run",
    run,
    help="""Run WORKFLOW: a file, the name of a shipped workflow, or a picture made by one.

    Each input of the workflow is an option; `graphdiff run WORKFLOW --help` shows them.
    """,
    params=[
        *session_parameters(),
        click.Option(["--grid"], type=any_path, help="Write a contact sheet of a sweep (PNG)."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print events as JSON lines."),
    ],
    options=session_options,
)


def _results(
    session: Session,
    target: Target,
    inputs: Mapping[str, Any],
    sweep: Mapping[str, Sequence[Any]],
    targets: Sequence[str] | None,
    *,
    as_json: bool,
) -> Results:
    with _stopping() as cancel:
        if as_json:
            return _run(session, target, inputs, sweep, targets, _print_event, cancel)
        from graphdiff.cli.progress import reporter

        with reporter() as watch:
            return _run(session, target, inputs, sweep, targets, watch, cancel)


def _run(
    session: Session,
    target: Target,
    inputs: Mapping[str, Any],
    sweep: Mapping[str, Sequence[Any]],
    targets: Sequence[str] | None,
    watch: Any,  # noqa: ANN401 - a watcher
    cancel: Cancel,
) -> Results:
    if sweep:
        points = points_of(sweep, inputs)
        return session.run_many(
            target.workflow, points, targets=targets, on_event=watch, cancel=cancel
        )
    return session.run(target.workflow, inputs, targets=targets, on_event=watch, cancel=cancel)


@contextmanager
def _stopping() -> Iterator[Cancel]:
    """Ctrl-C and SIGTERM stop the run at its next call; a second Ctrl-C stops it at once."""
    cancel = Cancel()

    def stop(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        click.echo("stopping after this step (once more to stop at once)", err=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_event(event: Event) -> None:
    click.echo(json.dumps(to_json(event)))


def _say_failures(error: RunError, *, as_json: bool) -> None:
    if as_json:  # the events have said it
        return
    for failure in error.failures:
        click.echo(f"error: {failure}", err=True)


def _show(results: Results, *, as_json: bool) -> None:
    if as_json:  # the summary was the last event
        return
    for file in results.files:
        click.echo(str(file))
    summary = results.summary
    if not results.files and not results.points:
        for name, value in results.outputs.items():
            if isinstance(value, str | int | float | bool):
                click.echo(f"{name}: {value}")
    counts = {
        "ran": summary.ran,
        "cached": summary.cached,
        "failed": summary.failed,
        "skipped": summary.skipped,
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    click.echo(f"{said or 'nothing to do'} ({summary.seconds:.1f} s)", err=True)


def _write_grid(results: Results, sweep: Mapping[str, Sequence[Any]], target: Path) -> None:
    from graphdiff.cli.grid import write_contact_sheet

    values = [{name: p.inputs[name] for name in sweep} for p in points_of(sweep)]
    made = [point.files[0] if point.files else None for point in results.points]
    write_contact_sheet(list(zip(values, made, strict=True)), target)

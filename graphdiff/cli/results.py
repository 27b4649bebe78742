"""What came of a run, for people and as JSON lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from graphdiff.cli.common import shown_path
from graphdiff.engine.events import (
    Event,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeSkipped,
    NodeStarted,
    RunFinished,
    to_json,
)
from graphdiff.engine.results import Results


def print_event(event: Event) -> None:
    """Print what happens to a node, and at last the summary, each as one line."""
    match event:
        case NodeStarted() | NodeFinished() | NodeCached() | NodeFailed() | NodeSkipped():
            told = to_json(event)
            told |= {"seconds": told.get("seconds", 0.0), "batch": told.get("batch", 1)}
        case RunFinished(files=files):
            told = to_json(replace(event, files=tuple(Path(shown_path(file)) for file in files)))
        case _:
            return
    click.echo(json.dumps(told, ensure_ascii=False))


def show(results: Results) -> None:
    """Print one line a file; where nothing was written, the outputs that are plain data."""
    in_order = [file for point in results.points for file in point.files]
    for file in dict.fromkeys([*in_order, *results.files]):
        click.echo(shown_path(file))
    if not results.files:
        for point in results.points or (results,):
            prefix = f"{point.label}/" if point.label else ""
            for name, value in point.outputs.items():
                if isinstance(value, str | int | float | bool):
                    click.echo(f"{prefix}{name}: {value}")
    summary = results.summary
    counts = {
        "ran": summary.ran,
        "cached": summary.cached,
        "failed": summary.failed,
        "skipped": summary.skipped,
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    click.echo(f"{said or 'nothing to do'} ({summary.seconds:.1f} s)", err=True)

"""`graphdiff watch`: run a workflow again each time it is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from graphdiff.cli.common import EXIT_INTERRUPTED
from graphdiff.cli.options import refuse_missing_device, session_options, session_parameters
from graphdiff.cli.progress import Reporter, reporter
from graphdiff.cli.results import show
from graphdiff.cli.stopping import stopping
from graphdiff.cli.target import Target, TargetCommand
from graphdiff.engine.errors import RunError
from graphdiff.engine.events import Event, RunFinished, RunStarted
from graphdiff.engine.session import Session
from graphdiff.engine.watch import watch
from graphdiff.graph.spec import WorkflowError


def run(
    target: Target,
    *,
    session: Mapping[str, Any],
    inputs: Mapping[str, Any],
    sweep: Mapping[str, Sequence[Any]],
    targets: Sequence[str],
) -> int:
    """Run the workflow now and on each save, until Ctrl-C."""
    file = target.workflow.file
    if file is None or target.picture is not None:
        raise click.UsageError("a picture is never edited: name a workflow file to watch")
    refuse_missing_device(session["device"])
    with Session(**session) as opened, stopping() as cancel:
        click.echo(f"watching {file} (Ctrl-C ends it)", err=True)
        watch(
            file,
            inputs,
            session=opened,
            on_results=show,
            on_error=_say,
            targets=targets or None,
            on_event=_Progress(),
            cancel=cancel,
        )
    return EXIT_INTERRUPTED


command = TargetCommand(
    "watch",
    run,
    help="""Run WORKFLOW now, and again each time it is saved; weights and results stay in memory.

    Files that it includes by path are watched too.
    """,
    params=[option for option in session_parameters() if option.name != "sweep"],
    options=session_options,
)


class _Progress:
    """Shows each run with a reporter of its own."""

    def __init__(self) -> None:
        self._reporter: Reporter | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._reporter = reporter().__enter__()
        if self._reporter is not None:
            self._reporter(event)
        if isinstance(event, RunFinished) and self._reporter is not None:
            self._reporter.__exit__(None, None, None)
            self._reporter = None


def _say(error: WorkflowError | RunError) -> None:
    """Say what is wrong with the file; failures of nodes were said when they happened."""
    if isinstance(error, RunError):
        show(error.results)
    else:
        click.echo(str(error), err=True)

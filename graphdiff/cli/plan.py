"""`graphdiff plan`: say what a run would compute, and what it would find in the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from graphdiff.cli import complete
from graphdiff.cli.options import session_options, session_parameters
from graphdiff.cli.table import Row, lines, rows
from graphdiff.cli.target import Target, TargetCommand
from graphdiff.engine.plan import Plan
from graphdiff.engine.session import Session
from graphdiff.engine.sweep import points_of

_COLOURS: Final = {"run": "yellow", "cached": "green", "skip": "bright_black"}


def run(
    target: Target,
    *,
    session: Mapping[str, Any],
    inputs: Mapping[str, Any],
    sweep: Mapping[str, Sequence[Any]],
    targets: Sequence[str],
    why: str | None,
    deep: bool,
    as_json: bool,
) -> int:
    """Print what a run with the same options would do."""
    points = points_of(sweep, inputs) if sweep else None
    with Session(**session) as opened:
        if target.picture is not None:
            from graphdiff.cli.again import say_differences

            say_differences(target.picture, opened, inputs)
        found = opened.plan(target.workflow, inputs, points=points, targets=targets or None)
        labels = [point.label for point in points or ()]
        if why is not None:
            click.echo(_explained(opened, found, why, labels))
            return 0
    if as_json:
        for call in found.calls:
            told = {"node": call.name, "type": call.type, "status": call.status}
            click.echo(json.dumps(told, ensure_ascii=False))
        return 0
    _print(found, labels, deep=deep)
    return 0


command = TargetCommand(
    "plan",
    run,
    help="""Say what a run of WORKFLOW would compute, and what it would find in the cache.

    It takes the options of `graphdiff run`. Nothing is computed: `run` will be, `cached` is there
    already (or all that needs it is), `skip` is not needed. The passes of a loop are one line.
    """,
    params=[
        *session_parameters(),
        click.Option(
            ["--why"],
            metavar="NODE",
            help="Say why a node would run (again).",
            shell_complete=complete.nodes,
        ),
        click.Option(["--deep"], is_flag=True, help="List every call, each pass of a loop too."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object a line."),
    ],
    options=session_options,
)


def _print(found: Plan, labels: Sequence[str], *, deep: bool) -> None:
    calls = [(call.name, call.type, call.status) for call in found.calls]
    table = [Row(*call, 1) for call in calls] if deep else rows(calls, labels)
    for text, status in lines(table):
        click.secho(text, fg=_COLOURS[status])
    counts = f"{found.count('run')} to run, {found.count('cached')} cached"
    if skipped := found.count("skip"):
        counts += f", {skipped} not needed"
    click.echo(counts, err=True)
    if not found.complete:
        click.echo("the rest depends on values that only the run gives", err=True)


def _explained(session: Session, found: Plan, node: str, labels: Sequence[str]) -> str:
    """Why a node would run; in a sweep, one that is named without its point in the first."""
    from graphdiff.engine.why import why

    names = [node, *(f"{label}/{node}" for label in labels)]
    mistake = ""
    for name in names:
        try:
            return str(why(found, name, session.store))
        except KeyError as error:
            mistake = mistake or str(error.args[0])
    raise click.BadParameter(mistake, param_hint="--why")

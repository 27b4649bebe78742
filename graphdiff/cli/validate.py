"""`graphdiff validate`: check workflow files and say every mistake in them."""

from __future__ import annotations

from pathlib import Path

import click

from graphdiff.cli import complete
from graphdiff.cli.common import EXIT_WRONG, nodes_option
from graphdiff.cli.target import open_target
from graphdiff.graph.check import check
from graphdiff.graph.registry import Registry, load_registry
from graphdiff.graph.spec import Diagnostic, WorkflowError
from graphdiff.shipped import find_workflow


@click.command("validate")
@click.argument(
    "workflows",
    nargs=-1,
    required=True,
    metavar="WORKFLOW...",
    shell_complete=complete.workflows,
)
@click.option("--fix", is_flag=True, help="Rewrite renamed arguments in place.")
@nodes_option
def command(workflows: tuple[str, ...], fix: bool, nodes: tuple[Path, ...]) -> int:
    """Check workflow files, or those in pictures, and say every mistake in them with its line.

    Neither the network nor any weights are touched.
    """
    registry = load_registry(nodes)
    wrong = 0
    for name in workflows:
        try:
            path = find_workflow(name)
        except FileNotFoundError as error:
            click.echo(f"error: {error}", err=True)
            wrong += 1
            continue
        if fix:
            for change in _fix(path, registry):
                click.echo(change)
        try:
            found = _mistakes(path, registry)
        except (OSError, ValueError) as error:  # a picture that carries no workflow
            click.echo(f"error: {error}", err=True)
            wrong += 1
            continue
        for diagnostic in found:
            click.echo(str(diagnostic), err=True)
        errors = sum(d.severity == "error" for d in found)
        wrong += errors
        if not errors:
            click.echo(f"{path}: ok")
    if wrong:
        click.echo(f"{wrong} error{'s' if wrong != 1 else ''}", err=True)
    return EXIT_WRONG if wrong else 0


def _mistakes(path: Path, registry: Registry) -> tuple[Diagnostic, ...]:
    try:
        return check(open_target(str(path)).workflow, registry)
    except WorkflowError as error:
        return error.diagnostics


def _fix(path: Path, registry: Registry) -> list[str]:
    from graphdiff.graph.fix import fix

    text = path.read_text(encoding="utf-8")
    fixed = fix(text, registry)
    if fixed.text != text:
        from graphdiff.paths import write_atomically

        write_atomically(path, fixed.text.encode())
    return [f"{path}:{change}" for change in fixed.changes]

"""`graphdiff diff`: say what differs between two workflows or pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from graphdiff.cli import complete
from graphdiff.cli import inputs as from_text
from graphdiff.cli.common import cache_dir_option, nodes_option
from graphdiff.cli.target import Target, open_target
from graphdiff.engine.diff import Diff, diff
from graphdiff.engine.plan import Plan
from graphdiff.engine.session import Session
from graphdiff.graph.spec import WorkflowError
from graphdiff.shipped import find_workflow


@click.command("diff")
@click.argument("first", metavar="A", shell_complete=complete.workflows)
@click.argument("second", metavar="B", shell_complete=complete.workflows)
@click.option(
    "--set", "assigned", multiple=True, metavar="NAME=VALUE", help="Set an input of both."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@cache_dir_option
@nodes_option
def command(
    first: str,
    second: str,
    assigned: tuple[str, ...],
    as_json: bool,
    cache_dir: Path | None,
    nodes: tuple[Path, ...],
) -> int:
    """Say what B computes that A does not, and what would have to run again.

    A and B are workflow files, shipped workflows, or pictures made by one. Nodes are matched by
    what they compute, so that renaming and reordering is no difference. Nothing is run.
    """
    one, other = open_target(first), open_target(second)
    pictures = one.picture is not None and other.picture is not None
    found: Diff | None = None
    try:
        found = diff(
            _plan(one, assigned, cache_dir, nodes), _plan(other, assigned, cache_dir, nodes)
        )
    except WorkflowError as error:
        if not pictures:
            raise
        click.echo(f"their nodes cannot be compared here: {error}", err=True)
    told: list[str] = []
    if pictures:
        told = list(_origins(find_workflow(first), find_workflow(second), found))
    if as_json:
        nodes_said = None if found is None else asdict(found)
        click.echo(json.dumps({"origin": told, "nodes": nodes_said}, ensure_ascii=False))
        return 0
    for line in told:
        click.echo(line)
    if found is not None and (found or not told):
        click.echo(str(found))
    return 0


def _plan(
    target: Target, assigned: Iterable[str], cache_dir: Path | None, nodes: tuple[Path, ...]
) -> Plan:
    declared = target.workflow.graph.inputs
    inputs: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    if target.picture is not None:
        from graphdiff.cli.again import settings_here

        inputs |= target.picture.inputs
        settings = settings_here(target.picture)
    inputs |= from_text.read_assigned(declared, assigned)
    with Session(
        cache=cache_dir or True,
        nodes=nodes,
        device=settings.get("device", "auto"),
        dtype=settings.get("dtype", "auto"),
        compile=settings.get("compile", False),
    ) as session:
        return session.plan(target.workflow, inputs)


def _origins(first: Path, second: Path, compared: Diff | None) -> Iterable[str]:
    """What two pictures say differently of where they came from, beside what their nodes say."""
    from graphdiff.engine.provenance import differences
    from graphdiff.picture import extract

    one, other = extract(first) or {}, extract(second) or {}
    told: list[str] = []
    if compared is not None:
        told = ["workflow", "inputs"]
        said = " ".join(compared.changed)
        told += [f"computed.{name}" for name in ("device", "dtype") if f".{name}: " in said]
    found = list(differences(one, other, but=told))
    if found or compared:
        return found
    if first.read_bytes() == second.read_bytes():
        return ["the pictures are the same, byte for byte"]
    return [
        "they come from the same workflow, inputs, files and versions: what differs is the machine "
        "or the batch they were computed in, or one was edited"
    ]

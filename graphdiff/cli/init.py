"""`graphdiff init`: copy a shipped workflow here, to edit."""

from __future__ import annotations

from pathlib import Path

import click

from graphdiff.cli import complete
from graphdiff.cli.common import any_path, refuse_unwritable
from graphdiff.shipped import find_workflow, shipped_workflows


@click.command("init")
@click.argument("name", required=False, shell_complete=complete.shipped)
@click.argument("target", required=False, type=any_path)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(name: str | None, target: Path | None, force: bool) -> int:
    """Copy the shipped workflow NAME to TARGET [NAME.yaml]; without a name, list them."""
    if name is None:
        for known, path in shipped_workflows().items():
            click.echo(f"{known:<24} {_first_comment(path)}")
        return 0
    source = find_workflow(name)
    target = target if target is not None else Path(source.name)
    if target.is_dir():
        target /= source.name
    if target.exists() and not force:
        raise click.ClickException(f"{target} is there already: name another TARGET, or --force")
    refuse_unwritable(target, "TARGET")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    click.echo(f"{target}: edit it, then: graphdiff run {target}")
    for name in _files(source):
        beside = target.parent / name
        if not beside.exists():
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes((source.parent / name).read_bytes())
            click.echo(str(beside))
    return 0


def _files(workflow: Path) -> list[str]:
    """The files beside a workflow that its inputs name by default."""
    from graphdiff.graph.yaml import read

    defaults = [i.default for i in read(workflow).graph.inputs.values() if i.type == "path"]
    named = [str(default) for default in defaults if isinstance(default, str | Path)]
    return [name for name in dict.fromkeys(named) if (workflow.parent / name).is_file()]


def _first_comment(path: Path) -> str:
    import re

    text = path.read_text(encoding="utf-8")
    found = re.search(r"^description:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip("\"' ") if found else ""

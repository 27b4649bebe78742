"""`graphdiff schema`: print the JSON Schema of workflow files, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from graphdiff.cli.common import any_path, nodes_option, refuse_unwritable
from graphdiff.graph.registry import load_registry


@click.command("schema")
@click.option("-o", "--output", type=any_path, help="Write it to a file instead.")
@nodes_option
def command(output: Path | None, nodes: tuple[Path, ...]) -> int:
    """Print the JSON Schema of workflow files: every node, argument and bound, with its help.

    Put it beside your workflows and name it in their first line:
    `# yaml-language-server: $schema=graphdiff.schema.json`.
    """
    from graphdiff.graph.schema import schema

    text = json.dumps(schema(load_registry(nodes)), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        refuse_unwritable(output, "--output")
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        click.echo(str(output))
    return 0

"""`graphdiff expand`: write named parts out in place, to read or to edit."""

from __future__ import annotations

from pathlib import Path

import click

from graphdiff.cli import complete
from graphdiff.cli.common import nodes_option
from graphdiff.cli.target import open_workflow
from graphdiff.graph.expand import expand
from graphdiff.graph.registry import load_registry
from graphdiff.graph.yaml import dump


@click.command("expand")
@click.argument("workflow", shell_complete=complete.workflows)
@click.argument("node", required=False)
@nodes_option
def command(workflow: str, node: str | None, nodes: tuple[Path, ...]) -> int:
    """Print WORKFLOW with its parts written out; with NODE, only that part.

    WORKFLOW may be a picture: then the workflow that made it is printed. Keys do not change: the
    printed file finds everything that the original has cached.
    """
    graph = open_workflow(workflow).graph
    if node is not None and node not in graph.nodes:
        raise click.ClickException(f"no node {node!r}; there are {', '.join(graph.nodes)}")
    click.echo(dump(expand(graph, load_registry(nodes), node)), nl=False)
    return 0

"""`graphdiff expand`: write named parts out in place, to read or to edit."""

from __future__ import annotations

from pathlib import Path

import click

from graphdiff.cli.common import nodes_option
from graphdiff.graph.expand import expand
from graphdiff.graph.registry import load_registry
from graphdiff.graph.yaml import dump, read
from graphdiff.shipped import find_workflow


@click.command("expand")
@click.argument("workflow")
@click.argument("node", required=False)
@nodes_option
def command(workflow: str, node: str | None, nodes: tuple[Path, ...]) -> int:
    """Print WORKFLOW with its parts written out; with NODE, only that part.

    Keys do not change: the printed file finds everything that the original has cached.
    """
    graph = read(find_workflow(workflow)).graph
    if node is not None and node not in graph.nodes:
        raise click.ClickException(f"no node {node!r}; there are {', '.join(graph.nodes)}")
    click.echo(dump(expand(graph, load_registry(nodes), node)), nl=False)
    return 0

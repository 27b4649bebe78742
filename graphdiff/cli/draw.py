"""`graphdiff draw`: draw a workflow as SVG or Mermaid."""

from __future__ import annotations

from pathlib import Path

import click

from graphdiff.cli.common import any_path, nodes_option
from graphdiff.drawing.scene import Status, scene
from graphdiff.graph.spec import Graph
from graphdiff.graph.yaml import read
from graphdiff.shipped import find_workflow


@click.command("draw")
@click.argument("workflow")
@click.option("-o", "--output", type=any_path, help="The file [default: WORKFLOW.svg].")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print Mermaid text instead of SVG.")
@click.option("--plan", "with_plan", is_flag=True, help="Colour nodes by what a run would do.")
@click.option("--against", metavar="OTHER", help="Colour what differs from another workflow.")
@nodes_option
def command(
    workflow: str,
    output: Path | None,
    as_mermaid: bool,
    with_plan: bool,
    against: str | None,
    nodes: tuple[Path, ...],
) -> int:
    """Draw WORKFLOW from top to bottom, its loops and parts as frames."""
    path = find_workflow(workflow)
    graph = read(path).graph
    statuses: dict[str, Status] = {}
    if with_plan:
        statuses |= _planned(path, nodes)
    if against is not None:
        statuses |= _changed(graph, read(find_workflow(against)).graph)
    drawing = scene(graph, statuses)
    if as_mermaid:
        from graphdiff.drawing.mermaid import mermaid

        text = mermaid(drawing)
    else:
        from graphdiff.drawing.layout import layout
        from graphdiff.drawing.svg import svg

        text = svg(layout(drawing))
    if as_mermaid and output is None:
        click.echo(text, nl=False)
        return 0
    output = output or Path(path.with_suffix(".svg").name)
    output.write_text(text, encoding="utf-8")
    click.echo(str(output))
    return 0


def _planned(path: Path, nodes: tuple[Path, ...]) -> dict[str, Status]:
    """What a run would do, by node; a loop's passes and a frame's nodes taken together."""
    import re

    from graphdiff.engine.session import Session

    statuses: dict[str, Status] = {}
    for call in Session(nodes=nodes).plan(path).calls:
        parts = re.sub(r"\[\d+\]", "", call.name).split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            before = statuses.get(name, call.status)
            statuses[name] = call.status if before == call.status else "mixed"
    return statuses


def _changed(graph: Graph, other: Graph, prefix: str = "") -> dict[str, Status]:
    """The nodes that the other workflow has not, or has otherwise."""
    found: dict[str, Status] = {}
    for name, element in graph.nodes.items():
        if other.nodes.get(name) == element:
            continue
        found[prefix + name] = "changed"
        was = other.nodes.get(name)
        inside, before = getattr(element, "nodes", None), getattr(was, "nodes", None)
        if inside is not None and before is not None:
            found |= _changed(Graph(nodes=inside), Graph(nodes=before), f"{prefix}{name}.")
    return found

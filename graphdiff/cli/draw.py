"""`graphdiff draw`: draw a workflow as SVG or Mermaid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import click

from graphdiff.cli import complete
from graphdiff.cli import inputs as from_text
from graphdiff.cli.common import any_path, cache_dir_option, nodes_option, refuse_unwritable
from graphdiff.cli.target import open_workflow
from graphdiff.drawing.scene import Status, scene
from graphdiff.graph.spec import Element, Loop, Part
from graphdiff.graph.workflow import Workflow


@click.command("draw")
@click.argument("workflow", shell_complete=complete.workflows)
@click.option("-o", "--output", type=any_path, help="The file [default: WORKFLOW.svg].")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print Mermaid text instead of SVG.")
@click.option("--plan", "with_plan", is_flag=True, help="Colour nodes by what a run would do.")
@click.option("--against", metavar="OTHER", help="Colour what differs from another workflow.")
@click.option(
    "--set", "assigned", multiple=True, metavar="NAME=VALUE", help="Set an input, for --plan."
)
@cache_dir_option
@nodes_option
def command(
    workflow: str,
    output: Path | None,
    as_mermaid: bool,
    with_plan: bool,
    against: str | None,
    assigned: tuple[str, ...],
    cache_dir: Path | None,
    nodes: tuple[Path, ...],
) -> int:
    """Draw WORKFLOW from top to bottom, its loops and parts as frames."""
    as_mermaid = as_mermaid or (output is not None and output.suffix in (".mmd", ".md"))
    endings = (".mmd", ".md") if as_mermaid else (".svg",)
    if output is not None and output.suffix not in endings:
        wanted = "a .mmd or .md file" if as_mermaid else "a .svg or .mmd file"
        raise click.BadParameter(f"{output}: name {wanted}", param_hint="--output")
    if output is not None:
        refuse_unwritable(output, "--output")
    if assigned and not with_plan:
        raise click.UsageError("--set changes what --plan colours: add --plan")
    drawn = open_workflow(workflow)
    graph = drawn.graph
    statuses: dict[str, Status] = {}
    if with_plan:
        statuses |= _planned(drawn, assigned, cache_dir, nodes)
    if against is not None:
        statuses |= _changed(graph.nodes, open_workflow(against).graph.nodes)
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
    output = output or Path(f"{Path(workflow).stem}.svg")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    click.echo(str(output))
    return 0


def _planned(
    workflow: Workflow, assigned: Iterable[str], cache_dir: Path | None, nodes: tuple[Path, ...]
) -> dict[str, Status]:
    """What a run would do, by node; a loop's passes and a frame's nodes taken together."""
    import re

    from graphdiff.engine.session import Session

    statuses: dict[str, Status] = {}
    inputs = from_text.read_assigned(workflow.graph.inputs, assigned)
    plan = Session(cache=cache_dir or True, nodes=nodes).plan(workflow, inputs)
    for call in plan.calls:
        parts = re.sub(r"\[\d+\]", "", call.name).split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            before = statuses.get(name, "skip")
            if before in ("skip", call.status):
                statuses[name] = call.status
            elif call.status != "skip":
                statuses[name] = "mixed"
    return statuses


def _changed(
    nodes: Mapping[str, Element], others: Mapping[str, Element], prefix: str = ""
) -> dict[str, Status]:
    """The nodes that the other workflow has not, or has otherwise; of frames, what is inside."""
    found: dict[str, Status] = {}
    for name, element in nodes.items():
        other = others.get(name)
        if other == element:
            continue
        frame = _without_body(element)
        if frame is None or other is None or frame != _without_body(other):
            found[prefix + name] = "changed"
        if frame is not None and other is not None:
            found |= _changed(_body(element), _body(other), f"{prefix}{name}.")
    return found


def _body(element: Element) -> Mapping[str, Element]:
    if isinstance(element, Part):
        return element.graph.nodes
    return element.nodes if isinstance(element, Loop) else {}


def _without_body(element: Element) -> Element | None:
    """A frame as it is around its nodes; None for what is no frame."""
    if isinstance(element, Part):
        return replace(element, graph=replace(element.graph, nodes={}))
    return replace(element, nodes={}) if isinstance(element, Loop) else None

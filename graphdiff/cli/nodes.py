"""`graphdiff nodes`: list the nodes, or describe one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click

from graphdiff.cli import complete
from graphdiff.cli.common import nodes_option
from graphdiff.graph.names import near
from graphdiff.graph.node import Node
from graphdiff.graph.registry import load_registry
from graphdiff.graph.types import type_name


@click.command("nodes")
@click.argument("name", required=False, shell_complete=complete.node_types)
@click.option("--markdown", is_flag=True, help="Print the whole reference as Markdown.")
@nodes_option
def command(name: str | None, markdown: bool, nodes: tuple[Path, ...]) -> int:
    """List the nodes by module, or describe the node or part NAME."""
    registry = load_registry(nodes)
    if markdown:
        from graphdiff.cli.reference import markdown as reference

        click.echo(reference(registry), nl=False)
        return 0
    if name is None:
        width = max(map(len, [*registry.nodes, *registry.parts]), default=0)
        for module in sorted({n.__module__ for n in registry.nodes.values()}):
            click.echo(f"\n{module}")
            for known, node in registry.nodes.items():
                if node.__module__ == module:
                    click.echo(f"  {known:<{width}}  {node.summary}")
        if registry.parts:
            click.echo("\nparts")
            for known, path in registry.parts.items():
                click.echo(f"  {known:<{width}}  graphdiff expand shows it ({path.name})")
        return 0
    if name in registry.parts:
        click.echo(registry.parts[name].read_text(encoding="utf-8"), nl=False)
        return 0
    if name not in registry.nodes:
        meant = near(name, [*registry.nodes, *registry.parts])
        hint = f": did you mean {meant!r}?" if meant else ": `graphdiff nodes` lists them"
        raise click.ClickException(f"no node {name!r}{hint}")
    click.echo(describe(registry.nodes[name]), nl=False)
    return 0


def describe(node: Node[..., Any]) -> str:
    """A node for people: what it does, its inputs with types and defaults, its outputs."""
    text = inspect.cleandoc(node.__doc__ or "")
    lines = [node.name, "", text.split("\n\nArgs:")[0].split("\n\nReturns:")[0], "", "Inputs"]
    for param in node.params.values():
        default = "" if param.required else f" = {param.default!r}"
        lines.append(f"  {param.name}: {type_name(param.type)}{default}")
        if param.help:
            lines.append(f"      {param.help}")
    lines += ["", "Outputs"]
    lines += [
        f"  {p.name or '(its only output)'}: {type_name(p.type)}" for p in node.ports.values()
    ]
    kinds = {
        "evaluated when the run is planned": node.at == "plan",
        "an effect": node.effect,
        "may run batched over " + ", ".join(node.batch.over if node.batch else ()): bool(
            node.batch
        ),
        f"cache: {node.cache}": node.cache != "auto",
    }
    if stated := [kind for kind, true in kinds.items() if true]:
        lines += ["", "; ".join(stated)]
    return "\n".join(lines) + "\n"

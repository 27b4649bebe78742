"""The node reference in docs/nodes.md, made from the nodes themselves."""

from __future__ import annotations

import inspect
from typing import Any

from graphdiff.graph.node import Node
from graphdiff.graph.registry import Registry
from graphdiff.graph.types import type_name


def markdown(registry: Registry) -> str:
    """Every node by module, with its inputs, defaults and outputs, then the parts."""
    lines = [
        "# Nodes",
        "",
        "Made from the nodes by `graphdiff nodes --markdown`; `graphdiff nodes NAME` shows one.",
    ]
    modules: dict[str, list[Node[..., Any]]] = {}
    for node in registry.nodes.values():
        modules.setdefault(node.__module__, []).append(node)
    for module, nodes in sorted(modules.items()):
        lines += ["", f"## {module.rpartition('.')[2].capitalize()}"]
        for node in nodes:
            lines += ["", *_node(node)]
    if registry.parts:
        lines += ["", "## Parts", "", "Workflows with a name; `graphdiff expand` writes them out."]
        for name, path in registry.parts.items():
            text = path.read_text(encoding="utf-8")
            lines += ["", f"### {name}", "", "```text", text.rstrip("\n"), "```"]
    return "\n".join(lines) + "\n"


def _node(node: Node[..., Any]) -> list[str]:
    text = inspect.cleandoc(node.__doc__ or "").split("\n\nArgs:")[0].split("\n\nReturns:")[0]
    lines = [f"### {node.name}", "", " ".join(text.split("\n")), ""]
    lines += ["| input | type | default | |", "| --- | --- | --- | --- |"]
    for param in node.params.values():
        default = "required" if param.required else f"`{_literal(param.default)}`"
        kind = type_name(param.type).replace("|", "\\|")
        help = param.help.replace("|", "\\|")
        lines.append(f"| `{param.name}` | `{kind}` | {default} | {help} |")
    outputs = [
        f"`{port.name}`: `{type_name(port.type)}`" if port.name else f"`{type_name(port.type)}`"
        for port in node.ports.values()
    ]
    return [*lines, "", f"Gives {', '.join(outputs)}."]


def _literal(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)

"""What a shell may complete: workflows, nodes, and the inputs of the workflow on the line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

_FILES = (".yaml", ".yml", ".png", ".webp", ".jpg", ".jpeg")


def workflows(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped workflows by name, then workflow files, pictures and folders."""
    from graphdiff.shipped import shipped_workflows

    named = [CompletionItem(name) for name in shipped_workflows() if name.startswith(incomplete)]
    return named + list(_files(incomplete))


def shipped(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped workflows by name."""
    from graphdiff.shipped import shipped_workflows

    return _starting(shipped_workflows(), incomplete)


def node_types(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Node types and parts."""
    from graphdiff.graph.registry import load_registry

    registry = load_registry()
    return _starting([*registry.nodes, *registry.parts], incomplete)


def nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The nodes of the workflow on the line."""
    from graphdiff.cli.target import TargetCommand

    target = ctx.command.target if isinstance(ctx.command, TargetCommand) else None
    return _starting(target.workflow.graph.nodes if target else (), incomplete)


def assignments(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """`NAME=` for each input of the workflow on the line."""
    from graphdiff.cli.target import TargetCommand

    target = ctx.command.target if isinstance(ctx.command, TargetCommand) else None
    names = target.workflow.graph.inputs if target else ()
    return _starting([f"{name}=" for name in names], incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _files(incomplete: str) -> Iterable[CompletionItem]:
    folder, slash, start = incomplete.rpartition("/")
    place = Path(folder + slash).expanduser() if slash else Path()
    try:
        entries = sorted(place.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
            if entry.is_dir():
                yield CompletionItem(f"{folder}{slash}{entry.name}/")
            elif entry.suffix.lower() in _FILES:
                yield CompletionItem(f"{folder}{slash}{entry.name}")

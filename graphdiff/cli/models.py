"""`graphdiff models`: list, fetch, inspect and convert checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphdiff.cli.common import any_path
from graphdiff.cli.units import shown_bytes

if TYPE_CHECKING:
    from graphdiff.checkpoints.info import CheckpointInfo


@click.group("models")
def command() -> None:
    """List, fetch, inspect and convert checkpoints."""


@command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def ls(as_json: bool) -> int:
    """List the checkpoints that this machine has by name: name, origin, size, place."""
    from graphdiff.checkpoints.info import listed

    found = listed()
    width = max((len(item.name) for item in found), default=0)
    for item in found:
        if as_json:
            click.echo(_json(asdict(item)))
        else:
            size = shown_bytes(item.size)
            click.echo(f"{item.name:<{width}}  {item.origin:<7}  {size:>9}  {item.path}")
    return 0


@command.command("pull")
@click.argument("name")
@click.option("--revision", help="A branch, tag or commit [default: main].")
@click.option("--variant", help="Weights to prefer, such as fp16.")
@click.option("--subfolder", help="Fetch this folder of the repository only.")
@click.option("--token", envvar="HF_TOKEN", help="Who asks, for gated models [default: $HF_TOKEN].")
def pull(
    name: str,
    revision: str | None,
    variant: str | None,
    subfolder: str | None,
    token: str | None,
) -> int:
    """Fetch the hub id NAME into the hub's local cache: only the files that are needed."""
    from graphdiff.checkpoints.hub import download

    folder = download(
        name, revision=revision, variant=variant, subfolder=subfolder, token=token or None
    )
    click.echo(str(folder))
    return 0


@command.command("info")
@click.argument("name")
@click.option("--revision", help="A branch, tag or commit of a hub id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, revision: str | None, as_json: bool) -> int:
    """Say what the checkpoint NAME holds: its kind, family and models, read from headers alone.

    NAME is a bundled model, a folder, a file or a hub id.
    """
    from graphdiff.checkpoints.info import info as read_info

    if not name.strip():
        raise click.BadParameter("it is empty: `graphdiff models ls` lists some", param_hint="NAME")
    found = read_info(name, revision=revision)
    if as_json:
        click.echo(_json(asdict(found)))
    else:
        _show(found)
    return 0


@command.command("convert")
@click.argument("source", type=any_path)
@click.argument("target", required=False, type=any_path)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def convert(source: Path, target: Path | None, overwrite: bool) -> int:
    """Rewrite the pickled weights of a file or folder as safetensors, without running any code.

    The new files stand beside the old ones, or in TARGET.
    """
    from graphdiff.checkpoints.convert import convert as rewrite

    for item in rewrite(source, target, overwrite=overwrite):
        click.echo(str(item.target))
        click.echo(f"{item.source}: {item.tensors} tensors", err=True)
        if item.left_out:
            click.echo(f"left out, no tensors: {', '.join(item.left_out)}", err=True)
    return 0


def _show(found: CheckpointInfo) -> None:
    facts = {
        "name": found.name,
        "path": str(found.path),
        "kind": found.kind,
        "family": found.family,
        "class": found.class_name,
        "predicts": found.prediction_type,
        "parameters": f"{found.parameters:,}" if found.parameters else "",
        "size": shown_bytes(found.size) if found.size else "",
        "problem": found.problem,
    }
    for what, said in facts.items():
        if said:
            click.echo(f"{what:<10}  {said}")
    width = max((len(part.name) for part in found.parts), default=0)
    for part in found.parts:
        click.echo(
            f"  {part.name:<{width}}  {part.parameters:>13,} parameters  "
            f"{shown_bytes(part.size):>9}  {'/'.join(part.dtypes)}  {part.class_name}".rstrip()
        )


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, default=str, ensure_ascii=False)

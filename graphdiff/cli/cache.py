"""`graphdiff cache`: look into the cache, bound it, check it, empty it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from graphdiff.cli.common import EXIT_FAILED, cache_dir_option
from graphdiff.cli.units import read_age, read_bytes, shown_age, shown_bytes
from graphdiff.engine import maintain
from graphdiff.engine.shelf import LIMIT_BYTES
from graphdiff.paths import cache_directory


@click.group("cache")
def command() -> None:
    """Look into the cache, bound it, check it, empty it."""


@command.command("info")
@cache_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(cache_dir: Path | None, as_json: bool) -> int:
    """Say where the cache is and how much is in it."""
    found = maintain.info(cache_dir or cache_directory())
    if as_json:
        click.echo(json.dumps(asdict(found) | {"folder": str(found.folder)}))
        return 0
    click.echo(f"folder   {found.folder}")
    click.echo(f"entries  {found.entries}")
    click.echo(f"size     {shown_bytes(found.bytes)} of {shown_bytes(found.limit_bytes)}")
    return 0


@command.command("ls")
@click.argument("pattern", default="*")
@cache_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def ls(pattern: str, cache_dir: Path | None, as_json: bool) -> int:
    """List the stored calls, the last used first: name, node, size, what it took, workflow.

    PATTERN chooses by name, node, workflow or key; `*` and `?` stand for anything.
    """
    found = maintain.ls(cache_dir or cache_directory(), pattern)
    for entry in found:
        if as_json:
            click.echo(json.dumps(asdict(entry)))
            continue
        age = shown_age(time.time() - entry.used)
        click.echo(
            f"{entry.key[:12]}  {entry.name:<28} {entry.node:<16} {shown_bytes(entry.bytes):>9} "
            f"{entry.seconds:>8.2f} s  {age:>8}  {entry.workflow}"
        )
    return 0


@command.command("prune")
@cache_dir_option
@click.option("--max-size", metavar="SIZE", help="Keep at most so much, as in 500M or 2G.")
@click.option("--older-than", metavar="AGE", help="Throw out what was not used for so long: 30d.")
def prune(cache_dir: Path | None, max_size: str | None, older_than: str | None) -> int:
    """Throw out what was not used for longest."""
    limit = LIMIT_BYTES if max_size is None else read_bytes(max_size, "--max-size")
    age = None if older_than is None else read_age(older_than, "--older-than")
    gone = maintain.prune(cache_dir or cache_directory(), limit, older_than_seconds=age)
    click.echo(f"{gone.entries} entries thrown out, {shown_bytes(gone.bytes)} freed")
    return 0


@command.command("clear")
@cache_dir_option
def clear(cache_dir: Path | None) -> int:
    """Throw everything out."""
    from graphdiff.engine.history import forget

    folder = cache_dir or cache_directory()
    gone = maintain.clear(folder)
    forget(folder)
    click.echo(f"{gone.entries} entries thrown out, {shown_bytes(gone.bytes)} freed")
    return 0


@command.command("verify")
@cache_dir_option
def verify(cache_dir: Path | None) -> int:
    """Check every byte, and throw out what is damaged."""
    found = maintain.verify(cache_dir or cache_directory())
    for damage in found.damaged:
        click.echo(f"{damage.path}: {damage.reason}", err=True)
    click.echo(f"{found.files} files checked, {len(found.damaged)} damaged and thrown out")
    return EXIT_FAILED if found.damaged else 0

"""The options of the commands that plan or run, and what they mean to a session."""

from __future__ import annotations

from typing import Any

import click

from graphdiff.cli import complete
from graphdiff.cli.common import existing_path, folder_path


def session_parameters() -> list[click.Parameter]:
    """The options of every command that plans or runs."""
    return [
        click.Option(
            ["--set", "assigned"],
            multiple=True,
            metavar="NAME=VALUE",
            shell_complete=complete.assignments,
            help="Set an input, whatever its name.",
        ),
        click.Option(
            ["--sweep"],
            multiple=True,
            metavar="NAME=VALUES",
            shell_complete=complete.assignments,
            help="Run for several values: 0..7, 1,2,3, JSON, @file, or one text each time.",
        ),
        click.Option(
            ["--target", "targets"],
            multiple=True,
            metavar="NODE",
            shell_complete=complete.nodes,
            help="Compute only this node and what it needs.",
        ),
        click.Option(
            ["--device"],
            default="auto",
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            help="What to compute on.",
        ),
        click.Option(
            ["--dtype"],
            default="auto",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            help="What to compute in.",
        ),
        click.Option(
            ["--compile"],
            is_flag=True,
            help="Compile UNets: a minute at first, faster from then on.",
        ),
        click.Option(
            ["--output-dir"],
            default="outputs",
            type=folder_path,
            help="Where files go [default: outputs].",
        ),
        click.Option(["--exact"], is_flag=True, help="Never batch: the same bits every time."),
        click.Option(["--no-cache"], is_flag=True, help="Compute everything, keep nothing."),
        click.Option(
            ["--cache-dir"],
            type=folder_path,
            help="The cache folder [default: $GRAPHDIFF_CACHE, else the user's].",
        ),
        click.Option(["--no-metadata"], is_flag=True, help="Pictures say nothing of their origin."),
        click.Option(
            ["--nodes"],
            multiple=True,
            type=existing_path,
            metavar="FILE_OR_DIR",
            help="Load the nodes of a Python file or folder too.",
        ),
    ]


def session_options(values: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a session out of a command's, as arguments of `Session`."""
    cache_dir, no_cache = values.pop("cache_dir"), values.pop("no_cache")
    if no_cache and cache_dir:
        raise click.UsageError("--no-cache and --cache-dir exclude each other")
    return {
        "cache": False if no_cache else cache_dir or True,
        "output_dir": values.pop("output_dir"),
        "device": values.pop("device"),
        "dtype": values.pop("dtype"),
        "compile": values.pop("compile"),
        "exact": values.pop("exact"),
        "metadata": not values.pop("no_metadata"),
        "nodes": values.pop("nodes"),
    }


def refuse_missing_device(device: str) -> None:
    """Refuse to run on a device that is not here, before anything is loaded.

    Raises:
        click.BadParameter: there is no such device.
    """
    if device in ("auto", "cpu"):
        return
    from graphdiff.checkpoints.devices import resolve_device

    best = resolve_device()
    if device != best:
        raise click.BadParameter(
            f"torch sees no {device} device on this machine: use {best}", param_hint="--device"
        )

"""Accounts of the runs that filled a cache, kept beside it, to tell later why a call runs again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from graphdiff.engine.account import Account, NodeAccount, account_of
from graphdiff.engine.events import Event, NodeCached, NodeFailed, NodeFinished, NodeSkipped
from graphdiff.engine.origin import folded
from graphdiff.engine.program import Program
from graphdiff.paths import write_atomically

_MOST_RUNS = 64
_MOST_POINTS = 8
_FOLDER = "runs"
_FORMAT = 1  # raised when accounts say something otherwise: those of another are passed over
_FIELDS = tuple(field.name for field in dataclasses.fields(NodeAccount))


def record(folder: Path, program: Program, events: Iterable[Event], *, complete: bool) -> None:
    """Keep the accounts of a run's points.

    Args:
        folder: The cache.
        program: The run.
        events: What happened.
        complete: Whether all that was to run has run.
    """
    files = program.linker.calls.files
    for point in program.points[:_MOST_POINTS]:
        account = account_of(point.scope, files)
        if not complete:
            account = _done(account, events, point.scope.prefix)
        if account:
            _write(folder / _FOLDER, account, program.workflow.graph.name)
    _bound(folder / _FOLDER)


def accounts(folder: Path) -> Iterator[tuple[str, Account]]:
    """The workflows' names and accounts of earlier runs, the last one first."""
    for file in _by_age(folder / _FOLDER)[:_MOST_RUNS]:
        try:
            told = json.loads(file.read_bytes())
            if told["format"] != _FORMAT:
                continue
            nodes = {name: _read(node) for name, node in told["nodes"].items()}
            yield str(told["workflow"]), nodes
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # gone meanwhile, damaged, or of another version


def forget(folder: Path) -> None:
    """Throw all of them out."""
    for file in _by_age(folder / _FOLDER):
        file.unlink(missing_ok=True)


def _done(account: Account, events: Iterable[Event], prefix: str) -> dict[str, NodeAccount]:
    """What is left of an account without the calls that did not come to an end."""
    ended: set[str] = set()
    failed: set[str] = set()
    for event in events:
        if isinstance(event, NodeFinished | NodeCached):
            ended.add(folded(event.node.removeprefix(prefix)))
        elif isinstance(event, NodeFailed | NodeSkipped):
            failed.add(folded(event.node.removeprefix(prefix)))
    run = {name for name, node in account.items() if node.sources and node.type != "Loop"}
    left = ended - failed
    return {n: node for n, node in account.items() if n in left or (n not in run | failed)}


def _write(folder: Path, account: Account, workflow: str) -> None:
    nodes = {n: {name: getattr(node, name) for name in _FIELDS} for n, node in account.items()}
    text = json.dumps(
        {"format": _FORMAT, "workflow": workflow, "nodes": nodes}, separators=(",", ":")
    )
    name = blake2b(text.encode(), digest_size=12).hexdigest()
    with contextlib.suppress(OSError):  # the cache is full or read-only, which its store tells
        file = folder / f"{name}.json"
        if file.exists():
            os.utime(file)
        else:
            write_atomically(file, text.encode())


def _bound(folder: Path) -> None:
    """Throw the oldest out, several at a time: to look how old all of them are takes a while."""
    with contextlib.suppress(OSError):
        if len(os.listdir(folder)) <= _MOST_RUNS + _MOST_RUNS // 4:
            return
    for file in _by_age(folder)[_MOST_RUNS:]:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def _by_age(folder: Path) -> list[Path]:
    """The files of a folder, the youngest first."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
    except OSError:
        return []
    return [Path(path) for _, path in sorted(found, reverse=True)]


def _read(node: Any) -> NodeAccount:  # noqa: ANN401 - JSON data
    return NodeAccount(
        node["type"],
        node["key"],
        node["made_by"],
        node["stated"],
        tuple(node["sources"]),
        node["found"],
        tuple(node["defaulted"]),
    )

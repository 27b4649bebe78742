"""What a run tells those who watch it, as frozen data; bars, logs and reports are made of it.

What is told of each call are named tuples, which are made quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins.

    Args:
        workflow: The workflow's name.
        run: How many calls will run, as far as is known.
        cached: How many were found in the cache.
        points: How many sets of inputs it is for.
    """

    workflow: str
    run: int
    cached: int
    points: int = 1


class NodeStarted(NamedTuple):
    """A call begins, alone or with others that run as one.

    Attributes:
        node: The call, such as `denoise[3].cond`; in a sweep, the point stands before it.
        type: The node's type.
        batch: How many calls run as one.
    """

    node: str
    type: str
    batch: int = 1


class NodeFinished(NamedTuple):
    """A call is done; `seconds` is its share of the time that its batch took."""

    node: str
    type: str
    seconds: float
    batch: int = 1


class NodeCached(NamedTuple):
    """A call need not run: it, or everything that needs it, was found in the cache."""

    node: str
    type: str


class NodeFailed(NamedTuple):
    """A call raised an error."""

    node: str
    type: str
    error: BaseException
    seconds: float = 0.0


class NodeSkipped(NamedTuple):
    """A call cannot run, since `cause`, which it depends on, failed."""

    node: str
    type: str
    cause: str


class LoopProgress(NamedTuple):
    """A pass of a loop has ended.

    Attributes:
        loop: The loop, such as `denoise`.
        done: How many passes have ended.
        total: Of how many; None while that is unknown.
    """

    loop: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run is over, complete or not.

    Args:
        ran: How many calls ran.
        cached: How many were found in the cache, or not needed because of that.
        failed: How many failed.
        skipped: How many could not run because something failed.
        seconds: What all of it took.
        files: The files that effects wrote, or had written before.
        interrupted: Whether it was stopped.
    """

    ran: int
    cached: int
    failed: int
    skipped: int
    seconds: float
    files: tuple[Path, ...] = ()
    interrupted: bool = False


Event: TypeAlias = (
    RunStarted
    | NodeStarted
    | NodeFinished
    | NodeCached
    | NodeFailed
    | NodeSkipped
    | LoopProgress
    | RunFinished
)
Watcher: TypeAlias = Callable[[Event], None]


def to_json(event: Event) -> dict[str, Any]:
    """An event as JSON data, as `graphdiff run --json` prints it."""
    match event:
        case RunStarted(workflow, run, cached, points):
            return {
                "event": "start",
                "workflow": workflow,
                "run": run,
                "cached": cached,
                "points": points,
            }
        case NodeStarted(node, kind, batch):
            return _node(node, kind, "started") | {"batch": batch}
        case NodeFinished(node, kind, seconds, batch):
            return _node(node, kind, "finished") | {"seconds": round(seconds, 6), "batch": batch}
        case NodeCached(node, kind):
            return _node(node, kind, "cached")
        case NodeFailed(node, kind, error, seconds):
            return _node(node, kind, "failed") | {
                "seconds": round(seconds, 6),
                "error": str(error),
            }
        case NodeSkipped(node, kind, cause):
            return _node(node, kind, "skipped") | {"cause": cause}
        case LoopProgress(loop, done, total):
            return {"event": "step", "loop": loop, "done": done, "total": total}
        case RunFinished():
            return {
                "event": "summary",
                "ran": event.ran,
                "cached": event.cached,
                "failed": event.failed,
                "skipped": event.skipped,
                "seconds": round(event.seconds, 6),
                "files": [str(file) for file in event.files],
                **({"interrupted": True} if event.interrupted else {}),
            }


def _node(node: str, kind: str, status: str) -> dict[str, Any]:
    return {"event": "node", "node": node, "type": kind, "status": status}

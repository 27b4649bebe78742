"""Why a call would run again: what differs from the nearest run that the cache remembers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from graphdiff.engine.account import MOST_NODES, Account, account_of, root_of
from graphdiff.engine.causes import Causes, above, causes, matched
from graphdiff.engine.history import accounts
from graphdiff.engine.origin import folded
from graphdiff.engine.plan import Plan, PlannedCall
from graphdiff.engine.store import Store, Tiered
from graphdiff.engine.task import Task


@dataclass(frozen=True, slots=True)
class Why:
    """Why a call has the status that it has.

    Args:
        call: The call.
        reasons: One line each, in the order of the workflow.
        nearest: The workflow of the run that it was compared with, if there was any.
        status: What is planned for it: that of the call, or that it is evaluated with each plan.
    """

    call: PlannedCall
    reasons: tuple[str, ...]
    nearest: str = ""
    status: str = ""

    def __str__(self) -> str:
        lines = [f"{self.call.name} ({self.call.type}): {self.status or self.call.status}"]
        return "\n".join([*lines, *(f"  {reason}" for reason in self.reasons)])


def why(plan: Plan, node: str, store: Store) -> Why:
    """Why a call would run again, or not.

    Args:
        plan: The plan that it is part of.
        node: Its name, such as `denoise[3].cond`; of a loop's node without a pass, the first pass
            that would run. A loop, a part or a node that is evaluated with the plan may be asked
            for as well.
        store: The cache that the plan was made with.

    Raises:
        KeyError: nothing in the plan has this name; the message names what there is.
    """
    call = _find(plan, node)
    if call is None:
        return _of_plan_node(plan, node, store)
    if call.status == "skip":
        return Why(call, ("nothing that runs needs it",))
    if call.status == "cached":
        found = call.key and store.has(call.key)
        said = "it is in the cache" if found else "what needs it is in the cache, so it is not run"
        return Why(call, (said,))
    if call.task is None:
        return Why(call, ("whether it runs depends on values that only the run gives",))
    if call.task.fresh:
        return Why(call, (_freshness(call.task),))
    account = account_of(root_of(call.task), plan.files)
    name = folded(call.name.removeprefix(root_of(call.task).prefix))
    around = folded(node.rpartition("/")[2]) + "."
    whole = [one for one in account if one.startswith(around)] if name.startswith(around) else []
    reasons, nearest = _compared(account, whole or [name], store)
    return Why(call, reasons, nearest)


def _of_plan_node(plan: Plan, node: str, store: Store) -> Why:
    """Why a node gives something else that is evaluated with the plan."""
    label, _, name = node.rpartition("/")
    names = dict.fromkeys(folded(call.name) for call in plan.calls)
    for call in plan.calls:
        if call.task is None or (label and not call.name.startswith(f"{label}/")):
            continue
        account = account_of(root_of(call.task), plan.files)
        if name in account:
            kind = account[name].type
            reasons, nearest = _compared(account, [name], store)
            return Why(PlannedCall(node, kind, "run"), reasons, nearest, "evaluated with each plan")
        names |= dict.fromkeys(account)
        break
    raise KeyError(f"the plan has no call {node!r}; it has {', '.join(names)}")


def _compared(account: Account, names: list[str], store: Store) -> tuple[tuple[str, ...], str]:
    """What differs from the nearest run, for what gives these nodes."""
    kind = account[names[0]].type if names[0] in account else ""
    disk = store.disk if isinstance(store, Tiered) else store
    folder: Path | None = getattr(disk, "folder", None)
    if folder is None:
        return ("there is no cache on disk that would remember an earlier run",), ""
    if not account:
        return (f"the workflow has more than {MOST_NODES} nodes, too many to compare",), ""
    now = above(account, names)
    best: tuple[int, Causes, str] | None = None
    for workflow, earlier in accounts(folder):
        before = matched(earlier, account)
        was = [before[name] for name in names if name in before]
        if not was or earlier[was[0]].type != kind:
            continue
        found = causes(above(earlier, was), now)
        weight = len(found.lines())
        if best is None or weight < best[0]:
            best = weight, found, workflow
        if all(earlier[before[n]].key == account[n].key for n in names if n in before):
            said = "it was computed before, but what it gave is not in the cache now"
            return (said,), workflow
    if best is None:
        return (f"no earlier run of {kind} is in the cache",), ""
    return best[1].lines() or ("what it is made of was computed otherwise",), best[2]


def _freshness(task: Task) -> str:
    waiting, seen = [task], {task.key}
    while waiting:
        current = waiting.pop()
        if current.kind.cache == "never":
            if current is task:
                return "its node is never cached"
            return f"it depends on {current.name}, whose node is never cached"
        for wire in current.sources():
            if wire.task.fresh and wire.task.key not in seen:
                seen.add(wire.task.key)
                waiting.append(wire.task)
    return "it depends on something that is never cached"


def _find(plan: Plan, node: str) -> PlannedCall | None:
    """The call of this name; of several passes, or what is in a loop or part, the first to run."""
    by_name = [c for c in plan.calls if c.name == node]
    if by_name:
        return by_name[0]
    plain = [c for c in plan.calls if folded(c.name) == node]
    if plain:
        return next((c for c in plain if c.status == "run"), plain[0])
    beginning = re.compile(re.escape(node) + r"(\[\d+\])?\.")
    inside = [c for c in plan.calls if beginning.match(c.name) or beginning.match(folded(c.name))]
    return next((c for c in inside if c.status == "run"), inside[0]) if inside else None

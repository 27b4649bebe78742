"""What two workflows compute differently: nodes matched by what they compute, then by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphdiff.engine.compare import differences
from graphdiff.engine.plan import Plan, PlannedCall
from graphdiff.engine.task import Task

_MOST = 5  # differences of one argument that are told


@dataclass(frozen=True, slots=True)
class Changed:
    """A node that computes something else.

    Args:
        name: Its name, without passes of loops.
        reasons: What differs in itself; empty if only what it is given differs.
        because: The nodes that give it something else.
    """

    name: str
    reasons: tuple[str, ...]
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two workflows.

    Args:
        same: How many nodes compute the same in both.
        renamed: Nodes that compute the same under another name: the old name, the new one.
        changed: Nodes of one name that compute something else.
        removed: Nodes that only the first has.
        added: Nodes that only the second has.
        rerun: Calls of the second that the first did not make.
    """

    same: int
    renamed: tuple[tuple[str, str], ...]
    changed: tuple[Changed, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    rerun: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.renamed or self.changed or self.removed or self.added)

    def __str__(self) -> str:
        return "\n".join(self.lines()) or "they compute the same"

    def lines(self) -> Iterable[str]:
        """What differs, for people."""
        for changed in self.changed:
            if changed.reasons:
                yield f"~ {changed.name}"
                yield from (f"    {reason}" for reason in changed.reasons)
        for changed in self.changed:
            if not changed.reasons:
                yield f"~ {changed.name}, because of {', '.join(changed.because) or 'its inputs'}"
        for old, new in self.renamed:
            yield f"= {old} is now called {new}"
        yield from (f"- {name}" for name in self.removed)
        yield from (f"+ {name}" for name in self.added)
        if self.rerun:
            yield f"{len(self.rerun)} of its calls would have to run again"


def diff(first: Plan, second: Plan) -> Diff:
    """What the second of two plans computes that the first does not.

    Args:
        first: The plan of one workflow, as `Session.plan` gives it.
        second: That of the other.
    """
    old, new = _by_name(first.calls), _by_name(second.calls)
    keys_of = {name: tuple(c.key for c in calls) for name, calls in old.items()}
    by_keys = {keys: name for name, keys in keys_of.items()}
    known = {call.key for call in first.calls if call.key}
    matched: dict[str, str] = {}
    for name, calls in new.items():
        keys = tuple(call.key for call in calls)
        if keys_of.get(name) == keys:
            matched[name] = name
    for name, calls in new.items():
        other = by_keys.get(tuple(call.key for call in calls))
        if name not in matched and other is not None and other not in matched.values():
            matched[name] = other
    changed = [
        _changed(name, old[name], calls, known)
        for name, calls in new.items()
        if name not in matched and name in old and name not in matched.values()
    ]
    compared = {one.name for one in changed}
    return Diff(
        same=len(matched),
        renamed=tuple((was, name) for name, was in matched.items() if was != name),
        changed=tuple(changed),
        removed=tuple(n for n in old if n not in matched.values() and n not in compared),
        added=tuple(n for n in new if n not in matched and n not in compared),
        rerun=tuple(c.name for c in second.calls if c.key and c.key not in known),
    )


def _by_name(calls: Sequence[PlannedCall]) -> dict[str, list[PlannedCall]]:
    """Calls by the node's name, those of all passes of a loop together, without skipped ones."""
    found: dict[str, list[PlannedCall]] = {}
    for call in calls:
        if call.status != "skip" and call.task is not None:
            found.setdefault(re.sub(r"\[\d+\]", "", call.name), []).append(call)
    return found


def _changed(
    name: str, old: Sequence[PlannedCall], new: Sequence[PlannedCall], known: set[str]
) -> Changed:
    reasons: dict[str, None] = {}
    because: dict[str, None] = {}
    if len(old) != len(new):
        reasons[f"{len(old)} calls -> {len(new)} calls"] = None
    for was, now in zip(old, new, strict=False):
        if was.key == now.key or was.task is None or now.task is None:
            continue
        for reason in _reasons(was.task, now.task):
            reasons[reason] = None
        for wire in now.task.sources():
            if wire.task.key not in known:
                because[re.sub(r"\[\d+\]", "", wire.task.name)] = None
    because.pop(name, None)
    return Changed(name, tuple(reasons)[:_MOST], tuple(because))


def _reasons(old: Task, new: Task) -> Iterable[str]:
    if old.kind.node.name != new.kind.node.name:
        yield f"type: {old.kind.node.name} -> {new.kind.node.name}"
        return
    if old.kind.identity != new.kind.identity:
        yield "the code of its node changed"
    was, now = dict(old.wires), dict(new.wires)
    for i, name in enumerate(new.kind.names):
        if i >= len(old.args):
            continue
        if i in was and i in now:
            continue
        if i in was or i in now:
            before = f"${was[i].task.name}" if i in was else repr(old.args[i])
            after = f"${now[i].task.name}" if i in now else repr(new.args[i])
            yield f"{name}: {before} -> {after}"
        elif old.tokens[i] != new.tokens[i] and not (old.nested or new.nested):
            found = list(differences(old.args[i], new.args[i], name))
            yield from found[:_MOST] or [f"{name}: the content differs"]

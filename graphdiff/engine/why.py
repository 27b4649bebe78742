"""Why a call would run again: what differs from the nearest call in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphdiff.engine.keep import recipe_of
from graphdiff.engine.plan import Plan, PlannedCall
from graphdiff.engine.store import Meta, Store, Tiered
from graphdiff.engine.task import Task


@dataclass(frozen=True, slots=True)
class Why:
    """Why a call has the status that it has.

    Args:
        call: The call.
        reasons: One line each, what matters most first.
        nearest: The call in the cache that it was compared with, if there was any.
    """

    call: PlannedCall
    reasons: tuple[str, ...]
    nearest: str = ""

    def __str__(self) -> str:
        lines = [f"{self.call.name} ({self.call.type}): {self.call.status}"]
        return "\n".join([*lines, *(f"  {reason}" for reason in self.reasons)])


def why(plan: Plan, node: str, store: Store) -> Why:
    """Why a call would run again, or not.

    Args:
        plan: The plan that it is part of.
        node: Its name, such as `denoise[3].cond`; of a loop's node without a pass, the first pass
            that would run.
        store: The cache that the plan was made with.

    Raises:
        KeyError: no call of the plan has this name; the message names those there are.
    """
    call = _find(plan, node)
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
    history = History(store)
    return _explained(call, call.task, history)


class History:
    """What the cache says of earlier calls."""

    def __init__(self, store: Store) -> None:
        self._disk = store.disk if isinstance(store, Tiered) else store
        self._folder = getattr(self._disk, "folder", None)
        self._metas: dict[str, list[tuple[str, Meta]]] = {}

    def meta(self, key: str) -> Meta | None:
        """What is known of one call."""
        return self._disk.meta(key)

    def of(self, node: str) -> list[tuple[str, Meta]]:
        """The calls of a node, by key."""
        if self._folder is None:
            return []
        if node not in self._metas:
            from graphdiff.engine.maintain import ls

            listed = [entry for entry in ls(self._folder, node) if entry.node == node]
            found = [(entry.key, self._disk.meta(entry.key)) for entry in listed]
            self._metas[node] = [(key, meta) for key, meta in found if meta is not None]
        return self._metas[node]

    def nearest(self, task: Task) -> tuple[str, Meta] | None:
        """The call of the same node whose recipe has most in common, by name and arguments."""
        recipe = recipe_of(task)
        candidates = self.of(task.kind.node.name)
        if not candidates:
            return None
        return max(candidates, key=lambda c: _likeness(task.name, recipe, c[1]))


def _explained(call: PlannedCall, task: Task, history: History) -> Why:
    """Follow what changed upwards, to the calls whose own arguments or code differ."""
    start = history.nearest(task)
    if start is None:
        return Why(call, (f"no earlier run of {call.type} is in the cache",))
    key, meta = start
    if key == task.key:
        return Why(call, ("it was computed before, but what it gave is not in the cache now",))
    reasons: list[str] = []
    waiting: list[tuple[Task, Meta]] = [(task, meta)]
    seen: set[str] = {task.key}
    while waiting:
        current, before = waiting.pop(0)
        recipe = recipe_of(current)
        prefix = "" if current is task else f"{current.name} changed: "
        reasons += [prefix + said for said in _own(recipe, before.recipe)]
        sources = {wire.task.key: wire.task for wire in current.sources()}
        for new, old in _sources(recipe, before.recipe):
            source = sources.get(new["key"])
            if source is None or source.key in seen:
                continue
            seen.add(source.key)
            earlier = history.meta(old["key"]) if old else None
            if earlier is None and (found := history.nearest(source)) is not None:
                earlier = found[1] if found[0] != source.key else None
            if earlier is None:
                reasons.append(f"{source.name} is not in the cache")
            elif earlier.recipe:
                waiting.append((source, earlier))
    if not reasons:
        reasons.append("what it is made of was computed otherwise")
    return Why(call, tuple(dict.fromkeys(reasons)), meta.name)


def _own(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterable[str]:
    """What differs in a call itself: its node's code, its literal arguments, its wiring."""
    new, old = now["node"], before.get("node", {})
    if new["version"] != old.get("version"):
        yield f"its package's version: {old.get('version') or 'none'} -> {new['version'] or 'none'}"
    if new["source"] != old.get("source"):
        yield "the code of its node, or of something that it imports, changed"
    if new["torch"] != old.get("torch"):
        yield f"torch: {old.get('torch') or 'none'} -> {new['torch'] or 'none'}"
    arguments = before.get("args", {})
    for name, arg in now["args"].items():
        was = arguments.get(name, {})
        if "value" in arg and "value" in was:
            if arg["value"] != was["value"]:
                yield f"{name}: {was['value']!r} -> {arg['value']!r}"
        elif "value" in arg:
            yield f"{name}: {_source(was)} -> {arg['value']!r}"
        elif "value" in was:
            yield f"{name}: {was['value']!r} -> {_source(arg)}"


def _sources(
    now: Mapping[str, Any], before: Mapping[str, Any]
) -> Iterable[tuple[Mapping[str, str], Mapping[str, str] | None]]:
    """The sources of arguments that are not those of the earlier call, each with what it was."""
    arguments = before.get("args", {})
    for name, arg in now["args"].items():
        was = arguments.get(name, {})
        new = arg.get("sources") or ([arg] if "key" in arg else [])
        old = was.get("sources") or ([was] if "key" in was else [])
        for i, source in enumerate(new):
            other = old[i] if i < len(old) else None
            if other is None or other["key"] != source["key"]:
                yield source, other


def _source(arg: Mapping[str, Any]) -> str:
    if "from" in arg:
        return f"${arg['from']}" + (f".{arg['port']}" if arg["port"] else "")
    return "several nodes" if "sources" in arg else "nothing"


def _likeness(name: str, recipe: Mapping[str, Any], meta: Meta) -> tuple[int, bool]:
    before = meta.recipe.get("args", {})
    same = sum(before.get(arg) == value for arg, value in recipe["args"].items())
    return same + 2 * (meta.name == name), meta.name == name


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


def _find(plan: Plan, node: str) -> PlannedCall:
    import re

    by_name = [c for c in plan.calls if c.name == node]
    if by_name:
        return by_name[0]
    plain = [c for c in plan.calls if re.sub(r"\[\d+\]", "", c.name) == node]
    if plain:
        return next((c for c in plain if c.status == "run"), plain[0])
    inside = [c for c in plan.calls if c.name.startswith((f"{node}[", f"{node}."))]
    if inside:
        return next((c for c in inside if c.status == "run"), inside[0])
    names = ", ".join(dict.fromkeys(re.sub(r"\[\d+\]", "", c.name) for c in plan.calls))
    raise KeyError(f"the plan has no call {node!r}; it has {names}")

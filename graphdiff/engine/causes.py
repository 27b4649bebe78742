"""Why one account computes something else than another: the smallest set of causes, in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphdiff.engine.account import Account, Leaves, NodeAccount
from graphdiff.engine.compare import brief, differences

_MOST = 5  # differences of one argument that are told


@dataclass(frozen=True, slots=True)
class Causes:
    """What differs between two accounts.

    Args:
        same: How many nodes compute the same in both.
        changed: What was changed, one line each: `inputs.guidance: 5.0 -> 3.0`.
        added: Nodes that only the second has, with what they are given.
        removed: Nodes that only the first has.
        renamed: Nodes of the second that have another name in the first: the old one, the new one.
        follows: Nodes that compute something else because of all that.
    """

    same: int
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    follows: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """All that was done, each as one line."""
        return (
            *self.changed,
            *(f"added: {node}" for node in self.added),
            *(f"removed: {node}" for node in self.removed),
        )


def causes(old: Account, new: Account) -> Causes:
    """Why the second of two accounts computes something else than the first."""
    before = matched(old, new)
    was = {name: old[before[name]] for name in new if name in before}
    changed = {name for name, node in was.items() if node.key != new[name].key}
    told: dict[str, None] = {}
    code: list[str] = []
    follows: list[str] = []
    for name, node in new.items():
        if name not in changed:
            continue
        own = _Own(was[name], node, name, before, old, new)
        reasons = [*own.provider(), *own.arguments()]
        beneath = any(source in changed or source not in before for source in node.sources)
        lost = any(source not in before.values() for source in was[name].sources)
        if not beneath and not lost:
            reasons += own.found(whole=not reasons)
        told |= dict.fromkeys(reasons)
        if own.code:
            code.append(name)
        elif not reasons:
            follows.append(name)
            if not beneath and not lost and node.type != "Loop":
                told[f"{name}: what it is made of was computed otherwise"] = None
    if code:
        told[f"the code of {_some(code)}, or of what it imports"] = None
    gone = [name for name in old if name not in before.values()]
    return Causes(
        same=len(was) - len(changed),
        changed=tuple(told),
        added=tuple(_grouped([n for n in new if n not in before], new, was, given=True)),
        removed=tuple(_grouped(gone, old, before.values(), given=False)),
        renamed=tuple((one, name) for name, one in before.items() if one != name),
        follows=tuple(name for name in follows if new[name].type != "Loop"),
    )


def matched(old: Account, new: Account) -> dict[str, str]:
    """The node of the first account that each node of the second stands for.

    By what they compute, then by name, then by what is left of their names without what is around
    them, where only one of a type is so called: a part that was written out has its nodes there.
    """
    found = {n: n for n, node in new.items() if n in old and old[n].key == node.key}
    left = {name: node for name, node in old.items() if name not in found}

    def match(name: str, other: str) -> None:
        found[name] = other
        del left[other]

    equal = _by(left, lambda name: (left[name].key, left[name].type))
    for name, node in new.items():
        if name not in found and (others := equal.get((node.key, node.type))):
            match(name, others.pop(0))
    for name, node in new.items():
        if name not in found and name in left and left[name].type == node.type:
            match(name, name)
    rest = {name: node for name, node in new.items() if name not in found}
    alike = _by(left, lambda name: (left[name].type, name.rpartition(".")[2]))
    for short, names in _by(rest, lambda name: (rest[name].type, name.rpartition(".")[2])).items():
        if len(names) == 1 and len(alike.get(short, ())) == 1:
            match(names[0], alike[short][0])
    for name in new:
        if name not in found and name in left:
            match(name, name)
    return found


def above(account: Account, names: Sequence[str]) -> dict[str, NodeAccount]:
    """These nodes and everything that they read, in the account's order."""
    seen = set(names)
    waiting = list(names)
    while waiting:
        for source in account[waiting.pop()].sources:
            if source in account and source not in seen:
                seen.add(source)
                waiting.append(source)
    return {name: node for name, node in account.items() if name in seen}


def _by(
    names: Iterable[str], group: Callable[[str], tuple[str, str]]
) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        found.setdefault(group(name), []).append(name)
    return found


class _Own:
    """What differs in a node itself, whatever it reads.

    Attributes:
        code: Whether its code does.
    """

    def __init__(
        self,
        was: NodeAccount,
        now: NodeAccount,
        name: str,
        before: Mapping[str, str],
        old: Account,
        new: Account,
    ) -> None:
        self.code = False
        self._was, self._now, self._name = was, now, name
        self._before = before
        self._kept = set(before.values())
        self._old, self._new = old, new

    def provider(self) -> Iterator[str]:
        """What computes it: its type, versions; its code is noted."""
        was, now = self._was, self._now
        if was.type != now.type:
            yield f"{self._name}: {was.type} -> {now.type}"
            return
        versions = 0
        for name in dict.fromkeys([*was.made_by, *now.made_by]):
            one, two = was.made_by.get(name, "none"), now.made_by.get(name, "none")
            if one == two:
                continue
            if name == "code":
                self.code = not versions
            else:
                versions += 1
                yield f"{name}: {one} -> {two}"

    def arguments(self) -> Iterator[str]:
        """What it is given."""
        if self._was.type != self._now.type:
            return
        for argument in dict.fromkeys([*self._was.stated, *self._now.stated]):
            one = self._renamed(self._was.stated.get(argument, {}))
            two = self._now.stated.get(argument, {})
            silent = [not one or argument in self._was.defaulted]
            silent.append(not two or argument in self._now.defaulted)
            if one == two or (all(silent) and set(one) != set(two)):
                continue
            if set(one) == set(two):
                for place in two:
                    yield from self._leaf(place, one[place], two[place])
            else:
                yield from self._leaves(f"{self._name}.{argument}", one, two)

    def found(self, *, whole: bool) -> Iterator[str]:
        """What was found otherwise in the world; without `whole`, only files."""
        was, now = self._was.found, self._now.found
        alike: dict[tuple[str, str], list[str]] = {}
        for place in now:
            if place not in was or was[place] == now[place]:
                continue
            if place.startswith("file "):
                one, two = was[place][:8], now[place][:8]
                file = place.removeprefix("file ")
                yield f"{self._name}: {file} holds other bytes ({one} -> {two})"
            elif whole:
                (said, *_) = differences(was[place], now[place], "")
                alike.setdefault((place.rpartition(".")[2], said), []).append(place)
        for (field, said), places in list(alike.items())[:_MOST]:
            where = places[0] if len(places) == 1 else field
            yield f"{self._name}.{where}{said}"

    def _renamed(self, leaves: Leaves) -> Leaves:
        """What was stated before, with the names of now."""
        names = {one: name for name, one in self._before.items() if one != name}
        if not names:
            return leaves

        def wire(text: str) -> str:
            parts = text.split(".")
            for length in range(len(parts), 0, -1):
                node = ".".join(parts[:length])
                if node in names:
                    return ".".join([names[node], *parts[length:]])
                if node in self._old:
                    break
            return text

        return {
            wire(place): {"from": [wire(text) for text in leaf["from"]]} if "from" in leaf else leaf
            for place, leaf in leaves.items()
        }

    def _leaf(self, place: str, one: Any, two: Any) -> Iterator[str]:  # noqa: ANN401 - JSON data
        if one == two:
            return
        if "is" in one and "is" in two:
            yield from list(differences(one["is"], two["is"], place))[:_MOST]
        elif not self._follows_nodes(one, two):
            yield f"{place}: {_said(one)} -> {_said(two)}"

    def _leaves(self, place: str, one: Leaves, two: Leaves) -> Iterator[str]:
        """An argument that is made of other things than it was."""
        if any(self._follows_nodes(one.get(p, {}), two.get(p, {})) for p in {*one, *two}):
            return
        made, makes = one.get(place, {}), two.get(place, {})
        if "is" in made and "is" in makes and made != makes:
            yield from self._leaf(place, made, makes)  # text with values in it: this says enough
            return
        shared = {p for p in one if p in two and one[p] == two[p]}
        before, after = (
            ", ".join(_said(leaf) for p, leaf in leaves.items() if p not in shared) or "not given"
            for leaves in (one, two)
        )
        if before != after:
            yield f"{place}: {before} -> {after}"

    def _follows_nodes(self, one: Any, two: Any) -> bool:  # noqa: ANN401 - JSON data
        """Whether another wire is told by a node that was added, or removed."""
        new = {w for w in two.get("from", ()) if w not in one.get("from", ())}
        gone = {w for w in one.get("from", ()) if w not in two.get("from", ())}
        return any(_node(w, self._new) not in self._before for w in new) or any(
            _node(w, self._old) not in self._kept for w in gone if _node(w, self._old)
        )


def _node(wire: str, account: Account) -> str:
    """The node that a wire comes from; empty if the account has none."""
    parts = wire.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in account), "")


def _said(leaf: Any) -> str:  # noqa: ANN401 - JSON data
    if "from" in leaf:
        return " or ".join(f"${wire}" for wire in leaf["from"])
    return brief(leaf["is"]) if "is" in leaf else "not given"


def _grouped(
    names: Sequence[str],
    account: Account,
    others: Collection[str],
    *,
    given: bool,
) -> Iterator[str]:
    """Nodes one by one, and those of a part or loop that is there as a whole as one."""
    kept = {name.partition(".")[0] for name in others if "." in name}
    together: dict[str, list[str]] = {}
    for name in names:
        head = name.partition(".")[0]
        together.setdefault(name if head in kept else head, []).append(name)
    for head, members in together.items():
        if len(members) == 1 and members[0] == head:
            yield f"{head} ({_with_arguments(account[head]) if given else account[head].type})"
        else:
            nodes = [name for name in members if account[name].type != "Loop"]
            yield f"{head} ({len(nodes)} node{'s' if len(nodes) != 1 else ''})"


def _with_arguments(node: NodeAccount) -> str:
    said: list[str] = []
    for name, leaves in node.stated.items():
        if len(leaves) == 1:
            said.append(f"{name}: {_said(next(iter(leaves.values())))}")
    return f"{node.type}, {', '.join(said)}" if said else node.type


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more nodes" if len(names) > 3 else "")

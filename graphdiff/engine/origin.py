"""Where a value comes from: back through loops, parts and branches to what was stated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from graphdiff.engine.body import CallSite, Expr, Gathered, IfSite, Joined, Local
from graphdiff.engine.evaluate import evaluate
from graphdiff.engine.facts import plain
from graphdiff.engine.scope import Passes, Scope
from graphdiff.engine.task import Known
from graphdiff.graph.spec import MISSING


def folded(name: str) -> str:
    """The name of a node without passes: `denoise.cond` for `denoise[3].cond`."""
    return re.sub(r"\[\d+\]", "", name)


class Origin:
    """Where a value comes from, back to the nodes and literals that stated it.

    Attributes:
        nodes: The nodes that it reads.
    """

    def __init__(self, root: Scope) -> None:
        self.nodes: list[str] = []
        self._root = root
        self._stated: dict[str, Any] = {}
        self._wires: list[str] = []
        self._seen: set[tuple[int, str]] = set()

    def leaves(self, place: str) -> dict[str, Any]:
        """What was found, the wires as one leaf at `place`."""
        wires = list(dict.fromkeys(self._wires))
        return self._stated | ({place: {"from": wires}} if wires else {})

    def follow(self, expr: Expr, scope: Scope, place: str) -> None:
        """Note what an expression that stands at `place` comes from."""
        if isinstance(expr, Known):
            self._stated[place] = {"is": plain(expr.value, expr.token)}
        elif isinstance(expr, Local):
            self._slot(expr.slot, scope.outward(expr.up), place)
        elif isinstance(expr, Joined):
            self._stated[place] = {"is": "".join(map(_template, expr.parts))}
            for part in expr.parts:
                if isinstance(part, Local):
                    self.follow(part, scope, place)
        else:
            for name, item in _items(expr):
                self.follow(item, scope, f"{place}[{name}]")

    def _slot(self, slot: str, scope: Scope, place: str) -> None:
        if (id(scope), slot) in self._seen:
            return
        self._seen.add((id(scope), slot))
        name = self._name(scope)
        filled = scope.body.slots.get(slot)
        if isinstance(filled, CallSite):
            if slot in scope.values:
                self._read(name + filled.label, slot.removeprefix(filled.label))
            return
        how: str
        site: Any
        more: Any
        how, site, more = filled or ("", None, None)
        match how:
            case "if":
                self._branch(site, scope, name + site.label)
            case "loop-output" | "collected":
                passes = scope.values.get(f"${site.label}")
                if isinstance(passes, Passes):
                    self.nodes.append(name + site.label)
                    if passes.scopes:
                        self._slot(more, passes.scopes[-1], f"{name}{site.label}")
            case "part-output":
                inside = scope.values.get(f"${site.label}")
                if isinstance(inside, Scope):
                    self._slot(more, inside, place)
            case "carry":
                assert scope.loop is not None
                self.follow(more, scope.loop.scope, name[:-1] + slot.replace("$", ".", 1))
                self._slot(site, scope, place)
            case "item" | "index":
                self._read(name[:-1], slot.replace("$", ".", 1))
            case "argument":
                assert scope.outer is not None
                self.follow(site, scope.outer, f"{name}{more}")
            case "inner":
                inside = slot.startswith("$inputs.")
                self.follow(site, scope, name + slot.removeprefix("$inputs.") if inside else place)
            case _:
                given = scope.values.get(slot)
                if slot.startswith("$inputs.") and isinstance(given, Known):
                    self._stated[slot[1:]] = {"is": plain(given.value, given.token)}

    def _branch(self, site: IfSite, scope: Scope, name: str) -> None:
        self.follow(site.test, scope, f"{name}.test")
        test = evaluate(site.test, scope, lambda _: MISSING)
        sides = {"then": site.then, "else": site.otherwise}
        if isinstance(test, Known):
            del sides["else" if test.value else "then"]
        for side, expr in sides.items():
            self.follow(expr, scope, f"{name}.{side}")

    def _read(self, node: str, port: str) -> None:
        self.nodes.append(node)
        self._wires.append(node + port)

    def _name(self, scope: Scope) -> str:
        return folded(scope.prefix[len(self._root.prefix) :])


def _template(part: str | Local) -> str:
    return part if isinstance(part, str) else f"${{{part.slot.removeprefix('$')}}}"


def _items(expr: Gathered) -> Iterator[tuple[Any, Expr]]:
    yield from expr.items.items() if isinstance(expr.items, dict) else enumerate(expr.items)

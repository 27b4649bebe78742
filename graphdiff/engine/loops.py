"""Loops being linked: what they go over, their passes, what these carry on and collect."""

from __future__ import annotations

from typing import Any

from graphdiff.engine.body import CallSite, Expr, LoopSite, slots_in
from graphdiff.engine.calls import Calls
from graphdiff.engine.evaluate import ValueOf, evaluate, fill, gathered
from graphdiff.engine.keys import token_of
from graphdiff.engine.relink import Linked, LinkedLoop, Place, same
from graphdiff.engine.scope import Items, Need, Passes, Scope, Stuck
from graphdiff.engine.task import Form, Known, Many, Wire, wires_in
from graphdiff.graph.spec import MISSING, Diagnostic


class Loops:
    """The loops of a run.

    Attributes:
        any: Whether there are any.
        adopted: Those that were taken over from an earlier run, by where they stand.
        extra: Values that are needed in any case though no call that reads them is linked yet.
    """

    def __init__(self, calls: Calls, value_of: ValueOf, earlier: Linked | None) -> None:
        """Start without any.

        Args:
            calls: The calls of the run.
            value_of: The value of a wire, or MISSING while it has none.
            earlier: What an earlier run has linked, which is this one's now.
        """
        self.any = False
        self.adopted: dict[Place, LinkedLoop] = {}
        self.extra: list[Wire] = []
        self._calls = calls
        self._value_of = value_of
        self._earlier = earlier.loops if earlier else {}

    def link(self, scope: Scope, slot: str, site: LoopSite, _: object) -> Need | None:
        """Find out what a loop goes over."""
        self.any = True
        items: Items | dict[str, Items]
        if isinstance(site.over, dict):
            items = {}
            for name, expr in site.over.items():
                found = self._items(expr, scope, site)
                if not isinstance(found, Items):
                    return found  # goals, or stuck
                items[name] = found
            lengths = {name: len(found) for name, found in items.items()}
            if len(set(lengths.values())) > 1:
                said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
                message = f"{site.label} goes over lists of different lengths: {said}"
                self._calls.diagnostics.append(
                    Diagnostic("unequal-lengths", message, (*site.path, "over"))
                )
                return Stuck()
            count = next(iter(lengths.values()), 0)
        else:
            found = self._items(site.over, scope, site)
            if not isinstance(found, Items):
                return found  # goals, or stuck
            items, count = found, len(found)
        scope.values[slot] = Passes(site, scope, items, count)
        return None

    def item(self, scope: Scope, slot: str, _: object, name: str) -> None:
        """What a pass goes over."""
        assert scope.loop is not None
        scope.values[slot] = scope.loop.item(scope.index, name)

    def index(self, scope: Scope, slot: str, _: object, __: object) -> None:
        """Which pass it is."""
        scope.values[slot] = Known(scope.index, token_of(scope.index))

    def carry(self, scope: Scope, slot: str, following: str, first: Expr) -> Need | None:
        """What a pass finds of the one before."""
        passes = scope.loop
        assert passes is not None
        if scope.index == 0:
            passes.reads.update(dict.fromkeys(slots_in(first)))
            return fill(scope, slot, first, passes.scope, self._value_of)
        before = passes.at(scope.index - 1)
        form = before.values.get(following)
        if form is None:
            return before, following
        self._mark(form, passes, scope.index)
        scope.values[slot] = form
        return None

    def output(self, scope: Scope, slot: str, site: LoopSite, inner: str) -> Need | None:
        """What a loop carries out of its last pass."""
        if self._earlier and (need := self._adopt(scope, slot, site)) is not None:
            return need
        passes = self.passes(scope, site)
        if not isinstance(passes, Passes):
            return passes
        count = passes.count
        if count == 0:
            name = inner.removeprefix("$next.")
            carry = site.body.slots[f"$carry.{name}"]
            assert not isinstance(carry, CallSite)
            return fill(scope, slot, carry[2], scope, self._value_of)
        if inner not in passes.at(count - 1).values:
            # First pass on top of the stack: each finds its carry there already.
            return [(passes.at(k), inner) for k in range(count - 1, -1, -1)]
        form = passes.at(count - 1).values[inner]
        self._mark(form, passes, count)
        scope.values[slot] = form
        return None

    def collected(self, scope: Scope, slot: str, site: LoopSite, inner: str) -> Need | None:
        """What a loop collects from each pass."""
        if self._earlier and (need := self._adopt(scope, slot, site)) is not None:
            return need
        passes = self.passes(scope, site)
        if not isinstance(passes, Passes):
            return passes
        scopes = [passes.at(k) for k in range(passes.count)]
        missing = [(inside, inner) for inside in scopes if inner not in inside.values]
        if missing:
            return missing[::-1]
        forms = [inside.values[inner] for inside in scopes]
        if not site.names:
            for k, form in enumerate(forms):
                self._mark(form, passes, k + 1)
        scope.values[slot] = gathered(forms)
        return None

    def effects(self, scope: Scope, slot: str, site: LoopSite, _: object) -> Need | None:
        """Every effect in every pass."""
        passes = self.passes(scope, site)
        if not isinstance(passes, Passes):
            return passes
        inside = [passes.at(k) for k in range(passes.count)]
        missing = [(one, "$effects") for one in inside if "$effects" not in one.values]
        if missing:
            return missing[::-1]
        scope.values[slot] = gathered([one.values["$effects"] for one in inside])
        return None

    def passes(self, scope: Scope, site: LoopSite, upto: int | None = None) -> Passes | Need:
        """The loop with the number of its passes settled, or only whether pass `upto` is one."""
        passes = scope.values.get(f"${site.label}")
        if passes is None:
            return scope, f"${site.label}"
        while not passes.settled and (upto is None or passes.checked < upto):
            if passes.checked >= passes.count:
                passes.settled = True
                break
            inside = passes.at(passes.checked)
            wanted = [f"$next.{name}" for name in site.names]
            wanted += [f"$collect.{name}" for name in site.collect]
            wanted += ["$effects"] if "$effects" in site.body.slots else []
            wanted.append("$until")
            missing = [(inside, slot) for slot in wanted if slot not in inside.values]
            if missing:
                return missing[::-1]
            test: Wire | Known = inside.values["$until"]
            value = self._value_of(test) if isinstance(test, Wire) else test.value
            if value is MISSING:
                for slot in wanted:
                    self.extra += wires_in(inside.values[slot])
                return Stuck(wires_in(test))
            passes.checked += 1
            if value:
                passes.count = passes.checked
                passes.settled = True
        found: Passes = passes
        return found

    def collected_by_now(self, scope: Scope, slot: str) -> list[Wire]:
        """What a loop that is not linked to its end has collected, which nobody reads yet."""
        filled_by = scope.body.slots[slot]
        if isinstance(filled_by, CallSite) or filled_by[0] != "collected":
            return []
        _, site, inner = filled_by
        passes = scope.values.get(f"${site.label}")
        if not isinstance(passes, Passes):
            return []
        forms = [one.values[inner] for one in passes.scopes if inner in one.values]
        return [wire for form in forms for wire in wires_in(form)]

    def _adopt(self, scope: Scope, slot: str, site: LoopSite) -> Need | None:
        """Take a loop over from an earlier run, if it reads the same and gives the same.

        The slots that it reads are filled in the order in which they were, up to the first that
        differs: so nothing is linked that would not be linked otherwise.
        """
        place = site, scope.prefix
        loop = self._earlier.get(place)
        if loop is None or f"${site.label}" in scope.values:
            return None
        if slot not in loop.outputs:
            del self._earlier[place]
            return None
        for name, before in loop.reads:
            now: Form | None = scope.values.get(name)
            if now is None:
                return scope, name
            if not same(now, before):
                break
        else:
            if self._calls.adopt(loop.tasks, loop.aliases, loop.around):
                loop.mark()
                loop.passes.move(scope)
                scope.values[f"${site.label}"] = loop.passes
                self.any = True
                self.adopted[place] = loop
        del self._earlier[place]
        return None

    def _items(self, expr: Expr, scope: Scope, site: LoopSite) -> Items | Need:
        form = evaluate(expr, scope, self._value_of)
        if isinstance(form, Many) and isinstance(form.items, list):
            return Items(form.items)
        if isinstance(form, Wire):
            value = self._value_of(form)
            if value is MISSING:
                return Stuck([form])
            return self._listed(value, site, form)
        if isinstance(form, Known):
            return self._listed(form.value, site, form)
        if isinstance(form, Many):
            return self._listed(form.items, site, None)
        return form

    def _listed(self, value: Any, site: LoopSite, source: Form | None) -> Items | Stuck:  # noqa: ANN401
        """What a loop goes over; items of a value of the run are known by where they come from."""
        if value.__class__ is int and value >= 0:
            return Items(range(value))
        if not isinstance(value, str | bytes | dict | bool | int) and hasattr(value, "__iter__"):
            items = list(value)
            if isinstance(source, Known):
                return Items.of(source, items)
            if isinstance(source, Wire):
                items = [Known(it, source.token + b"[%d]" % i) for i, it in enumerate(items)]
            return Items(items)
        message = (
            f"{site.label} goes over a list, a schedule or a number of passes, not over {value!r}"
        )
        self._calls.diagnostics.append(Diagnostic("wrong-literal", message, (*site.path, "over")))
        return Stuck()

    def _mark(self, form: Form, passes: Passes, number: int) -> None:
        """Note that a call ends a pass, for showing progress."""
        if isinstance(form, Wire):
            task = form.task
            name = passes.scope.prefix + passes.site.label
            if not any(step[0] == name for step in task.steps):
                count = passes.count if passes.settled else None
                task.steps = (*task.steps, (name, number, count))

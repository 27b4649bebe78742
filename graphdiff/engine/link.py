"""From a laid-out graph to calls: loops unrolled, branches chosen, plan nodes evaluated.

Linking goes backwards from what is wanted, so that what nothing needs is never looked at, and with
a stack of its own, so that a graph may be as deep as it likes. A slot of a scope is filled once.
Where something depends on a value that only running gives, its goal stays unfilled: `advance` is
called again when the value is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from graphdiff.engine.body import CallSite, Descent, Expr, How, IfSite, LoopSite, PartSite
from graphdiff.engine.calls import Calls
from graphdiff.engine.evaluate import ValueOf, evaluate, gathered
from graphdiff.engine.keys import token_of
from graphdiff.engine.kind import PLAIN
from graphdiff.engine.relink import Linked, LinkedLoop, Place, same
from graphdiff.engine.scope import Goal, Items, Need, Passes, Scope, Stuck
from graphdiff.engine.task import Form, Known, Many, Wire, wires_in
from graphdiff.graph.literals import LiteralError
from graphdiff.graph.node import Settings
from graphdiff.graph.spec import MISSING, Diagnostic, WorkflowError


class Linker:
    """Links workflows, one or several that share their calls.

    Attributes:
        calls: The calls.
        stuck: The values that goals wait for.
        extra: Values that are needed in any case though no call that reads them is linked yet.
        loops: Whether there is a loop in what was linked.
        consulted: Whether values of the run had a say in what was linked.
        adopted: The loops that were taken over from an earlier run, by where they stand.
    """

    def __init__(
        self,
        settings: Settings,
        value_of: ValueOf,
        remembered: dict[str, tuple[Known, ...]],
        earlier: Linked | None = None,
    ) -> None:
        """Start without anything linked.

        Args:
            settings: As for `Calls`.
            value_of: As for `Calls`.
            remembered: As for `Calls`.
            earlier: What an earlier run has linked, which is this one's now.
        """

        def consult(wire: Wire) -> Any:  # noqa: ANN401 - any value
            self.consulted = True
            return value_of(wire)

        self.calls = Calls(
            settings, consult, self._fill_now, remembered, earlier.tasks if earlier else {}
        )
        self.stuck: list[Wire] = []
        self.extra: list[Wire] = []
        self.loops = False
        self.consulted = False
        self.adopted: dict[Place, LinkedLoop] = {}
        self._value_of = consult
        self._pinned: list[Scope] = []
        self._earlier = earlier.loops if earlier else {}

    def advance(self, goals: Iterable[Goal]) -> list[Goal]:
        """Fill as many goals as can be; the rest is what it returns, waiting for `stuck`.

        Raises:
            WorkflowError: something is wrong with the workflow, all of it that was found.
        """
        for scope in self._pinned:
            scope.pinned = False
        self._pinned.clear()
        self.extra = []
        self.stuck = []
        waiting = [goal for goal in goals if not self._fill(goal)]
        if self.calls.diagnostics:
            raise WorkflowError(tuple(dict.fromkeys(self.calls.diagnostics)))
        return waiting

    def _fill(self, goal: Goal) -> bool:
        stack = [goal]
        while stack:
            scope, slot = stack[-1]
            if slot in scope.values:
                stack.pop()
                continue
            filled_by = scope.body.slots[slot]
            need: Need | None
            if isinstance(filled_by, CallSite):
                need = self.calls.link(scope, filled_by)
            else:
                need = self._filled(scope, slot, *filled_by)
            if need is None:
                stack.pop()
            elif isinstance(need, tuple):
                stack.append(need)
            elif isinstance(need, list):
                stack += need
            else:
                self.stuck += need.wires
                for waiting, _ in stack:
                    self._pin(waiting)
                return False
        return True

    def _fill_now(self, scope: Scope, slot: str) -> Form | None:
        """What fills a slot that no call fills, if what it is made of is there already."""
        filled_by = scope.body.slots[slot]
        if isinstance(filled_by, CallSite) or filled_by[0] not in _PASSED_ON:
            return None
        if self._filled(scope, slot, *filled_by) is not None:
            return None
        form: Form = scope.values[slot]
        return form

    def _filled(
        self,
        scope: Scope,
        slot: str,
        how: How,
        site: Any,  # noqa: ANN401 - what `how` says
        more: Any,  # noqa: ANN401 - the same
    ) -> Need | None:
        if how == "inner":
            return self._inner(scope, slot, site)
        if how == "carry":
            return self._carry(scope, slot, site, more)
        need: Need | None = getattr(self, _HANDLERS[how])(scope, slot, site, more)
        return need

    def _pin(self, scope: Scope | None) -> None:
        while scope is not None and not scope.pinned:
            scope.pinned = True
            self._pinned.append(scope)
            scope = scope.outer if scope.parent is None else scope.parent

    # Branches, loops, parts

    def _if(self, scope: Scope, slot: str, site: IfSite, _: object) -> Need | None:
        test = evaluate(site.test, scope, self._value_of)
        if isinstance(test, Wire):
            value = self._value_of(test)
            if value is MISSING:
                return Stuck([test])
        elif isinstance(test, Known):
            value = test.value
        elif isinstance(test, Many):
            value = test.items
        else:
            return test
        return self._set(scope, slot, site.then if value else site.otherwise, scope)

    def _set(self, scope: Scope, slot: str, expr: Expr, where: Scope) -> Need | None:
        form = evaluate(expr, where, self._value_of)
        if not isinstance(form, Known | Wire | Many):
            return form
        scope.values[slot] = form
        return None

    def _inner(self, scope: Scope, slot: str, expr: Expr) -> Need | None:
        return self._set(scope, slot, expr, scope)

    def _argument(self, scope: Scope, slot: str, expr: Expr, name: str) -> Need | None:
        """An input of a part, as the workflow around it gives it."""
        assert scope.outer is not None
        form = evaluate(expr, scope.outer, self._value_of)
        if isinstance(form, Known) and form.value.__class__ in PLAIN:
            convert, _ = scope.body.inputs[name]
            try:
                value = convert(form.value)
            except LiteralError as error:
                path = (*scope.body.path, name)
                self.calls.diagnostics.append(
                    Diagnostic(error.code, f"{name}: {error}", path, help=error.help)
                )
                return Stuck()
            form = Known(value, token_of(value), form.base)
        if not isinstance(form, Known | Wire | Many):
            return form
        scope.values[slot] = form
        return None

    def _part(self, scope: Scope, slot: str, site: PartSite, _: object) -> None:
        scope.values[slot] = Scope(
            site.body,
            None,
            f"{scope.prefix}{site.label}.",
            carried=scope.carried,
            outer=scope,
            point=scope.point,
        )

    def _part_output(self, scope: Scope, slot: str, site: PartSite, inner: str) -> Need | None:
        inside = scope.values.get(f"${site.label}")
        if inside is None:
            return scope, f"${site.label}"
        form = inside.values.get(inner)
        if form is None:
            return inside, inner
        scope.values[slot] = form
        return None

    def _loop(self, scope: Scope, slot: str, site: LoopSite, _: object) -> Need | None:
        self.loops = True
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
                self.calls.diagnostics.append(
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
            if self.calls.adopt(loop.tasks, loop.aliases, loop.around):
                loop.passes.move(scope)
                scope.values[f"${site.label}"] = loop.passes
                self.loops = True
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
        self.calls.diagnostics.append(Diagnostic("wrong-literal", message, (*site.path, "over")))
        return Stuck()

    def _inside(
        self, scope: Scope, slot: str, steps: tuple[Descent, ...], inner: str
    ) -> Need | None:
        """Something in a part, or in a certain pass of a loop."""
        inside = scope
        for site, number in steps:
            if isinstance(site, PartSite):
                part: Scope | None = inside.values.get(f"${site.label}")
                if part is None:
                    return inside, f"${site.label}"
                inside = part
                continue
            passes = self._passes(inside, site, upto=number)
            if not isinstance(passes, Passes):
                return passes
            if number >= passes.count:
                has = f"{passes.count} passes" if passes.count != 1 else "1 pass"
                message = f"there is no pass {number} of {site.label}, which has {has}, from 0"
                self.calls.diagnostics.append(Diagnostic("unknown-target", message, site.path))
                return Stuck()
            inside = passes.at(number)
        if inner not in inside.values:
            return inside, inner
        scope.values[slot] = inside.values[inner]
        return None

    def _passes(self, scope: Scope, site: LoopSite, upto: int | None = None) -> Passes | Need:
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

    def _loop_output(self, scope: Scope, slot: str, site: LoopSite, inner: str) -> Need | None:
        if self._earlier and (need := self._adopt(scope, slot, site)) is not None:
            return need
        passes = self._passes(scope, site)
        if not isinstance(passes, Passes):
            return passes
        count = passes.count
        if count == 0:
            name = inner.removeprefix("$next.")
            carry = site.body.slots[f"$carry.{name}"]
            assert not isinstance(carry, CallSite)
            return self._set(scope, slot, carry[2], scope)
        if inner not in passes.at(count - 1).values:
            # First pass on top of the stack: each finds its carry there already.
            return [(passes.at(k), inner) for k in range(count - 1, -1, -1)]
        form = passes.at(count - 1).values[inner]
        self._mark(form, passes, count)
        scope.values[slot] = form
        return None

    def _collected(self, scope: Scope, slot: str, site: LoopSite, inner: str) -> Need | None:
        if self._earlier and (need := self._adopt(scope, slot, site)) is not None:
            return need
        passes = self._passes(scope, site)
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

    def _effects_in(
        self, scope: Scope, slot: str, slots: tuple[str, ...], _: object
    ) -> Need | None:
        """Every effect in a body, those in its loops and parts too."""
        missing = [(scope, wanted) for wanted in slots if wanted not in scope.values]
        if missing:
            return missing[::-1]
        scope.values[slot] = gathered([scope.values[wanted] for wanted in slots])
        return None

    def _loop_effects(self, scope: Scope, slot: str, site: LoopSite, _: object) -> Need | None:
        passes = self._passes(scope, site)
        if not isinstance(passes, Passes):
            return passes
        inside = [passes.at(k) for k in range(passes.count)]
        missing = [(one, "$effects") for one in inside if "$effects" not in one.values]
        if missing:
            return missing[::-1]
        scope.values[slot] = gathered([one.values["$effects"] for one in inside])
        return None

    def _carry(self, scope: Scope, slot: str, following: str, first: Expr) -> Need | None:
        passes = scope.loop
        assert passes is not None
        if scope.index == 0:
            return self._set(scope, slot, first, passes.scope)
        before = passes.at(scope.index - 1)
        form = before.values.get(following)
        if form is None:
            return before, following
        self._mark(form, passes, scope.index)
        scope.values[slot] = form
        return None

    def _mark(self, form: Form, passes: Passes, number: int) -> None:
        """Note that a call ends a pass, for showing progress."""
        if isinstance(form, Wire):
            task = form.task
            name = passes.scope.prefix + passes.site.label
            if not any(step[0] == name for step in task.steps):
                count = passes.count if passes.settled else None
                task.steps = (*task.steps, (name, number, count))

    def _item(self, scope: Scope, slot: str, _: object, name: str) -> None:
        assert scope.loop is not None
        scope.values[slot] = scope.loop.item(scope.index, name)

    def _index(self, scope: Scope, slot: str, _: object, __: object) -> None:
        scope.values[slot] = Known(scope.index, token_of(scope.index))


_PASSED_ON: Final = frozenset(("carry", "item", "index", "inner"))
"""How slots are filled whose handlers hand on what is there, and do nothing else."""

_HANDLERS: Final = {
    "if": "_if",
    "loop": "_loop",
    "loop-output": "_loop_output",
    "collected": "_collected",
    "part": "_part",
    "part-output": "_part_output",
    "item": "_item",
    "index": "_index",
    "argument": "_argument",
    "effects": "_effects_in",
    "loop-effects": "_loop_effects",
    "inside": "_inside",
}

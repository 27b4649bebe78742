"""From a laid-out graph to calls: what is wanted is filled, with all that it is made of.

Linking goes backwards from what is wanted, so that what nothing needs is never looked at, and with
a stack of its own, so that a graph may be as deep as it likes. A slot of a scope is filled once.
Where something depends on a value that only running gives, its goal stays unfilled: `advance` is
called again when the value is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from graphdiff.engine.body import CallSite, Descent, Expr, How, IfSite, PartSite
from graphdiff.engine.calls import Calls
from graphdiff.engine.evaluate import ValueOf, evaluate, fill, gathered
from graphdiff.engine.keys import token_of
from graphdiff.engine.kind import PLAIN
from graphdiff.engine.loops import Loops
from graphdiff.engine.relink import Linked
from graphdiff.engine.scope import Goal, Need, Passes, Scope, Stuck
from graphdiff.engine.task import Form, Known, Many, Wire
from graphdiff.graph.literals import LiteralError
from graphdiff.graph.node import Settings
from graphdiff.graph.spec import MISSING, Diagnostic, WorkflowError


class Linker:
    """Links workflows, one or several that share their calls.

    Attributes:
        calls: The calls.
        stuck: The values that goals wait for.
        loops: The loops.
        consulted: Whether values of the run had a say in what was linked.
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
        self.loops = loops = Loops(self.calls, consult, earlier)
        self.consulted = False
        self._value_of = consult
        self._pinned: list[Scope] = []
        self._handlers: dict[How, Callable[[Scope, str, Any, Any], Need | None]] = {
            "inner": self._inner,
            "if": self._if,
            "loop": loops.link,
            "loop-output": loops.output,
            "collected": loops.collected,
            "loop-effects": loops.effects,
            "carry": loops.carry,
            "item": loops.item,
            "index": loops.index,
            "part": self._part,
            "part-output": self._part_output,
            "argument": self._argument,
            "effects": self._effects_in,
            "inside": self._inside,
        }

    def advance(self, goals: Iterable[Goal]) -> list[Goal]:
        """Fill as many goals as can be; the rest is what it returns, waiting for `stuck`.

        Raises:
            WorkflowError: something is wrong with the workflow, all of it that was found.
        """
        for scope in self._pinned:
            scope.pinned = False
        self._pinned.clear()
        self.loops.extra = []
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
                how, site, more = filled_by
                need = self._handlers[how](scope, slot, site, more)
            if need is None:
                stack.pop()
            elif isinstance(need, tuple):
                stack.append(need)
            elif isinstance(need, list):
                stack += need
            else:
                self.stuck += need.wires
                for waiting, wanted in stack:
                    self._pin(waiting)
                    self.loops.extra += self.loops.collected_by_now(waiting, wanted)
                return False
        return True

    def _fill_now(self, scope: Scope, slot: str) -> Form | None:
        """What fills a slot that no call fills, if what it is made of is there already."""
        filled_by = scope.body.slots[slot]
        if isinstance(filled_by, CallSite) or filled_by[0] not in _PASSED_ON:
            return None
        how, site, more = filled_by
        if self._handlers[how](scope, slot, site, more) is not None:
            return None
        form: Form = scope.values[slot]
        return form

    def _pin(self, scope: Scope | None) -> None:
        while scope is not None and not scope.pinned:
            scope.pinned = True
            self._pinned.append(scope)
            scope = scope.outer if scope.parent is None else scope.parent

    # Branches, parts, what is inside of others

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
        chosen = site.then if value else site.otherwise
        return fill(scope, slot, chosen, scope, self._value_of)

    def _inner(self, scope: Scope, slot: str, expr: Expr, _: object) -> Need | None:
        return fill(scope, slot, expr, scope, self._value_of)

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
            passes = self.loops.passes(inside, site, upto=number)
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

    def _effects_in(
        self, scope: Scope, slot: str, slots: tuple[str, ...], _: object
    ) -> Need | None:
        """Every effect in a body, those in its loops and parts too."""
        missing = [(scope, wanted) for wanted in slots if wanted not in scope.values]
        if missing:
            return missing[::-1]
        scope.values[slot] = gathered([scope.values[wanted] for wanted in slots])
        return None


_PASSED_ON: Final = frozenset(("carry", "item", "index", "inner"))
"""How slots are filled whose handlers hand on what is there, and do nothing else."""

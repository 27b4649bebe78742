"""Calls linked: arguments found, keys made, equal ones once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from operator import is_
from types import MappingProxyType
from typing import Any, TypeAlias

from graphdiff.engine import paths
from graphdiff.engine.body import CallSite, Expr, Local
from graphdiff.engine.evaluate import ValueOf, evaluate
from graphdiff.engine.inference import Inference
from graphdiff.engine.keys import call_key, token_of
from graphdiff.engine.kind import PLAIN, Kind
from graphdiff.engine.mistakes import Mistakes
from graphdiff.engine.plan_calls import PlanCalls
from graphdiff.engine.scope import Goal, Need, Scope, Stuck
from graphdiff.engine.task import NOTHING, Form, Known, Many, Task, Wire, wires_in
from graphdiff.graph.literals import LiteralError
from graphdiff.graph.node import Settings

Alias: TypeAlias = tuple[int, Scope, CallSite, Task]
"""A call that is equal to one there was: how many calls there were then, and where it stands."""


class Calls:
    """The calls of a run, equal ones once.

    Attributes:
        linked: The calls, each after those that it reads.
        aliases: Calls that turned out to be equal to one there was.
        diagnostics: What is wrong.
        tasks: The calls by key.
        origins: What each set of inputs is made of, by its number.
    """

    def __init__(
        self,
        settings: Settings,
        value_of: ValueOf,
        fill: Callable[[Scope, str], Form | None],
        remembered: dict[str, tuple[Known, ...]],
        earlier: Mapping[str, Task] = MappingProxyType({}),
    ) -> None:
        """Start without any.

        Args:
            settings: For the plan nodes that ask for them.
            value_of: The value of a wire, or MISSING while it has none.
            fill: Fills a slot that no call fills, if what it is made of is there already.
            remembered: What earlier runs were given by plan nodes that see only their arguments,
                by key; more is added.
            earlier: Calls of an earlier run by key, to be used again where they are the same.
        """
        self.linked: list[Task] = []
        self.aliases: list[Alias] = []
        self._mistakes = Mistakes()
        self.diagnostics = self._mistakes.found
        self.tasks: dict[str, Task] = {}
        self._kinds: set[Kind] = set()
        self._sorted = 0  # calls whose node is among these
        self._inference = Inference(self._mistakes)
        self._plan_calls = PlanCalls(
            settings, value_of, remembered, self._mistakes, self._inference
        )
        self.origins = self._plan_calls.origins
        self._value_of = value_of
        self._fill = fill
        self._earlier = earlier
        self._nonce = b""
        self._needed: dict[CallSite, tuple[list[Any], frozenset[int]]] = {}
        self._effects: dict[tuple[str, int], int] = {}

    @property
    def kinds(self) -> Set[Kind]:
        """The nodes that these are calls of."""
        self._kinds.update(task.kind for task in self.linked[self._sorted :])
        self._sorted = len(self.linked)
        return self._kinds

    @property
    def files(self) -> Mapping[str, str]:
        """The SHA-256 of each file that a call reads."""
        return {path: sha for origin in self.origins.values() for path, sha in origin.files.items()}

    def link(self, scope: Scope, site: CallSite) -> Need | None:
        """Fill the slots of a call's outputs, or say what has to be filled first."""
        kind = site.kind
        dropped: frozenset[int] = frozenset()
        if kind.needed is not None:
            unneeded = self._dropped(scope, site)
            if not isinstance(unneeded, frozenset):
                return unneeded
            dropped = unneeded
        forms: list[Form] = []
        missing: list[Goal] = []
        for i, up, slot in site.locals:
            if dropped and i in dropped:
                forms.append(NOTHING)
                continue
            place = scope.reading(slot, up) if up else scope
            filled_by: Form | None = place.values.get(slot)
            if filled_by is None and slot[0] == "$":
                filled_by = self._fill(place, slot)
            if filled_by is None:
                missing.append((place, slot))
            else:
                forms.append(filled_by)
        if missing:
            return missing[::-1] if len(missing) > 1 else missing[0]
        args, tokens = site.args, site.tokens.copy()
        wires: list[tuple[int, Wire]] = []
        nested: list[tuple[int, Many]] = []
        origins: dict[int, Known] = {}
        for (i, _, _), form in zip(site.locals, forms):  # noqa: B905 - of one length, and hot
            if isinstance(form, Wire):
                wires.append((i, form))
                tokens[i] = form.token
            elif form is NOTHING:
                continue
            elif isinstance(form, Known):
                value = form.value
                if args is site.args:
                    args = args.copy()
                if value.__class__ is kind.exact[i] or value.__class__ not in PLAIN:
                    args[i], tokens[i] = value, form.token
                elif not self._convert(site, i, form, args, tokens):
                    return Stuck()
                origins[i] = form
            else:
                nested.append((i, form))
                tokens[i] = form.token
        for i, expr in site.others:
            if i in dropped:
                continue
            found = evaluate(expr, scope, self._value_of, safe=(i, "write") in kind.paths)
            if isinstance(found, Known):
                if args is site.args:
                    args = args.copy()
                if not self._convert(site, i, found, args, tokens):
                    return Stuck()
                origins[i] = found
            elif isinstance(found, Many):
                nested.append((i, found))
                tokens[i] = found.token
            elif isinstance(found, Wire):
                wires.append((i, found))
                tokens[i] = found.token
            else:
                return found
        if args is site.args and (dropped or kind.paths or kind.plan):
            args = args.copy()
        for i in dropped:
            args[i], tokens[i] = None, NOTHING.token
        if kind.paths and not self._locate(site, scope, origins, args, tokens):
            return Stuck()
        if kind.plan:
            return self._plan_calls.link(scope, site, args, tokens, wires, nested)
        fresh = kind.cache == "never"
        if fresh:  # under a key that no other run has
            self._nonce = self._nonce or os.urandom(16)
            tokens.append(self._nonce)
        key = call_key(kind.prefix, tokens)
        task = self.tasks.get(key)
        if kind.effect:
            key = self._counted(key, scope.point)
            task = self.tasks.get(key)
        if task is None:
            task = self._again(key, scope, site, args, wires, nested) if self._earlier else None
            if task is None:
                task = Task(kind, key, args, tokens, tuple(wires), scope, site, len(self.linked))
                if nested:
                    task.nested = tuple(nested)
            self.tasks[key] = task
            self.linked.append(task)
            for _, wire in wires:
                fresh = fresh or wire.task.fresh
            for _, many in nested:
                fresh = fresh or any(wire.task.fresh for wire in wires_in(many))
            task.fresh = fresh
            if kind.inferred is not None:
                self._inference.infer(site, task, args, wires, nested)
        else:
            self.aliases.append((len(self.linked), scope, site, task))
        if kind.single:
            scope.values[site.label] = task.outs[0]
        else:
            for port, out in zip(kind.ports, task.outs, strict=True):
                scope.values[f"{site.label}.{port}"] = out
        return None

    def _again(
        self,
        key: str,
        scope: Scope,
        site: CallSite,
        args: list[Any],
        wires: list[tuple[int, Wire]],
        nested: list[tuple[int, Many]],
    ) -> Task | None:
        """The call of an earlier run that is this one: of the same name, on the same wires."""
        task = self._earlier.get(key)
        if task is None or task.site is not site or task.scope.prefix != scope.prefix:
            return None
        before = task.sources()
        now = [wire for _, wire in wires] + [wire for _, many in nested for wire in wires_in(many)]
        if len(before) != len(now) or not all(map(is_, before, now)):
            return None
        task.args, task.nested = args, tuple(nested)  # equal, but a file may lie elsewhere now
        task.scope = scope
        task.number = len(self.linked)
        task.steps = ()
        return task

    def adopt(
        self, tasks: Sequence[Task], aliases: Iterable[Alias], around: Iterable[Task]
    ) -> bool:
        """Take up calls of an earlier run, if the calls around them are the same; whether it did.

        Args:
            tasks: The calls, each after those of them that it reads.
            aliases: Calls that are equal to one of these, or to one around them.
            around: Those around them that they read or are equal to.
        """
        mine, count = self.tasks, len(self.linked)
        if not all(mine.get(task.key) is task for task in around):
            return False
        if any(task.key in mine for task in tasks):
            return False
        for number, task in enumerate(tasks, count):
            task.number = number
            mine[task.key] = task
        self.linked += tasks
        self.aliases += [(count, scope, site, task) for _, scope, site, task in aliases]
        return True

    def _counted(self, key: str, point: int) -> str:
        """The key of an effect: two of one workflow write two files, though of equal content."""
        count = self._effects[key, point] = self._effects.get((key, point), 0) + 1
        return key if count == 1 else call_key(key.encode(), [b"#%d" % count])

    def _convert(
        self, site: CallSite, i: int, form: Known, args: list[Any], tokens: list[bytes]
    ) -> bool:
        try:
            value = site.kind.convert[i](form.value)
        except LiteralError as error:
            self._mistakes.report(
                site, error.code, f"{site.label}.{site.kind.names[i]}: {error}", i
            )
            return False
        args[i] = value
        tokens[i] = form.token if value is form.value and form.token else token_of(value)
        return True

    def _dropped(self, scope: Scope, site: CallSite) -> frozenset[int] | Need:
        """Positions of the inputs that this call does not need, by the node's own word."""
        kind = site.kind
        asked: list[Any] = []
        for name in kind.need_names:
            i = kind.place[name]
            expr = _expr_at(site, i)
            if expr is None:
                asked.append(site.args[i])
                continue
            form = evaluate(expr, scope, self._value_of)
            if isinstance(form, Wire | Many):
                return frozenset()  # only the run will tell
            if not isinstance(form, Known):
                return form
            value = form.value
            if value.__class__ is not kind.exact[i] and value.__class__ in PLAIN:
                try:
                    value = kind.convert[i](value)
                except LiteralError:
                    return frozenset()  # reported where the argument itself is converted
            asked.append(value)
        memo = self._needed.get(site)  # the passes of a loop ask the same, over and over
        if memo is not None and all(map(is_, asked, memo[0])):
            return memo[1]
        assert kind.needed is not None
        needed = kind.needed(**dict(zip(kind.need_names, asked, strict=True)))
        dropped = frozenset(kind.place[name] for name in needed)
        self._needed[site] = asked, dropped
        return dropped

    def _locate(
        self,
        site: CallSite,
        scope: Scope,
        origins: dict[int, Known],
        args: list[Any],
        tokens: list[bytes],
    ) -> bool:
        """Make the paths among the arguments absolute, and key files by what they hold."""
        kind = site.kind
        fine = True
        for i, marker in kind.paths:
            value = args[i]
            if value is None:
                continue
            origin = origins.get(i)
            base = origin.base if origin is not None else scope.body.folder
            if marker == "name":
                args[i] = paths.named(value, base)
                tokens[i] = token_of(args[i])
            elif marker == "read":
                try:
                    noted = self.origins[scope.point].files
                    args[i], tokens[i] = paths.read(value, base, noted)
                except OSError as error:
                    file = paths.absolute(error.filename or value, base)
                    why = error.strerror or str(error)
                    message = f"{site.label}.{kind.names[i]}: {file}: {why.lower()}"
                    self._mistakes.report(site, "missing-file", message, i)
                    fine = False
            else:
                try:
                    paths.refuse_outside(value)
                except ValueError as error:
                    self._mistakes.report(
                        site, "output-path", f"{site.label}.{kind.names[i]}: {error}", i
                    )
                    fine = False
        return fine


def _expr_at(site: CallSite, position: int) -> Expr | None:
    """What an argument is, where it is no literal."""
    for i, up, slot in site.locals:
        if i == position:
            return Local(up, slot)
    return next((expr for i, expr in site.others if i == position), None)

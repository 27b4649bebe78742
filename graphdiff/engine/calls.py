"""Calls linked: arguments found, keys made, plan nodes evaluated, wires looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from operator import is_
from typing import Any, Final

from graphdiff.engine import paths
from graphdiff.engine.body import CallSite, Expr, Local
from graphdiff.engine.evaluate import ValueOf, evaluate
from graphdiff.engine.keys import call_key, token_of
from graphdiff.engine.kind import PLAIN, Kind
from graphdiff.engine.scope import Goal, Need, Scope, Stuck
from graphdiff.engine.task import NOTHING, Form, Known, Many, Task, Wire, filled, wires_in
from graphdiff.graph.literals import LiteralError
from graphdiff.graph.node import Settings, WireError
from graphdiff.graph.spec import MISSING, Diagnostic, GraphPath

_REMEMBERED = 256
_OPEN: Final = object()  # what is not known of a value before the run; None may be the value


class Calls:
    """The calls of a run, equal ones once.

    Attributes:
        linked: The calls, each after those that it reads.
        aliases: Calls that turned out to be equal to one there was: how many calls there were then,
            and where they stand.
        diagnostics: What is wrong.
        files: The SHA-256 of each file that a call reads.
        tasks: The calls by key.
        evaluated: What plan nodes gave, by key.
    """

    def __init__(
        self,
        settings: Settings,
        value_of: ValueOf,
        fill: Callable[[Scope, str], Form | None],
        remembered: dict[str, tuple[Known, ...]],
    ) -> None:
        """Start without any.

        Args:
            settings: For the plan nodes that ask for them.
            value_of: The value of a wire, or MISSING while it has none.
            fill: Fills a slot that no call fills, if what it is made of is there already.
            remembered: What earlier runs were given by plan nodes that see only their arguments,
                by key; more is added.
        """
        self.linked: list[Task] = []
        self.aliases: list[tuple[int, Scope, CallSite, Task]] = []
        self.diagnostics: list[Diagnostic] = []
        self.files: dict[str, str] = {}
        self.evaluated: dict[str, tuple[Known, ...]] = {}
        self.tasks: dict[str, Task] = {}
        self._settings = settings
        self._value_of = value_of
        self._fill = fill
        self._remembered = remembered
        self._nonce = b""
        self._needed: dict[CallSite, tuple[list[Any], frozenset[int]]] = {}
        self._said: dict[CallSite, tuple[list[Any], Any]] = {}
        self._effects: dict[tuple[str, int], int] = {}
        self._reported: set[tuple[GraphPath, str]] = set()
        self._refused: set[tuple[GraphPath, str, str]] = set()

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
            place = scope.outward(up) if up else scope
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
            return self._plan_call(scope, site, args, tokens, wires, nested)
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
            task = self.tasks[key] = Task(
                kind, key, args, tokens, tuple(wires), scope, site, len(self.linked)
            )
            self.linked.append(task)
            if nested:
                task.nested = tuple(nested)
            for _, wire in wires:
                fresh = fresh or wire.task.fresh
            for _, many in nested:
                fresh = fresh or any(wire.task.fresh for wire in wires_in(many))
            task.fresh = fresh
            if kind.inferred is not None:
                self._infer(site, task, args, wires, nested)
        else:
            self.aliases.append((len(self.linked), scope, site, task))
        if kind.single:
            scope.values[site.label] = task.outs[0]
        else:
            for port, out in zip(kind.ports, task.outs, strict=True):
                scope.values[f"{site.label}.{port}"] = out
        return None

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
            self._report(site, error.code, f"{site.label}.{site.kind.names[i]}: {error}", i)
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
                    args[i], tokens[i] = paths.read(value, base, self.files)
                except OSError as error:
                    file = paths.absolute(error.filename or value, base)
                    why = error.strerror or str(error)
                    message = f"{site.label}.{kind.names[i]}: {file}: {why.lower()}"
                    self._report(site, "missing-file", message, i)
                    fine = False
            else:
                try:
                    paths.refuse_outside(value)
                except ValueError as error:
                    self._report(site, "output-path", f"{site.label}.{kind.names[i]}: {error}", i)
                    fine = False
        return fine

    def _plan_call(
        self,
        scope: Scope,
        site: CallSite,
        args: list[Any],
        tokens: list[bytes],
        wires: list[tuple[int, Wire]],
        nested: list[tuple[int, Many]],
    ) -> Need | None:
        kind = site.kind
        if wires or nested:
            inside = [wire for _, wire in wires]
            for _, many in nested:
                inside += wires_in(many)
            values = {wire: self._value_of(wire) for wire in inside}
            missing = [wire for wire, value in values.items() if value is MISSING]
            if missing:
                return Stuck(missing)
            for i, wire in wires:
                args[i] = values[wire]
            for i, many in nested:
                args[i] = filled(many, values.__getitem__)
        located = [str(args[i]).encode() for i, marker in kind.paths if marker == "read"]
        key = call_key(kind.prefix, tokens + located)
        outs = self.evaluated.get(key)
        if outs is None and kind.closed:
            outs = self._remembered.get(key)
        if outs is None:
            mistakes = len(self.diagnostics)
            outs = self._evaluated(site, kind, args)
            if outs is None:
                return Stuck()
            if kind.closed and len(self.diagnostics) == mistakes:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = outs
        self.evaluated[key] = outs
        if kind.single:
            scope.values[site.label] = outs[0]
        else:
            for port, out in zip(kind.ports, outs, strict=True):
                scope.values[f"{site.label}.{port}"] = out
        return None

    def _evaluated(self, site: CallSite, kind: Kind, args: list[Any]) -> tuple[Known, ...] | None:
        given = dict(zip(kind.names, args, strict=True))
        for name, wanted in kind.injected.items():
            if wanted is Settings:
                given[name] = self._settings
        try:
            result = kind.fn(**given)
            values = (result,) if kind.single else tuple(result)
            outs = tuple(Known(value, token_of(value)) for value in values)
        except Exception as error:  # a node may raise anything; the user is told what and where
            message = f"{site.label} ({kind.node.name}): {error or type(error).__name__}"
            self._report(site, "plan-failed", message, None, cause=error)
            return None
        if kind.inferred is not None:
            self._say(site, kind, {name: given[name] for name in kind.infer_names})
        return outs

    def _infer(
        self,
        site: CallSite,
        task: Task,
        args: list[Any],
        wires: list[tuple[int, Wire]],
        nested: list[tuple[int, Many]],
    ) -> None:
        kind = site.kind
        facts = args.copy()
        for i, wire in wires:
            facts[i] = _OPEN if wire.fact is None else wire.fact
        for i, many in nested:
            facts[i] = filled(many, lambda wire: wire.fact)
        asked = [facts[i] for i in kind.infer_places]
        memo = self._said.get(site)  # the passes of a loop ask the same, over and over
        if memo is not None and all(map(is_, asked, memo[0])):
            said = memo[1]
        else:
            unknown = {i for i, _ in wires if facts[i] is _OPEN}
            known = [None if fact is _OPEN else fact for fact in asked]
            said = self._say(site, kind, dict(zip(kind.infer_names, known, strict=True)), unknown)
            if memo is not None and said == memo[1]:
                said = memo[1]  # so that what reads it is asked the same again
            self._said[site] = asked, said
        if said is None:
            return
        if kind.single:
            task.outs[0].fact = said
        else:
            for port, out in zip(kind.ports, task.outs, strict=True):
                out.fact = said.get(port)

    def _say(
        self,
        site: CallSite,
        kind: Kind,
        given: dict[str, Any],
        unknown: Collection[int] = (),
    ) -> Any:  # noqa: ANN401
        """What a node's `infer` says; None stands for what is unknown, which it may not refuse."""
        assert kind.inferred is not None
        try:
            return kind.inferred(**given)
        except WireError as error:
            i = kind.place.get(error.parameter)
            if i in unknown:
                return None
            for j, up, slot in site.locals:
                if j == i:
                    mistake = site.within[: len(site.within) - 2 * up], slot, str(error)
                    if mistake in self._refused:
                        return None  # one wire into two nodes, as those of guidance, is one mistake
                    self._refused.add(mistake)
            self._report(site, "wire-mismatch", self._mismatch(site, error), i)
        return None

    def _mismatch(self, site: CallSite, error: WireError) -> str:
        where = f"{site.label}.{error.parameter}"
        i = site.kind.place.get(error.parameter)
        source = next((slot for j, _, slot in site.locals if j == i), None)
        wired = f", wired to ${source.removeprefix('$')}" if source else ""
        return f"{where}{wired}: {error}"

    def _report(
        self,
        site: CallSite,
        code: str,
        message: str,
        parameter: int | None,
        cause: Exception | None = None,
    ) -> None:
        """Note a mistake, once for each place: a loop makes it in every pass."""
        path = site.path if parameter is None else (*site.path, site.kind.names[parameter])
        if (path, code) in self._reported:
            return
        self._reported.add((path, code))
        known = getattr(cause, "help", None)
        self.diagnostics.append(
            Diagnostic(code, message, path, help=known if isinstance(known, str) else None)
        )


def _expr_at(site: CallSite, position: int) -> Expr | None:
    """What an argument is, where it is no literal."""
    for i, up, slot in site.locals:
        if i == position:
            return Local(up, slot)
    return next((expr for i, expr in site.others if i == position), None)

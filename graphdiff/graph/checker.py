"""Goes through a graph, scope by scope, and reports every mistake in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphdiff.graph.annotations import (
    Bindings,
    has_variables,
    substitute,
    union,
)
from graphdiff.graph.arguments import ArgumentChecker, listed
from graphdiff.graph.codes import CODES
from graphdiff.graph.declared import declared_outs
from graphdiff.graph.input_checks import input_out
from graphdiff.graph.loop_checks import LoopChecker
from graphdiff.graph.mismatch import SCALAR_TYPES
from graphdiff.graph.names import UNREAD, did_you_mean, near
from graphdiff.graph.node import Node
from graphdiff.graph.order import knots, order, place_of
from graphdiff.graph.registry import RESERVED as RESERVED_TYPES
from graphdiff.graph.registry import Registry
from graphdiff.graph.scope import Out, Outs, Scope
from graphdiff.graph.spec import (
    MISSING,
    Call,
    Diagnostic,
    Element,
    Graph,
    GraphPath,
    If,
    Loop,
    Part,
    Place,
)
from graphdiff.graph.types import type_name
from graphdiff.graph.values import Slot, ValueChecker, members
from graphdiff.graph.workflow import Workflow

_MAX_LINES = 8  # of other places of one mistake that are named
_MAX_HELPS = 50  # looking for what was meant takes long in a file with thousands of mistakes


def mistakes(
    workflow: Workflow, registry: Registry, targets: Sequence[str] | None
) -> list[Diagnostic]:
    """The mistakes of a workflow whose named parts are resolved, as they are come upon."""
    checker = _Checker(registry, workflow)
    checker.whole(workflow, targets)
    return checker.told()


class _Checker:
    """Gathers mistakes while it goes through scopes; what a mistake hides is never a second one."""

    def __init__(self, registry: Registry, workflow: Workflow) -> None:
        self.registry = registry
        self.places = workflow.places
        self.found: list[Diagnostic] = []
        self.causes: dict[tuple[object, ...], int] = {}
        self.likewise: dict[int, list[Diagnostic]] = {}
        self.reports = 0
        self.parts: dict[int, tuple[Graph, Outs, Mapping[str, Out]]] = {}
        self.generic: dict[int, bool] = {}
        self.helps = 0
        self.values = ValueChecker(self.add, self.may_help, self.between)
        self.loops = LoopChecker(self.add, self.values, registry)
        self.arguments = ArgumentChecker(self.add, self.may_help, registry)

    def may_help(self) -> bool:
        """Whether there were few enough mistakes to look for what was meant."""
        self.helps += 1
        return self.helps <= _MAX_HELPS

    def between(self, given: Any, wanted: Any) -> str | None:  # noqa: ANN401 - annotations
        """The help that names nodes which take one value and give the other."""
        kinds = [kind for kind in members(wanted) if kind not in SCALAR_TYPES]
        found = [
            node.name
            for node in (self.registry.nodes.values() if kinds else ())
            if any(port.type in kinds for port in node.ports.values())
            and any(p.required and given in members(p.type) for p in node.params.values())
        ]
        return f"{' or '.join(found)} makes one of it" if 0 < len(found) <= 3 else None

    def add(
        self,
        code: str,
        message: str,
        path: GraphPath,
        help: str | None = None,
        *,
        at_key: bool = False,
        cause: tuple[object, ...] | None = None,
    ) -> None:
        """Report a mistake at a value, or at its key: see `values.Report`."""
        assert code in CODES, code
        place: Place | None = (self.places.key if at_key else self.places.value)(path)
        self.reports += 1
        mistake = Diagnostic(code, message, path, place, help)
        if cause is not None and cause in self.causes:
            self.likewise.setdefault(self.causes[cause], []).append(mistake)
            return
        if cause is not None:
            self.causes[cause] = len(self.found)
        self.found.append(mistake)

    def told(self) -> list[Diagnostic]:
        """The mistakes, those of one cause as one at the first place, which names the others."""
        for index, others in self.likewise.items():
            first, *rest = sorted([self.found[index], *others], key=_position)
            here = first.place.line if first.place is not None else 0
            lines = dict.fromkeys(d.place.line for d in rest if d.place is not None)
            lines.pop(here, None)
            if lines:
                named = [str(line) for line in lines][:_MAX_LINES]
                if len(lines) > _MAX_LINES:
                    named.append(f"{len(lines) - _MAX_LINES} more")
                also = f" (also in line{'s' if len(lines) > 1 else ''} {listed(named)})"
                first = replace(first, message=first.message + also)
            self.found[index] = first
        return self.found

    # Graphs.

    def whole(self, workflow: Workflow, targets: Sequence[str] | None) -> None:
        graph = workflow.graph
        self.graph(graph, ())
        if not graph.nodes and not workflow.mistakes and not self.found:
            message = "the workflow has no nodes"
            self.add("nothing-to-run", message, ("nodes",), "add nodes under `nodes:`")
        if targets is None:
            return
        if not targets:
            names = ", ".join([*graph.nodes, *graph.outputs][:12])
            help = f"name one of {names}" if names else None
            self.found.append(Diagnostic("no-targets", "the list of targets is empty", help=help))
        for target in targets:
            first = target.partition(".")[0].partition("[")[0]
            if first not in graph.nodes and first not in graph.outputs:
                message = f"there is no node or output {target}"
                help = did_you_mean(first, [*graph.nodes, *graph.outputs])
                self.found.append(Diagnostic("unknown-target", message, help=help))

    def graph(self, graph: Graph, path: GraphPath) -> tuple[Mapping[str, Out], Outs]:
        """Check a graph, and give what is known of its inputs and outputs."""
        inputs = {
            name: input_out(name, declared, (*path, "inputs", name), self.registry, self.add)
            for name, declared in graph.inputs.items()
        }
        scope = Scope(path, graph.nodes, inputs)
        self.scope(scope)
        outs: dict[str, Out] = {}
        for name, value in graph.outputs.items():
            where = (*path, "outputs", name)
            outs[name] = self.values.type_of(value, Slot(f"outputs.{name}", where, scope))
        return inputs, outs

    # Scopes.

    def scope(self, scope: Scope) -> None:
        """Check the nodes of a scope, each after those it needs."""
        if scope.parent is not None:
            outer = [around.nodes for around in scope.parent.around()]
            scope.shadowed = frozenset(n for n in scope.nodes if any(n in nodes for nodes in outer))
        ordered, left = order(scope.nodes, scope.shadowed)
        for name in ordered:
            scope.results[name] = self.element(name, scope.nodes[name], scope)
        if left:
            self.cycles(left, scope)

    def cycles(self, left: Mapping[str, Iterable[str]], scope: Scope) -> None:
        """Check nodes on cycles, and those behind them."""
        for name in left:
            scope.results[name] = declared_outs(scope.nodes[name], self.registry)
        found = knots(left)
        behind = left.keys() - {name for _, knot in found for name in knot}
        for cycle, knot in found:
            first = cycle[0]
            if len(set(cycle)) == 1:
                message = f"{first} needs its own result"
                loop = isinstance(scope.nodes[first], Loop)
                help = "in its body write $carry.name" if loop else None
            else:
                message = f"nodes need each other's results: {' -> '.join(cycle)}"
                help = "in this chain each needs the next; a Loop's carry goes from pass to pass"
            wires = self.knot(knot, scope)
            at = wires[0] if wires else None
            if at is not None and at.help is not None:
                help = at.help
            path = (*scope.path, "nodes", first)
            wire = place_of(scope.nodes[first], cycle[1])
            where = at.path if at is not None else (*path, *(wire or ()))
            self.add("cycle", message, where, help, at_key=where == path)
        for name in left:
            if name in behind:
                self.element(name, scope.nodes[name], scope)

    def knot(self, knot: frozenset[str], scope: Scope) -> list[Diagnostic]:
        """Check the nodes of a knot, and give what is wrong with the wires between them.

        These are no mistakes beside the cycle: the wire that should not be is one of them.
        """
        start, causes = len(self.found), dict(self.causes)
        for name in scope.nodes:
            if name in knot:
                self.element(name, scope.nodes[name], scope)
        inner = {
            index
            for cause, index in self.causes.items()
            if index >= start and cause[1] == scope.path and cause[2] in knot
        }
        wires = sorted((self.found[i] for i in inner), key=_position)
        kept = [i for i in range(start, len(self.found)) if i not in inner]
        moved = {old: start + new for new, old in enumerate(kept)}
        self.found[start:] = [self.found[i] for i in kept]
        self.causes = causes | {c: moved[i] for c, i in self.causes.items() if i in moved}
        self.likewise = {
            moved.get(i, i): others for i, others in self.likewise.items() if i not in inner
        }
        return wires

    def element(self, name: str, element: Element, scope: Scope) -> Outs | None:
        if name == UNREAD:
            return None
        path = (*scope.path, "nodes", name)
        scope.current = name
        if name in scope.shadowed:
            message = f"{name} is the name of a node outside of the loop {scope.loop}"
            self.add("shadowed-name", message, path, "give one of them another name", at_key=True)
        if isinstance(element, Call):
            return self.call(name, element, path, scope)
        if isinstance(element, Loop):
            body = self.loops.body(name, element, path, scope)
            self.scope(body)
            return self.loops.outs(name, element, path, body)
        if isinstance(element, If):
            own = Slot(name, path, scope)
            self.values.check(element.test, bool, own.below("test"))
            sides = [
                self.values.type_of(value, own.below(key))
                for key, value in (("then", element.then), ("else", element.otherwise))
            ]
            return {"": Out(union(side.type for side in sides), all(s.known for s in sides))}
        return self.part(name, element, path, scope)

    def call(self, name: str, call: Call, path: GraphPath, scope: Scope) -> Outs | None:
        node = self.registry.nodes.get(call.type)
        if node is None:
            if call.type and call.type not in self.registry.parts:
                self.unknown_type(call.type, path)
            if not {"over", "nodes"} <= call.args.keys():  # a Loop, misspelt
                self.values.references(call.args, name, path, scope)
            return None
        bindings: Bindings | None = {} if self.is_generic(node) else None
        known = node.at == "plan"
        before = self.reports
        unknown: list[str] = []
        renamed: list[str] = []
        for argument, value in call.args.items():
            if argument == UNREAD:
                continue
            param = node.params.get(argument)
            where = (*path, argument)
            label = f"{name}.{argument}"
            if param is None:
                if argument in node.renamed:
                    new = node.renamed[argument]
                    message = f"{label} is called {new} now"
                    help = f"write {new}, or run graphdiff validate --fix"
                    self.add("renamed-argument", message, where, help, at_key=True)
                    renamed.append(new)
                else:
                    unknown.append(argument)
                self.values.references({argument: value}, name, path, scope)
                continue
            slot = Slot(label, where, scope, bindings)
            known &= self.values.check(value, param.type, slot).known
        required = {
            p.name: _said(type_name(p.type), p.help) for p in node.params.values() if p.required
        }
        given = {**call.args, **dict.fromkeys(renamed)}
        wrong = self.arguments.check(name, call.type, given, unknown, node.params, required, path)
        if wrong or (bindings is not None and self.reports > before):
            return None
        return {
            port.name: Out(
                substitute(port.type, bindings) if bindings is not None else port.type, known
            )
            for port in node.ports.values()
        }

    def unknown_type(self, written: str, path: GraphPath) -> None:
        names = [*self.registry.nodes, *self.registry.parts, *RESERVED_TYPES]
        help = "graphdiff nodes lists them; --nodes FILE loads your own"
        if self.may_help() and (nearest := near(written, names)) is not None:
            help = f"did you mean {nearest}?"
        message = f"there is no node or part called {written}"
        self.add("unknown-node-type", message, (*path, "type"), help)

    def is_generic(self, node: Node[..., Any]) -> bool:
        found = self.generic.get(id(node))
        if found is None:
            found = any(has_variables(param.type) for param in node.params.values())
            self.generic[id(node)] = found
        return found

    def part(self, name: str, part: Part, path: GraphPath, scope: Scope) -> Outs | None:
        if id(part.graph) not in self.parts:
            # Twice included is checked once; its mistakes stand in its own file.
            inputs, outs = self.graph(part.graph, (*path, "type"))
            self.parts[id(part.graph)] = part.graph, outs, inputs
        _, outs, inputs = self.parts[id(part.graph)]
        known = True
        unknown: list[str] = []
        for argument, value in part.args.items():
            if argument == UNREAD or UNREAD in part.graph.inputs:
                continue
            where = (*path, argument)
            if argument not in inputs:
                unknown.append(argument)
                self.values.references({argument: value}, name, path, scope)
                continue
            slot = Slot(f"{name}.{argument}", where, scope)
            known &= self.values.check(value, inputs[argument].type, slot).known
        required = {
            n: _said(declared.type, declared.help)
            for n, declared in part.graph.inputs.items()
            if declared.default is MISSING and n != UNREAD
        }
        wrong = self.arguments.check(name, part.type, part.args, unknown, inputs, required, path)
        if wrong or UNREAD in outs:
            return None
        return {n: Out(out.type, out.known and known) for n, out in outs.items()}


def _position(mistake: Diagnostic) -> tuple[int, int]:
    place = mistake.place
    return (place.line, place.column) if place is not None else (0, 0)


def _said(kind: str, help: str) -> str:
    return f"{kind}: {help}" if help else kind

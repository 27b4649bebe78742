"""Goes through a graph, scope by scope, and reports every mistake in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphdiff.graph.annotations import (
    Bindings,
    has_variables,
    substitute,
    union,
)
from graphdiff.graph.codes import CODES
from graphdiff.graph.declared import declared_outs
from graphdiff.graph.input_checks import input_out
from graphdiff.graph.inputs import UnknownTypeError, input_annotation
from graphdiff.graph.loop_checks import LoopChecker
from graphdiff.graph.names import UNREAD, did_you_mean, near
from graphdiff.graph.node import Node
from graphdiff.graph.order import cycles, order
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
    Value,
)
from graphdiff.graph.types import type_name
from graphdiff.graph.values import Slot, ValueChecker
from graphdiff.graph.workflow import Workflow

_MAX_HELPS = 50  # looking for what was meant takes long in a file with thousands of mistakes


def mistakes(
    workflow: Workflow, registry: Registry, targets: Sequence[str] | None
) -> list[Diagnostic]:
    """The mistakes of a workflow whose named parts are resolved, as they are come upon."""
    checker = _Checker(registry, workflow)
    checker.whole(workflow, targets)
    return checker.found


class _Checker:
    """Gathers mistakes while it goes through scopes; what a mistake hides is never a second one."""

    def __init__(self, registry: Registry, workflow: Workflow) -> None:
        self.registry = registry
        self.places = workflow.places
        self.found: list[Diagnostic] = []
        self.parts: dict[int, tuple[Graph, Outs]] = {}
        self.generic: dict[int, bool] = {}
        self.helps = 0
        self.values = ValueChecker(self.add, self.may_help)
        self.loops = LoopChecker(self.add, self.values, registry)

    def may_help(self) -> bool:
        """Whether there were few enough mistakes to look for what was meant."""
        self.helps += 1
        return self.helps <= _MAX_HELPS

    def add(
        self,
        code: str,
        message: str,
        path: GraphPath,
        help: str | None = None,
        *,
        at_key: bool = False,
    ) -> None:
        """Report a mistake at a value, or at its key."""
        assert code in CODES, code
        place: Place | None = (self.places.key if at_key else self.places.value)(path)
        self.found.append(Diagnostic(code, message, path, place, help))

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

    def graph(self, graph: Graph, path: GraphPath) -> Outs:
        """Check a graph and give its outputs."""
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
        return outs

    # Scopes.

    def scope(self, scope: Scope) -> None:
        """Check the nodes of a scope, each after those it needs."""
        ordered, left = order(scope.nodes)
        for name in ordered:
            scope.results[name] = self.element(name, scope.nodes[name], scope)
        if left:
            self.cycles(left, scope)
            for name in left:
                scope.results[name] = declared_outs(scope.nodes[name], self.registry)
            for name in left:
                self.element(name, scope.nodes[name], scope)

    def cycles(self, left: Mapping[str, Iterable[str]], scope: Scope) -> None:
        for cycle in cycles(left):
            first = cycle[0]
            if len(set(cycle)) == 1:
                message = f"{first} needs its own result"
                loop = isinstance(scope.nodes[first], Loop)
                help = "in its body write $carry.name" if loop else None
            else:
                message = f"nodes need each other's results: {' -> '.join(cycle)}"
                help = "in this chain each needs the next; a Loop's carry goes from pass to pass"
            path = (*scope.path, "nodes", first)
            self.add("cycle", message, path, help, at_key=True)

    def element(self, name: str, element: Element, scope: Scope) -> Outs | None:
        if name == UNREAD:
            return None
        path = (*scope.path, "nodes", name)
        scope.current = name
        if scope.parent is not None and any(name in outer.nodes for outer in scope.parent.around()):
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
            self.values.references(call.args, name, path, scope)
            return None
        bindings: Bindings | None = {} if self.is_generic(node) else None
        known = node.at == "plan"
        unknown: list[str] = []
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
                    unknown.append(new)
                else:
                    unknown.append(argument)
                    self.unknown_argument(call.type, argument, node.params, where)
                self.values.references({argument: value}, name, path, scope)
                continue
            slot = Slot(label, where, scope, bindings)
            known &= self.values.check(value, param.type, slot).known
        required = {
            p.name: _said(type_name(p.type), p.help) for p in node.params.values() if p.required
        }
        self.missing_arguments(name, call.type, call.args, unknown, required, path)
        return {
            port.name: Out(
                substitute(port.type, bindings) if bindings is not None else port.type, known
            )
            for port in node.ports.values()
        }

    def unknown_type(self, written: str, path: GraphPath) -> None:
        names = [*self.registry.nodes, *self.registry.parts, *RESERVED_TYPES]
        help = "graphdiff nodes lists them"
        if self.may_help() and (nearest := near(written, names)) is not None:
            help = f"did you mean {nearest}?"
        message = f"there is no node or part called {written}"
        self.add("unknown-node-type", message, (*path, "type"), help)

    def unknown_argument(
        self, kind: str, argument: str, known: Iterable[str], path: GraphPath
    ) -> None:
        help = did_you_mean(argument, known) if self.may_help() else None
        message = f"{kind} has no input {argument}"
        self.add("unknown-argument", message, path, help, at_key=True)

    def missing_arguments(
        self,
        name: str,
        kind: str,
        args: Mapping[str, Value],
        unknown: list[str],
        required: Mapping[str, str],
        path: GraphPath,
    ) -> None:
        if UNREAD in args:
            return
        # `required` says in words what each argument takes that must be given.
        missing = [argument for argument in required if argument not in args]
        for argument in unknown:  # a misspelt argument is not missing too
            if (meant := near(argument, missing)) is not None:
                missing.remove(meant)
        for argument in missing:
            message = f"{name}: {kind} needs {argument}"
            help = f"{argument} is {required[argument]}"
            self.add("missing-argument", message, path, help, at_key=True)

    def is_generic(self, node: Node[..., Any]) -> bool:
        found = self.generic.get(id(node))
        if found is None:
            found = any(has_variables(param.type) for param in node.params.values())
            self.generic[id(node)] = found
        return found

    def part(self, name: str, part: Part, path: GraphPath, scope: Scope) -> Outs | None:
        if id(part.graph) not in self.parts:
            # Twice included is checked once; its mistakes stand in its own file.
            self.parts[id(part.graph)] = part.graph, self.graph(part.graph, (*path, "type"))
        outs = self.parts[id(part.graph)][1]
        known = True
        unknown: list[str] = []
        for argument, value in part.args.items():
            if argument == UNREAD or UNREAD in part.graph.inputs:
                continue
            declared = part.graph.inputs.get(argument)
            where = (*path, argument)
            if declared is None:
                unknown.append(argument)
                self.unknown_argument(part.type, argument, part.graph.inputs, where)
                self.values.references({argument: value}, name, path, scope)
                continue
            annotation: Any = Any
            if declared.type:
                try:
                    annotation = input_annotation(declared, self.registry.types)
                except UnknownTypeError:
                    annotation = Any
            slot = Slot(f"{name}.{argument}", where, scope)
            known &= self.values.check(value, annotation, slot).known
        required = {
            n: _said(declared.type, declared.help)
            for n, declared in part.graph.inputs.items()
            if declared.default is MISSING
        }
        self.missing_arguments(name, part.type, part.args, unknown, required, path)
        if UNREAD in outs:
            return None
        return {n: Out(out.type, out.known and known) for n, out in outs.items()}


def _said(kind: str, help: str) -> str:
    return f"{kind}: {help}" if help else kind

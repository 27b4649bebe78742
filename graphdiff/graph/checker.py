"""Goes through a graph, scope by scope, and reports every mistake in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphdiff.graph.codes import CODES
from graphdiff.graph.data import is_mapping, is_sequence
from graphdiff.graph.literals import (
    SCALARS,
    LiteralError,
    UnknownTypeError,
    convert,
    input_annotation,
)
from graphdiff.graph.names import UNREAD, did_you_mean, near
from graphdiff.graph.node import Node
from graphdiff.graph.order import cycles, has_refs, order
from graphdiff.graph.registry import RESERVED as RESERVED_TYPES
from graphdiff.graph.registry import Registry
from graphdiff.graph.scope import ANYTHING, Out, Outs, Scope, UnresolvedError
from graphdiff.graph.spec import (
    MISSING,
    Call,
    Diagnostic,
    Element,
    Graph,
    GraphPath,
    If,
    Input,
    Loop,
    Part,
    Place,
    Ref,
    Value,
)
from graphdiff.graph.types import (
    Bindings,
    has_variables,
    item_type,
    list_of,
    show,
    substitute,
    type_name,
    union,
)
from graphdiff.graph.values import ValueChecker
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
            name: self.input(name, declared, (*path, "inputs", name))
            for name, declared in graph.inputs.items()
        }
        scope = Scope(path, graph.nodes, inputs)
        self.scope(scope)
        outs: dict[str, Out] = {}
        for name, value in graph.outputs.items():
            where = (*path, "outputs", name)
            outs[name] = self.values.type_of(value, scope, f"outputs.{name}", where)
        return outs

    def input(self, name: str, declared: Input, path: GraphPath) -> Out:
        label = f"inputs.{name}"
        if not declared.type:
            return ANYTHING
        base = Input(declared.type)
        try:
            plain = input_annotation(base, self.registry.types if _is_wire(base) else {})
        except UnknownTypeError as error:
            names = [*SCALARS, *self.registry.types]
            wanted = str(error.args[0])
            help: str | None = (
                did_you_mean(wanted, names) or f"there is {', '.join(SCALARS)}, and lists: [str]"
            )
            message = f"{label}: there is no type {wanted}"
            self.add("unknown-type", message, (*path, "type"), help)
            return ANYTHING
        annotation = input_annotation(declared, self.registry.types if _is_wire(base) else {})
        if not self.wrong_input(label, declared, plain, path) and declared.default is not MISSING:
            try:
                convert(declared.default, annotation)
            except LiteralError as error:
                help = error.help
                if declared.default is None and not declared.optional:
                    help = "write optional: true, or another default"
                self.add(error.code, f"{label}: {error.message}", (*path, "default"), help)
        return Out(annotation, True)

    def wrong_input(self, label: str, declared: Input, plain: Any, path: GraphPath) -> bool:  # noqa: ANN401
        """Report a declaration that contradicts itself."""
        before = len(self.found)
        if _is_wire(declared) and declared.default not in (MISSING, None):
            message = f"{label}: a {declared.type} is wired in, it has no default"
            self.add("wrong-input", message, (*path, "default"), "remove the default")
        for key, bound in (("min", declared.min), ("max", declared.max)):
            if bound is not None and plain not in (int, float):
                message = f"{label}: {key} is for numbers, and this is {declared.type}"
                self.add("wrong-input", message, (*path, key))
        if declared.min is not None and declared.max is not None and declared.min > declared.max:
            message = f"{label}: min {declared.min} is more than max {declared.max}"
            self.add("wrong-input", message, (*path, "min"))
        for i, choice in enumerate(declared.choices or ()):
            try:
                convert(choice, plain)
            except LiteralError as error:
                where = (*path, "choices", i)
                self.add(error.code, f"{label}: {error.message}", where, error.help)
        return len(self.found) > before

    # Scopes.

    def scope(self, scope: Scope) -> None:
        """Check the nodes of a scope, each after those it needs."""
        ordered, left = order(scope.nodes)
        for name in ordered:
            scope.results[name] = self.element(name, scope.nodes[name], scope)
        if left:
            self.cycles(left, scope)
            for name in left:
                scope.results[name] = self.declared(scope.nodes[name])
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

    def declared(self, element: Element) -> Outs | None:
        """What an element gives as far as its declaration says, for those on a cycle."""
        node = self.registry.nodes.get(element.type) if isinstance(element, Call) else None
        if node is None:
            return None
        return {n: Out(substitute(port.type, {}), True) for n, port in node.ports.items()}

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
            return self.loop(name, element, path, scope)
        if isinstance(element, If):
            self.values.check(element.test, bool, f"{name}.test", (*path, "test"), scope, None)
            sides = [
                self.values.type_of(value, scope, f"{name}.{key}", (*path, key))
                for key, value in (("then", element.then), ("else", element.otherwise))
            ]
            return {"": Out(union([side.type for side in sides]), all(s.known for s in sides))}
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
            known &= self.values.check(value, param.type, label, where, scope, bindings).known
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
            label = f"{name}.{argument}"
            known &= self.values.check(value, annotation, label, where, scope, None).known
        required = {
            n: _said(declared.type, declared.help)
            for n, declared in part.graph.inputs.items()
            if declared.default is MISSING
        }
        self.missing_arguments(name, part.type, part.args, unknown, required, path)
        if UNREAD in outs:
            return None
        return {n: Out(out.type, out.known and known) for n, out in outs.items()}

    # Loops.

    def loop(self, name: str, loop: Loop, path: GraphPath, scope: Scope) -> Outs | None:
        item, known = self.over(name, loop, path, scope)
        start = {
            carried: self.values.type_of(
                value, scope, f"{name}.{carried}", (*path, "carry", carried)
            )
            for carried, value in loop.carry.items()
        }
        body = Scope(
            path, loop.nodes, scope.inputs, scope, name, item, Out(int, known), dict(start)
        )
        body.carry = {
            carried: Out(union([out.type, self.next_type(loop, carried, body)]), False)
            for carried, out in start.items()
        }
        self.scope(body)
        self.next(name, loop, path, body)
        outs = dict(body.carry)
        for collected, value in loop.collect.items():
            where = (*path, "collect", collected)
            out = self.values.type_of(value, body, f"{name}.{collected}", where)
            if collected in outs:
                message = f"{name} gives two outputs called {collected}: its carry, and a list"
                help = "collect it under another name"
                self.add("duplicate-output", message, where, help, at_key=True)
                continue
            outs[collected] = Out(list_of(out.type), out.known and known)
        if loop.until is not None:
            until = (*path, "until")
            self.values.check(loop.until, bool, f"{name}.until", until, body, None)
        return None if UNREAD in outs else outs

    def over(
        self, name: str, loop: Loop, path: GraphPath, scope: Scope
    ) -> tuple[Out | Mapping[str, Out], bool]:
        """What `$item` is, and whether the number of passes is known before the run."""
        where = (*path, "over")
        if not is_mapping(loop.over):
            item = self.items(loop.over, f"{name}.over", where, scope)
            return item, item.known
        zipped = loop.over
        items = {
            key: self.items(value, f"{name}.over.{key}", (*where, key), scope)
            for key, value in zipped.items()
        }
        lengths = {
            key: length for key, value in zipped.items() if (length := _length(value)) is not None
        }
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            message = f"{name} goes over lists of unequal lengths: {told}"
            self.add("unequal-lengths", message, where)
        if not zipped:
            self.add("wrong-shape", f"{name} goes over nothing", where, "write over: a list")
        return items, all(out.known for out in items.values())

    def items(self, value: Value, label: str, path: GraphPath, scope: Scope) -> Out:
        """What looping over a value gives in each pass."""
        if value is MISSING:
            return ANYTHING
        if isinstance(value, list):
            found = self.values.type_of(value, scope, label, path)
            return Out(item_type(found.type) if value else Any, found.known)
        if type(value) is int:
            if value < 0:
                message = f"{label}: wants at least 0 passes, got {value}"
                self.add("out-of-bounds", message, path)
            return Out(int, True)
        help = "loop over a list, a schedule, a number of passes, or a map of these"
        if not isinstance(value, Ref):
            if isinstance(value, (str, float, bool)) or value is None:
                self.add("wrong-literal", f"{label}: {show(value)} is no list", path, help)
                return ANYTHING
            return Out(item_type(type(value)) or Any, True)
        found = self.values.type_of(value, scope, label, path)
        item = item_type(found.type)
        if item is None:
            message = f"{label}: {value} is {type_name(found.type)}, which is no list"
            self.add("type-mismatch", message, path, help)
            return ANYTHING
        return Out(item, found.known)

    def next_type(self, loop: Loop, carried: str, body: Scope) -> Any:  # noqa: ANN401
        """The type of what `next` gives under a name, by what the body's nodes declare."""
        value: Value = MISSING
        if isinstance(loop.next, Ref):
            value = Ref((*loop.next.path, carried))
        elif carried in loop.next:
            value = loop.next[carried]
        else:
            return Any  # next has no such name, which is reported
        return self.declared_type(value, body, 0)

    def declared_type(self, value: Value, body: Scope, depth: int) -> Any:  # noqa: ANN401
        """The type of a value of a body before the body is checked; anything where that is hard."""
        if not isinstance(value, Ref):
            return Any if has_refs(value) else self.values.literal_type(value)
        first, rest = value.path[0] if value.path else "", value.path[1:]
        element = body.nodes.get(first)
        if element is None or depth > 20:
            try:
                out = body.find(value) if value.path else None
            except UnresolvedError:
                out = None
            return out.type if out is not None else Any
        if isinstance(element, Call):
            outs = self.declared(element) or {}
            if not rest and len(outs) == 1:
                return next(iter(outs.values())).type
            return outs[rest[0]].type if len(rest) == 1 and rest[0] in outs else Any
        if isinstance(element, If):
            sides = (element.then, element.otherwise)
            return union(self.declared_type(side, body, depth + 1) for side in sides)
        if isinstance(element, Loop) and len(rest) == 1 and rest[0] in element.carry:
            start = self.declared_type(element.carry[rest[0]], body, depth + 1)
            inner = Scope((), element.nodes, body.inputs, body, first)
            inner.carry = {n: ANYTHING for n in element.carry}
            following: Value = MISSING
            if isinstance(element.next, Ref):
                following = Ref((*element.next.path, rest[0]))
            elif rest[0] in element.next:
                following = element.next[rest[0]]
            if isinstance(following, Ref) and following.path[:1] == ("carry",):
                return start
            return union([start, self.declared_type(following, inner, depth + 1)])
        return Any

    def next(self, name: str, loop: Loop, path: GraphPath, body: Scope) -> None:
        """Check what a pass gives to the next one."""
        where = (*path, "next")
        if UNREAD in loop.carry:
            return
        if isinstance(loop.next, Ref):
            self.next_of_one(name, loop, loop.next, where, body)
            return
        for carried, value in loop.next.items():
            self.values.type_of(value, body, f"{name}.next.{carried}", (*where, carried))
        if UNREAD in loop.next:
            return
        missing = [n for n in loop.carry if n not in loop.next]
        extra = [n for n in loop.next if n not in loop.carry]
        if missing or extra:
            message = f"carry and next of {name} differ: " + "; ".join(
                [f"next has no {n}" for n in missing] + [f"carry has no {n}" for n in extra]
            )
            help = "each pass gives the next one everything that is carried"
            at = where if loop.next else (*path, "carry")
            self.add("carry-mismatch", message, at, help, at_key=True)

    def next_of_one(self, name: str, loop: Loop, ref: Ref, path: GraphPath, body: Scope) -> None:
        """Check `next: $step`, which is short for each of its outputs by name."""
        if not ref.path:
            return
        first = ref.path[0]
        if len(ref.path) != 1 or first not in body.nodes:
            if self.values.type_of(ref, body, f"{name}.next", path).type is not Any:
                help = f"write next: {{{', '.join(f'{n}: ...' for n in loop.carry)}}}"
                message = f"next of {name} is a node of the body with outputs named as carry's"
                self.add("carry-mismatch", message, path, help)
            return
        outs = body.results.get(first)
        if outs is None:
            return
        missing = [n for n in loop.carry if n not in outs]
        if missing or not loop.carry:
            gives = ", ".join(n for n in outs if n) or "one output without a name"
            carries = ", ".join(loop.carry) or "nothing"
            message = f"carry and next of {name} differ: it carries {carries}, {ref} gives {gives}"
            help = f"write next: {{{', '.join(f'{n}: ...' for n in loop.carry)}}}"
            self.add("carry-mismatch", message, path, help if loop.carry else None)


def _length(over: Value) -> int | None:
    """How many passes a loop over a value has, where the file says it."""
    if is_sequence(over):
        return len(over)
    return over if type(over) is int else None


def _said(kind: str, help: str) -> str:
    return f"{kind}: {help}" if help else kind


def _is_wire(declared: Input) -> bool:
    return declared.type.strip("[] ") not in SCALARS

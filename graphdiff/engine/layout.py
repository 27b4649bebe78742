"""Lays graphs out for linking: every reference becomes a slot, every literal is converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard, cast

from graphdiff.engine.body import (
    Body,
    CallSite,
    Expr,
    Gathered,
    IfSite,
    Joined,
    Local,
    LoopSite,
    PartSite,
)
from graphdiff.engine.keys import token_of
from graphdiff.engine.kind import Kind
from graphdiff.engine.task import Known
from graphdiff.engine.values import UnkeyableError
from graphdiff.graph.literals import LiteralError, converter, input_annotation
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import (
    MISSING,
    Call,
    Diagnostic,
    Graph,
    GraphPath,
    If,
    Loop,
    Part,
    Ref,
    Text,
    WorkflowError,
)


class Compiler:
    """Lays out graphs; the kinds of nodes are its own, so that one run sees one of each.

    Args:
        registry: The node types.
        kind_of: What the engine knows of a node.
    """

    def __init__(self, registry: Registry, kind_of: Callable[[Any], Kind]) -> None:
        self._registry = registry
        self._kind_of = kind_of
        self._kinds: dict[str, Kind] = {}

    def graph(self, graph: Graph, path: GraphPath = ()) -> Body:
        """Lay out a graph whose parts are resolved and that has passed the checker.

        Raises:
            WorkflowError: a literal does not fit, or a name is unknown.
        """
        body = Body(graph, graph.nodes, path, None, "")
        for name, declared in graph.inputs.items():
            convert = converter(input_annotation(declared, self._types(declared.type)))
            default = None
            if declared.default is not MISSING:
                value = _converted(convert, declared.default, (*path, "inputs", name, "default"))
                default = Known(value, token_of(value), graph.folder)
            body.inputs[name] = convert, default
        self._elements(body)
        _note_effects(body)
        for name, value in graph.outputs.items():
            body.slots[f"$output.{name}"] = "inner", self._expr(value, body), None
        body.outputs = tuple(graph.outputs)
        return body

    def _types(self, name: str) -> Mapping[str, type]:
        plain = name.strip("[] ")
        return {} if plain in ("str", "int", "float", "bool", "path") else self._registry.types

    def _elements(self, body: Body) -> None:
        for label, element in body.elements.items():
            if element.__class__ is Call:
                self._call(label, element, body)
                continue
            path = (*body.path, "nodes", label)
            if isinstance(element, Loop):
                self._loop(label, element, body, path)
            elif isinstance(element, If):
                site = IfSite(
                    label,
                    path,
                    self._expr(element.test, body),
                    self._expr(element.then, body),
                    self._expr(element.otherwise, body),
                )
                body.labels[label] = site
                body.slots[label] = "if", site, None
            elif isinstance(element, Part):
                self._part(label, element, body, path)

    def _call(self, label: str, call: Any, body: Body) -> None:  # noqa: ANN401
        kind = self._kinds.get(call.type)
        if kind is None:
            node = self._registry.nodes.get(call.type)
            if node is None:
                where = (*body.path, "nodes", label)
                raise _mistake("unknown-node-type", f"no node is called {call.type}", where)
            kind = self._kinds[call.type] = self._kind_of(node)
        site = CallSite(label, kind, body.path)
        args, tokens, given = site.args, site.tokens, call.args
        local: list[tuple[int, int, str]] = []
        others: list[tuple[int, Expr]] = []
        count = 0
        for i, name in enumerate(kind.names):
            if name in given:
                count += 1
                value = given[name]
                if value.__class__ is Ref:
                    found = self._ref(value, body)
                    local.append((i, found.up, found.slot))
                    continue
                if value.__class__ is not kind.exact[i]:
                    expr = self._argument(value, body, kind.convert[i], (*site.path, name))
                    if not isinstance(expr, Known):
                        others.append((i, expr))
                        continue
                    args[i], tokens[i] = expr.value, expr.token
                else:
                    args[i], tokens[i] = value, token_of(value)
            else:
                default = kind.defaults[i]
                if default is None:
                    raise _mistake("missing-argument", f"{label} needs {name}", (*site.path, name))
                args[i], tokens[i] = default.value, default.token
        if count != len(given):
            name = next(name for name in given if name not in kind.place)
            raise _mistake("unknown-argument", f"{label} has no {name}", (*site.path, name))
        if local:
            site.locals = tuple(local)
        if others:
            site.others = tuple(others)
        body.labels[label] = site
        if kind.single:
            body.slots[label] = site
        else:
            for port in kind.ports:
                body.slots[f"{label}.{port}"] = site

    def _argument(
        self,
        value: Any,  # noqa: ANN401 - any literal
        body: Body,
        convert: Callable[[object], object],
        path: GraphPath,
    ) -> Expr:
        expr = self._expr(value, body, converted=False)
        if isinstance(expr, Known):
            plain = _converted(convert, expr.value, path)
            try:
                return Known(plain, token_of(plain), body.folder)
            except UnkeyableError as error:
                raise _mistake("no-content", f"{path[-1]}: {error}", path) from None
        return expr

    def _loop(self, label: str, loop: Loop, body: Body, path: GraphPath) -> None:
        over: Expr | dict[str, Expr]
        if _is_map(loop.over):
            over = {name: self._expr(value, body) for name, value in loop.over.items()}
        else:
            over = self._expr(loop.over, body)
        site = LoopSite(label, path, over)
        inner = site.body = Body(body.graph, loop.nodes, path, body, label)
        site.names = tuple(loop.carry)
        site.collect = tuple(loop.collect)
        site.until = loop.until is not None
        inner.slots["$index"] = "index", None, None
        if isinstance(over, dict):
            for name in over:
                inner.slots[f"$item.{name}"] = "item", None, name
        else:
            inner.slots["$item"] = "item", None, ""
        self._elements(inner)
        _note_effects(inner)
        for name, value in loop.carry.items():
            following = self._next(loop.next, name, inner)
            first = self._expr(value, body)
            inner.slots[f"$next.{name}"] = "inner", following, None
            inner.slots[f"$carry.{name}"] = "carry", f"$next.{name}", first
            body.slots[f"{label}.{name}"] = "loop-output", site, f"$next.{name}"
        for name, value in loop.collect.items():
            inner.slots[f"$collect.{name}"] = "inner", self._expr(value, inner), None
            body.slots[f"{label}.{name}"] = "collected", site, f"$collect.{name}"
        if loop.until is not None:
            inner.slots["$until"] = "inner", self._expr(loop.until, inner), None
        body.labels[label] = site
        body.slots[f"${label}"] = "loop", site, None

    def _next(self, following: Any, name: str, inner: Body) -> Expr:  # noqa: ANN401
        if not isinstance(following, Ref):
            return self._expr(following[name], inner)
        call = inner.elements.get(following.path[0]) if len(following.path) == 1 else None
        if isinstance(call, Call) and tuple(self._registry.nodes[call.type].ports) == ("",):
            return self._expr(following, inner)
        return self._expr(Ref((*following.path, name)), inner)

    def _part(self, label: str, part: Part, body: Body, path: GraphPath) -> None:
        inner = self.graph(part.graph, (*path, "type"))
        site = PartSite(label, path, inner)
        for name, value in part.args.items():
            if name not in inner.inputs:
                raise _mistake("unknown-argument", f"{label} has no {name}", (*path, name))
            inner.slots[f"$inputs.{name}"] = "argument", self._expr(value, body), name
        for name, (_, default) in inner.inputs.items():
            if name not in part.args:
                if default is None:
                    raise _mistake("missing-argument", f"{label} needs {name}", (*path, name))
                inner.slots[f"$inputs.{name}"] = "inner", default, None
        body.labels[label] = site
        body.slots[f"${label}"] = "part", site, None
        for name in inner.outputs:
            body.slots[f"{label}.{name}"] = "part-output", site, f"$output.{name}"

    def _expr(self, value: Any, body: Body, *, converted: bool = True) -> Expr:  # noqa: ANN401
        """A value with its references resolved.

        Args:
            value: The value.
            body: Where it stands.
            converted: Whether a literal is as it will be used, so that it has a token.
        """
        if isinstance(value, Ref):
            return self._ref(value, body)
        if isinstance(value, Text):
            parts = tuple(p if isinstance(p, str) else self._ref(p, body) for p in value.parts)
            return Joined(parts, body.folder)
        if isinstance(value, list | tuple) and _refers(value):
            items = cast(list[Any], value)
            return Gathered([self._expr(item, body) for item in items])
        if isinstance(value, dict) and _refers(value):
            named = cast(dict[str, Any], value)
            return Gathered({name: self._expr(item, body) for name, item in named.items()})
        return Known(value, token_of(value) if converted else b"", body.folder)

    def _ref(self, ref: Ref, body: Body) -> Local:
        path = ref.path
        head = path[0]
        if head in ("item", "index", "carry"):
            return _found(Local(0, "$" + ".".join(path)), body, ref)
        beside = body.labels.get(head)
        if isinstance(beside, CallSite) and beside.kind.single and len(path) == 1:
            return Local(0, head)
        up = 0
        while True:
            local: Local | None = None
            if head == "inputs":
                if body.parent is None:
                    local = Local(up, "$" + ".".join(path))
            elif head in body.elements:
                local = self._output(Local(up, ".".join(path)), body, ref)
            elif head == body.loop and len(path) > 1 and path[1] in ("item", "index", "carry"):
                local = _found(Local(up, "$" + ".".join(path[1:])), body, ref)
            if local is not None:
                return local
            if body.parent is None:
                raise _mistake("unknown-node", f"{ref} is nothing that exists here", body.path)
            body = body.parent
            up += 1

    def _output(self, local: Local, body: Body, ref: Ref) -> Local:
        """The slot of a reference to a node; one of its name alone means its only output."""
        element = body.elements[ref.path[0]]
        if len(ref.path) > 1 or isinstance(element, If):
            return local
        names: list[str]
        if isinstance(element, Call):
            kind = self._kinds.get(element.type)
            if kind is not None and kind.single:
                return local
            node = self._registry.nodes.get(element.type)
            names = list(node.ports) if node else []
        elif isinstance(element, Part):
            names = list(element.graph.outputs)
        else:
            names = [*element.carry, *element.collect]
        if names == [""]:
            return local
        if len(names) != 1:
            raise _mistake("ambiguous-output", f"{ref} has outputs {', '.join(names)}", body.path)
        return Local(local.up, f"{local.slot}.{names[0]}")


def _note_effects(body: Body) -> None:
    """Give a body a slot for all effects in it, if there are any."""
    found: list[str] = []
    for label, site in body.labels.items():
        if isinstance(site, CallSite) and site.kind.effect:
            found.append(label if site.kind.single else f"{label}.{site.kind.ports[0]}")
        elif isinstance(site, LoopSite | PartSite) and "$effects" in site.body.slots:
            found.append(f"$effects.{label}")
            if isinstance(site, LoopSite):
                body.slots[f"$effects.{label}"] = "loop-effects", site, None
            else:
                body.slots[f"$effects.{label}"] = "part-output", site, "$effects"
    if found:
        body.slots["$effects"] = "effects", tuple(found), None


def _is_map(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _refers(value: Any) -> bool:  # noqa: ANN401 - any literal
    """Whether there is a reference in a value."""
    kind = value.__class__
    if kind is Ref or kind is Text:
        return True
    if kind is list or kind is tuple:
        return any(map(_refers, value))
    if kind is dict:
        return any(map(_refers, value.values()))
    return False


def _found(local: Local, body: Body, ref: Ref) -> Local:
    # A carry's slot is made after the nodes that read it; any other name is a mistake.
    later = local.slot.startswith("$carry.") and body.parent is not None
    if local.slot not in body.slots and not later:
        raise _mistake("out-of-loop", f"{ref} is nothing that exists here", body.path)
    return local


def _converted(convert: Callable[[object], object], value: object, path: GraphPath) -> object:
    try:
        return convert(value)
    except LiteralError as error:
        diagnostic = Diagnostic(error.code, error.message, path, help=error.help)
        raise WorkflowError((diagnostic,)) from None


def _mistake(code: str, message: str, path: GraphPath) -> WorkflowError:
    return WorkflowError((Diagnostic(code, message, path),))

"""Records of nodes that Python calls made, as the data of a graph: handles become references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from graphdiff.graph import spec
from graphdiff.graph.handles import Handle, parts
from graphdiff.graph.records import DeclaredInput, Record, Scope, Template, Variable, record_of
from graphdiff.graph.spec import GraphPath, Value


def elements(scope: Scope) -> dict[str, spec.Element]:
    """The nodes of a scope by name; all of them have one."""
    return {_name(record): _element(record) for record in scope.records}


def records_by_path(scope: Scope, path: GraphPath) -> Iterator[tuple[GraphPath, Record]]:
    """The records of a scope and of the loops in it, each with its path in the graph."""
    for record in scope.records:
        below = (*path, "nodes", _name(record))
        yield below, record
        if record.body is not None:
            yield from records_by_path(record.body, below)


def lowered(value: Any, scope: Scope) -> Value:  # noqa: ANN401 - any value of an argument
    """A value as the graph's data holds it: handles as references, plain data as JSON has it."""
    if isinstance(value, Handle):
        return _ref(value, scope)
    if isinstance(value, Template):
        merged: list[str | spec.Ref] = []
        for part in value.parts:
            new = _ref(part, scope) if isinstance(part, Handle) else part
            if isinstance(new, str) and merged and isinstance(merged[-1], str):
                merged[-1] += new
            elif new:
                merged.append(new)
        return spec.Text(tuple(merged))
    if type(value) in (str, int, float, bool) or value is None:
        return value
    if isinstance(value, Enum):
        plain = isinstance(value.value, (str, int, float))
        return value.value if plain else value.name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {key: lowered(item, scope) for key, item in value.items()}  # pyright: ignore
    if type(value) in (list, tuple):
        return [lowered(item, scope) for item in value]
    return value


def _ref(handle: Handle, scope: Scope) -> spec.Ref:
    origin, tail = parts(handle)
    if isinstance(origin, DeclaredInput):
        return spec.Ref(("inputs", origin.name, *tail))
    if isinstance(origin, Variable):
        own = (origin.word, *tail)
        inner = scope.loop is origin.loop
        return spec.Ref(own if inner else (_name(origin.loop), *own))
    return spec.Ref((_name(record_of(origin)), *tail))


def _element(record: Record) -> spec.Element:
    args = {name: lowered(value, record.scope) for name, value in record.args.items()}
    if record.body is not None:
        until = None if record.until is None else _ref(record.until, record.body)
        following = lowered(record.next, record.body)
        return spec.Loop(
            over=args["over"],
            nodes=elements(record.body),
            carry=args["carry"],
            next=following,
            collect={name: lowered(v, record.body) for name, v in record.collect.items()},
            until=until,
        )
    if record.part is not None:
        return spec.Part(record.kind, record.part, args)
    if record.node is None:
        return spec.If(args["test"], args["then"], args["else"])
    return spec.Call(record.kind, args)


def _name(record: Record) -> str:
    assert record.name is not None  # `spec` names every record before it asks
    return record.name

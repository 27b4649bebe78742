"""Graphs built by Python calls: `with Graph():`, node calls, Loop, If, Input, output."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from graphdiff.graph import spec
from graphdiff.graph.block import Block, name_the_rest, record_held, refuse_name
from graphdiff.graph.build_input import Input
from graphdiff.graph.build_loop import Loop
from graphdiff.graph.build_part import PartFunction, load_part
from graphdiff.graph.handles import Handle
from graphdiff.graph.lower import elements, lowered, records_by_path
from graphdiff.graph.node import Node
from graphdiff.graph.places import CallPlaces, FilePlaces
from graphdiff.graph.records import (
    BuildError,
    Draft,
    Record,
    Scope,
    Template,
    checked,
    current,
    line_of_call,
    needed_scope,
)
from graphdiff.graph.spec import GraphPath
from graphdiff.graph.workflow import Places, Workflow

__all__ = [
    "BuildError",
    "Graph",
    "If",
    "Input",
    "Loop",
    "PartFunction",
    "add_call",
    "load_part",
    "named",
    "output",
    "text",
]

T = TypeVar("T")
U = TypeVar("U")


class Graph(Block):
    """A workflow that Python calls build.

    Inside `with Graph():` a call of a node adds it and gives a handle for its result. Nodes get
    the names of the variables that hold their handles when the block ends, or the one that `named`
    gives them, or one made of their type.

    Args:
        name: Its name.
        description: What it does, in one line.
    """

    def __init__(self, name: str = "", *, description: str = "") -> None:
        self.name = name
        self.description = description
        self._draft = Draft()
        super().__init__(Scope(self._draft))

    def __repr__(self) -> str:
        return f"<graph {self.name} of {len(self._scope.records)} nodes>"

    @property
    def spec(self) -> spec.Graph:
        """What was built so far, as data."""
        name_the_rest(self._scope)
        return spec.Graph(
            name=self.name,
            description=self.description,
            inputs=dict(self._draft.inputs),
            nodes=elements(self._scope),
            outputs={name: lowered(v, self._scope) for name, v in self._draft.outputs.items()},
        )

    @property
    def workflow(self) -> Workflow:
        """What was built so far, with the lines of the calls and the node types called."""
        graph = self.spec
        places = {path: line.place() for path, line in self._draft.places.items()}
        included: dict[GraphPath, FilePlaces] = {}
        for path, record in records_by_path(self._scope, ()):
            places[path] = record.line.place()
            if record.part_places is not None:
                included[path] = record.part_places
        called: Places = CallPlaces(places, included)
        return Workflow(graph, called, nodes=dict(self._draft.nodes))

    def to_yaml(self) -> str:
        """The text of a workflow file that says the same.

        Raises:
            WorkflowError: it holds values that no file can.
        """
        from graphdiff.graph.dump import dump

        return dump(self.spec)


def add_call(node: Node[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Add a call of a node to the graph that is being built, and give the handle of its result.

    Raises:
        BuildError: no graph is being built, or there are more positional arguments than inputs.
    """
    scope = current.get()
    if scope is None:
        raise BuildError(
            f"{node.name}(...) makes a node, which needs a `with Graph():` around it; "
            f"to run the function itself call {node.name}.fn(...)"
        )
    values: dict[str, Any] = {}
    if args:
        positional = [p.name for p in node.params.values() if not p.keyword_only]
        if len(args) > len(positional):
            raise BuildError(
                f"{node.name} takes {len(positional)} arguments by position "
                f"({', '.join(positional)}), and {len(args)} were given: name the others"
            )
        for name, value in zip(positional, args, strict=False):
            if name in kwargs:
                raise BuildError(f"{node.name} got {name} twice: by position and by name")
            values[name] = value
    values.update(kwargs)
    known = scope.graph.nodes.setdefault(node.name, node)
    if known is not node:
        raise BuildError(
            f"two nodes of this graph are called {node.name}: that of {known.__module__} and that "
            f"of {node.__module__}"
        )
    record = Record(node.name, checked(values, scope, node.name), line_of_call(), scope, node=node)
    scope.records.append(record)
    return Handle(record)


def named(name: str, value: T) -> T:
    """Name the node whose result this is, and give the same handle.

    Raises:
        BuildError: the name is taken or no name, or the value is not the result of a node.
    """
    record = record_held(value)
    if record is None:
        raise BuildError(f"named({name!r}, ...) takes the result of a node, a loop or a part")
    refuse_name(name)
    names = record.scope.graph.names
    if name in names:
        raise BuildError(f"two nodes are called {name}: names are unique in a graph")
    names.discard(record.name or "")
    names.add(name)
    record.name = name
    return value


def output(**values: object) -> None:
    """Say which values the graph gives, by name.

    Raises:
        BuildError: no graph is being built, or a loop's body is.
    """
    scope = needed_scope("output(...)")
    if scope.loop is not None:
        raise BuildError("output(...) stands outside of loops: a loop gives what it collects")
    graph = scope.graph
    for name, value in checked(values, scope, "output").items():
        graph.outputs[name] = value
        graph.places["outputs", name] = line_of_call()


def text(template: str, /, *args: object, **kwargs: object) -> str:
    """Text with values inserted when the graph runs: `text("{}-{seed}.png", prompt, seed=seed)`.

    Raises:
        BuildError: the template names what is not given.
    """
    found: list[str | Handle] = []
    counter = iter(args)
    for literal, name, format_spec, conversion in string.Formatter().parse(template):
        if literal:
            found.append(literal)
        if name is None:
            continue
        if format_spec or conversion:
            raise BuildError(
                f"text({template!r}): values are inserted as they are, without formats"
            )
        try:
            value = kwargs[name] if name else next(counter)
        except (KeyError, StopIteration):
            raise BuildError(f"text({template!r}): no value for {{{name}}} is given") from None
        found.append(value if isinstance(value, Handle) else str(value))
    if not any(isinstance(part, Handle) for part in found):
        return "".join(cast("list[str]", found))
    return cast(str, Template(tuple(found)))


def If(test: bool, then: T, otherwise: U) -> T | U:  # noqa: N802 - as in a file
    """One of two values, by a test; what only the other needs never runs."""
    scope = needed_scope("If(...)")
    args = checked({"test": test, "then": then, "else": otherwise}, scope, "If")
    record = Record("If", args, line_of_call(), scope)
    scope.records.append(record)
    return cast("T | U", Handle(record))

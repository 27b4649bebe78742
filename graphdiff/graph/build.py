"""Graphs built by Python calls: `with Graph():`, node calls, Loop, If, Input, output."""

from __future__ import annotations

import linecache
import re
import string
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath
from types import FrameType, TracebackType
from typing import Any, Final, Generic, Literal, TypeVar, cast, get_args, get_origin, overload

from graphdiff.graph import spec
from graphdiff.graph.handles import Handle, describe, parts
from graphdiff.graph.names import RESERVED, did_you_mean, is_name
from graphdiff.graph.node import Node
from graphdiff.graph.places import CallPlaces, FilePlaces
from graphdiff.graph.spec import MISSING, GraphPath, Place, Value
from graphdiff.graph.types import NONE, is_union
from graphdiff.graph.workflow import Places, Workflow

T = TypeVar("T")
U = TypeVar("U")
C = TypeVar("C", bound=tuple[Any, ...])
K = TypeVar("K")

_SCALARS: Final = {str: "str", int: "int", float: "float", bool: "bool", Path: "path"}
_HERE: Final = __name__.rpartition(".")[0] + "."


class BuildError(TypeError):
    """A call that cannot become part of a graph, with what to write instead."""


@dataclass(slots=True, eq=False)
class _Line:
    """A line of Python."""

    file: str
    number: int

    def place(self) -> Place:
        text = linecache.getline(self.file, self.number).rstrip("\n")
        return Place(self.file, self.number, 0, text or None)


@dataclass(slots=True, eq=False)
class _Record:
    """An element while it is built: values still hold handles."""

    kind: str
    args: dict[str, Value]
    line: _Line
    scope: _Scope
    node: Node[..., Any] | None = None
    part: spec.Graph | None = None
    part_places: FilePlaces | None = None
    name: str | None = None
    body: _Scope | None = None
    next: Value = field(default_factory=dict[str, Value])
    collect: dict[str, Value] = field(default_factory=dict[str, Value])
    until: Value = None

    def outputs(self, tail: tuple[str, ...]) -> Iterable[str]:
        if tail:
            return ()
        if self.body is not None:
            return (*self.args["carry"], *self.collect)
        if self.part is not None:
            return tuple(self.part.outputs)
        return tuple(n for n in self.node.ports if n) if self.node is not None else ()

    def describe(self) -> str:
        return f"the result of {self.name or self.kind}"


@dataclass(slots=True, eq=False)
class _Variable:
    """`$item`, `$index` or `$carry` of a loop."""

    loop: _Record
    word: Literal["item", "index", "carry"]

    def outputs(self, tail: tuple[str, ...]) -> Iterable[str]:
        if tail:
            return ()
        if self.word == "carry":
            return tuple(self.loop.args["carry"])
        over = self.loop.args["over"]
        zipped = self.word == "item" and isinstance(over, Mapping)
        return tuple(cast("Mapping[str, object]", over)) if zipped else ()

    def describe(self) -> str:
        return f"the {self.word} of {self.loop.name or 'the loop'}"


@dataclass(slots=True, eq=False)
class _Input:
    """An input that was declared."""

    name: str
    graph: Graph

    def outputs(self, tail: tuple[str, ...]) -> Iterable[str]:
        return ()

    def describe(self) -> str:
        return f"the input {self.name}"


@dataclass(slots=True, eq=False)
class _Template:
    """Text with handles inserted."""

    parts: tuple[str | Handle, ...]


@dataclass(slots=True, eq=False)
class _Scope:
    """The nodes of a graph, or of a loop's body."""

    graph: Graph
    loop: _Record | None = None
    records: list[_Record] = field(default_factory=list[_Record])


_current: ContextVar[_Scope | None] = ContextVar("the graph being built", default=None)


class Graph:
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
        self._inputs: dict[str, spec.Input] = {}
        self._outputs: dict[str, Value] = {}
        self._places: dict[GraphPath, _Line] = {}
        self._scope = _Scope(self)
        self._names: set[str] = set()
        self._nodes: dict[str, Node[..., Any]] = {}
        self._tokens: list[Token[_Scope | None]] = []

    def __enter__(self) -> Graph:
        self._tokens.append(_current.set(self._scope))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._tokens.pop())
        if error is None:
            _name_by_variables(self._scope, _caller())

    def __repr__(self) -> str:
        return f"<graph {self.name} of {len(self._scope.records)} nodes>"

    @property
    def spec(self) -> spec.Graph:
        """What was built so far, as data."""
        _name_the_rest(self._scope)
        return spec.Graph(
            name=self.name,
            description=self.description,
            inputs=dict(self._inputs),
            nodes=_elements(self._scope),
            outputs={name: _value(v, self._scope) for name, v in self._outputs.items()},
        )

    @property
    def workflow(self) -> Workflow:
        """What was built so far, with the lines of the calls and the node types called."""
        graph = self.spec
        places = {path: line.place() for path, line in self._places.items()}
        included: dict[GraphPath, FilePlaces] = {}
        for path, record in _paths(self._scope, ()):
            places[path] = record.line.place()
            if record.part_places is not None:
                included[path] = record.part_places
        called: Places = CallPlaces(places, included)
        return Workflow(graph, called, nodes=dict(self._nodes))

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
    scope = _current.get()
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
    known = scope.graph._nodes.setdefault(node.name, node)  # pyright: ignore[reportPrivateUsage]
    if known is not node:
        raise BuildError(
            f"two nodes of this graph are called {node.name}: that of {known.__module__} and that "
            f"of {node.__module__}"
        )
    record = _Record(node.name, _checked(values, scope, node.name), _line(), scope, node=node)
    scope.records.append(record)
    return Handle(record)


def named(name: str, value: T) -> T:
    """Name the node whose result this is, and give the same handle.

    Raises:
        BuildError: the name is taken or no name, or the value is not the result of a node.
    """
    handle: Any = value
    record: Any = None
    if isinstance(handle, Loop):
        record = handle._record  # pyright: ignore[reportPrivateUsage]
    if isinstance(handle, Handle):
        origin, tail = parts(handle)
        record = origin if not tail else None
    if not isinstance(record, _Record):
        raise BuildError(f"named({name!r}, ...) takes the result of a node, a loop or a part")
    _refuse_name(name)
    names = record.scope.graph._names  # pyright: ignore[reportPrivateUsage]
    if name in names:
        raise BuildError(f"two nodes are called {name}: names are unique in a graph")
    names.discard(record.name or "")
    names.add(name)
    record.name = name
    return value


@overload
def Input(
    name: str,
    type: type[T],
    default: T | None = ...,
    *,
    optional: Literal[True],
    help: str = ...,
    choices: Iterable[T] | None = ...,
    min: float | None = ...,
    max: float | None = ...,
) -> T | None: ...
@overload
def Input(
    name: str,
    type: type[T],
    default: T = ...,
    *,
    optional: Literal[False] = ...,
    help: str = ...,
    choices: Iterable[T] | None = ...,
    min: float | None = ...,
    max: float | None = ...,
) -> T: ...
@overload
def Input(
    name: str,
    type: str,
    default: object = ...,
    *,
    optional: bool = ...,
    help: str = ...,
    choices: Iterable[Any] | None = ...,
    min: float | None = ...,
    max: float | None = ...,
) -> Any: ...  # noqa: ANN401 - the text says of what
def Input(  # noqa: N802 - it makes part of a graph, as a node's call does
    name: str,
    type: Any,
    default: Any = MISSING,
    *,
    optional: bool = False,
    help: str = "",
    choices: Iterable[Any] | None = None,
    min: float | None = None,
    max: float | None = None,
) -> Any:
    """Declare an input of the graph, and give the handle of its value.

    Args:
        name: Its name.
        type: `str`, `int`, `float`, `bool`, `Path`, `list[...]` of one of these, the class of a
            value on a wire, or the type as a file says it: `"[str]"`.
        default: The value where none is given; without one the input is required.
        optional: Whether None is a value of it.
        help: One line for people.
        choices: The values allowed, where they are few.
        min: The lowest number allowed.
        max: The highest number allowed.

    Raises:
        BuildError: no graph is being built, or the name is taken or no name.
    """
    scope = _needed_scope("Input(...)")
    graph = scope.graph
    declared = graph._inputs  # pyright: ignore[reportPrivateUsage]
    if not is_name(name):
        raise BuildError(f"an input cannot be called {name!r}: names are letters, digits and _")
    if name in declared:
        raise BuildError(f"two inputs are called {name}")
    written, nullable = _type_of_input(type)
    declared[name] = spec.Input(
        type=written,
        default=default if default is MISSING else _value(default, scope),
        optional=optional or nullable,
        help=help,
        choices=None if choices is None else tuple(_value(choice, scope) for choice in choices),
        min=min,
        max=max,
    )
    graph._places["inputs", name] = _line()  # pyright: ignore[reportPrivateUsage]
    return Handle(_Input(name, graph))


def output(**values: object) -> None:
    """Say which values the graph gives, by name.

    Raises:
        BuildError: no graph is being built, or a loop's body is.
    """
    scope = _needed_scope("output(...)")
    if scope.loop is not None:
        raise BuildError("output(...) stands outside of loops: a loop gives what it collects")
    graph = scope.graph
    for name, value in _checked(values, scope, "output").items():
        graph._outputs[name] = value  # pyright: ignore[reportPrivateUsage]
        graph._places["outputs", name] = _line()  # pyright: ignore[reportPrivateUsage]


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
    return cast(str, _Template(tuple(found)))


def If(test: bool, then: T, otherwise: U) -> T | U:  # noqa: N802 - as in a file
    """One of two values, by a test; what only the other needs never runs."""
    scope = _needed_scope("If(...)")
    args = _checked({"test": test, "then": then, "else": otherwise}, scope, "If")
    record = _Record("If", args, _line(), scope)
    scope.records.append(record)
    return cast("T | U", Handle(record))


class Loop(Generic[T, K]):
    """Nodes run once for each item; what `with Loop(...) as loop:` has inside is its body.

    Args:
        over: A list, a schedule, a number of passes, or a map of these, zipped.
        carry: What the first pass finds in `loop.carry`: a map, or a NamedTuple for type checkers.
    """

    @overload
    def __init__(self: Loop[int, C], over: int, *, carry: C) -> None: ...
    @overload
    def __init__(self: Loop[int, Any], over: int, *, carry: Mapping[str, Any] = ...) -> None: ...
    @overload
    def __init__(self: Loop[Any, C], over: Mapping[str, Any], *, carry: C) -> None: ...
    @overload
    def __init__(
        self: Loop[Any, Any], over: Mapping[str, Any], *, carry: Mapping[str, Any] = ...
    ) -> None: ...
    @overload
    def __init__(self: Loop[U, C], over: Iterable[U], *, carry: C) -> None: ...
    @overload
    def __init__(
        self: Loop[U, Any], over: Iterable[U], *, carry: Mapping[str, Any] = ...
    ) -> None: ...
    def __init__(self, over: Any, *, carry: Any = None) -> None:
        scope = _needed_scope("Loop(...)")
        start: dict[str, Any] = _by_name(carry)
        args = _checked({"over": over, "carry": start}, scope, "Loop")
        self._record = _Record("Loop", args, _line(), scope)
        self._record.body = _Scope(scope.graph, self._record)
        self._tokens: list[Token[_Scope | None]] = []
        scope.records.append(self._record)

    def __enter__(self) -> Loop[T, K]:
        self._tokens.append(_current.set(self._body))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._tokens.pop())
        if error is None:
            _name_by_variables(self._body, _caller())

    @property
    def _body(self) -> _Scope:
        body = self._record.body
        assert body is not None  # a loop's record has one from the start
        return body

    @property
    def item(self) -> T:
        """The item of a pass; of a map of lists, `loop.item.name`."""
        return cast(T, Handle(_Variable(self._record, "item")))

    @property
    def index(self) -> int:
        """The number of the pass, from 0."""
        return cast(int, Handle(_Variable(self._record, "index")))

    @property
    def carry(self) -> K:
        """What the pass before gave to `next`, or the loop's `carry`: `loop.carry.name`."""
        return cast(K, Handle(_Variable(self._record, "carry")))

    def next(self, result: object = None, /, **values: object) -> None:
        """Say what the next pass finds in `carry`.

        Args:
            result: A node's result whose outputs have the names of `carry`.
            **values: Or each by its name.
        """
        if isinstance(result, tuple):
            values = {**_by_name(result), **values}
        elif result is not None:
            if values or not isinstance(result, Handle):
                raise BuildError("next(...) takes the result of one node, or values by name")
            self._record.next = _checked({"next": result}, self._record.scope, "next")["next"]
            return
        known = self._record.next
        new = _checked(values, self._body, "next")
        self._record.next = {**known, **new} if isinstance(known, dict) else new

    def collect(self, name: str, value: U) -> list[U]:
        """Collect a value of each pass in a list, which is an output of the loop."""
        if not is_name(name):
            raise BuildError(f"an output cannot be called {name!r}: names are letters, digits, _")
        self._record.collect[name] = _checked({name: value}, self._body, "collect")[name]
        return cast("list[U]", Handle(self._record, (name,)))

    def until(self, test: bool) -> None:
        """End the loop after the pass in which this value of its body is true."""
        handle: Any = test
        if not isinstance(handle, Handle):
            raise BuildError("until(...) takes a value of the loop's body")
        self._record.until = handle

    @property
    def outputs(self) -> K:
        """What the loop gives: its last carry, and the lists it collects, by name."""
        return cast(K, Handle(self._record))


class PartFunction:
    """A part: called inside `with Graph()` it adds itself, and gives the handle of its outputs."""

    def __init__(self, type: str, workflow: Workflow) -> None:
        self.type = type
        self.graph = workflow.graph
        self._workflow = workflow

    def __call__(self, **args: object) -> Any:  # noqa: ANN401 - outputs are named in a file
        """Add the part with these arguments, which are its inputs."""
        scope = _needed_scope(f"{self.type}(...)")
        record = _Record(self.type, _checked(args, scope, self.type), _line(), scope)
        record.part = self.graph
        if isinstance(self._workflow.places, FilePlaces):
            record.part_places = self._workflow.places
        scope.records.append(record)
        return Handle(record)


def load_part(type: str | Path, registry: Any = None) -> PartFunction:  # noqa: ANN401
    """A named part, or the workflow in a file, to be called inside `with Graph()`.

    Args:
        type: The part's name, or a path.
        registry: Where to look for named parts; the installed ones without.

    Raises:
        BuildError: there is no part of this name.
        WorkflowError: the file has mistakes.
    """
    from graphdiff.graph.parts import resolve
    from graphdiff.graph.reader import is_path
    from graphdiff.graph.registry import load_registry
    from graphdiff.graph.yaml import read

    known = registry if registry is not None else load_registry()
    written = str(type)
    if isinstance(type, Path) or is_path(written):
        file = Path(type)
    elif written in known.parts:
        file = known.parts[written]
    else:
        hint = did_you_mean(written, known.parts)
        raise BuildError(f"there is no part called {written}" + (f": {hint}" if hint else ""))
    return PartFunction(written, resolve(read(file), known))


# Values.


def _by_name(values: Any) -> dict[str, Any]:  # noqa: ANN401 - a map, a NamedTuple or None
    """Values by name, of a map or a NamedTuple."""
    if hasattr(values, "_asdict"):
        return dict(values._asdict())
    return dict(values or {})


def _checked(values: Mapping[str, Any], scope: _Scope, what: str) -> dict[str, Value]:
    """The values, with handles of another graph refused."""
    for handle in _handles(list(values.values())):
        origin, _ = parts(handle)
        owner = origin.graph if isinstance(origin, _Input) else _record_of(origin).scope.graph
        if owner is not scope.graph:
            raise BuildError(f"{what}: {describe(handle)} belongs to another graph")
    return dict(values)


def _record_of(origin: Any) -> _Record:  # noqa: ANN401 - what a handle is made of
    record = origin.loop if isinstance(origin, _Variable) else origin
    assert isinstance(record, _Record)  # the only other origin is an input
    return record


def _handles(values: Any) -> Iterator[Handle]:  # noqa: ANN401 - any value of an argument
    if isinstance(values, Handle):
        yield values
    elif isinstance(values, _Template):
        yield from (part for part in values.parts if isinstance(part, Handle))
    elif isinstance(values, Mapping):
        for value in values.values():  # pyright: ignore
            yield from _handles(value)
    elif type(values) in (list, tuple):
        for value in values:
            yield from _handles(value)


def _value(value: Any, scope: _Scope) -> Value:  # noqa: ANN401 - any value of an argument
    """A value as the graph's data holds it: handles as references, plain data as JSON has it."""
    if isinstance(value, Handle):
        return _ref(value, scope)
    if isinstance(value, _Template):
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
        return {key: _value(item, scope) for key, item in value.items()}  # pyright: ignore
    if type(value) in (list, tuple):
        return [_value(item, scope) for item in value]
    return value


def _ref(handle: Handle, scope: _Scope) -> spec.Ref:
    origin, tail = parts(handle)
    if isinstance(origin, _Input):
        return spec.Ref(("inputs", origin.name, *tail))
    if isinstance(origin, _Variable):
        own = (origin.word, *tail)
        inner = scope.loop is origin.loop
        return spec.Ref(own if inner else (_name(origin.loop), *own))
    return spec.Ref((_name(_record_of(origin)), *tail))


def _elements(scope: _Scope) -> dict[str, spec.Element]:
    return {_name(record): _element(record) for record in scope.records}


def _element(record: _Record) -> spec.Element:
    args = {name: _value(value, record.scope) for name, value in record.args.items()}
    if record.body is not None:
        until = None if record.until is None else _ref(record.until, record.body)
        following = _value(record.next, record.body)
        return spec.Loop(
            over=args["over"],
            nodes=_elements(record.body),
            carry=args["carry"],
            next=following,
            collect={name: _value(v, record.body) for name, v in record.collect.items()},
            until=until,
        )
    if record.part is not None:
        return spec.Part(record.kind, record.part, args)
    if record.node is None:
        return spec.If(args["test"], args["then"], args["else"])
    return spec.Call(record.kind, args)


def _paths(scope: _Scope, path: GraphPath) -> Iterator[tuple[GraphPath, _Record]]:
    for record in scope.records:
        below = (*path, "nodes", _name(record))
        yield below, record
        if record.body is not None:
            yield from _paths(record.body, below)


# Names.


def _name(record: _Record) -> str:
    assert record.name is not None  # `spec` names every record before it asks
    return record.name


def _refuse_name(name: str) -> None:
    if not is_name(name) or name in RESERVED:
        raise BuildError(f"a node cannot be called {name!r}")


def _name_by_variables(scope: _Scope, frame: FrameType | None) -> None:
    """Name the nodes of a scope that have no name by the variables that hold their handles."""
    if frame is None:
        return
    names = scope.graph._names  # pyright: ignore[reportPrivateUsage]
    for variable, value in list(frame.f_locals.items()):
        record: Any = None
        if isinstance(value, Handle):
            origin, tail = parts(value)
            record = None if tail else origin
        elif isinstance(value, Loop):
            record = value._record  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        if (
            isinstance(record, _Record)
            and record.scope is scope
            and record.name is None
            and variable not in names
            and variable not in RESERVED
            and not variable.startswith("_")
        ):
            record.name = variable
            names.add(variable)
    _name_the_rest(scope)


def _name_the_rest(scope: _Scope) -> None:
    names = scope.graph._names  # pyright: ignore[reportPrivateUsage]
    counts: dict[str, int] = {}
    for record in scope.records:
        if record.name is None:
            base = _snake(Path(record.kind).stem)
            base = base if is_name(base) and base not in RESERVED else "node"
            number = counts.get(base, 0) + 1
            while (name := base if number == 1 else f"{base}_{number}") in names:
                number += 1
            counts[base] = number
            record.name = name
            names.add(name)
        if record.body is not None:
            _name_the_rest(record.body)


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z])", "_", name)
    return re.sub(r"\W", "_", words).lower()


# Frames.


def _caller() -> FrameType | None:
    """The frame of the code that builds the graph, which is not in this package."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_HERE):
        frame = frame.f_back
    return frame


def _line() -> _Line:
    frame = _caller()
    return _Line(frame.f_code.co_filename, frame.f_lineno) if frame else _Line("<python>", 0)


def _needed_scope(what: str) -> _Scope:
    scope = _current.get()
    if scope is None:
        raise BuildError(f"{what} makes part of a graph, which needs a `with Graph():` around it")
    return scope


def _type_of_input(annotation: Any) -> tuple[str, bool]:  # noqa: ANN401 - annotations
    """A type as a file says it, and whether None is a value of it."""
    if isinstance(annotation, str):
        return annotation, False
    if is_union(annotation):
        members = [member for member in get_args(annotation) if member is not NONE]
        names = [_type_of_input(member)[0] for member in members]
        return " | ".join(names), len(members) < len(get_args(annotation))
    if get_origin(annotation) is list:
        return f"[{_type_of_input(get_args(annotation)[0])[0]}]", False
    return _SCALARS.get(annotation) or str(annotation.__name__), False

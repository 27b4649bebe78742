"""A typed function as a node: its declaration, and everything its signature says."""

from __future__ import annotations

import inspect
import time
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from graphdiff.graph.annotations import accepts_none, strip_annotated
from graphdiff.graph.declaration import (
    DeclarationError,
    hints_of,
    refuse_default,
    refuse_signature,
    wrong,
)
from graphdiff.graph.docstrings import argument_help
from graphdiff.graph.path_markers import InputFile, Locator, OutputFile, PathMarker, path_kind

__all__ = [
    "INJECTED",
    "Batched",
    "CachePolicy",
    "DeclarationError",
    "InputFile",
    "Locator",
    "Node",
    "OutputFile",
    "Outputs",
    "Param",
    "PathMarker",
    "Port",
    "Settings",
    "WireError",
    "accepts_none",
    "node",
    "path_kind",
    "strip_annotated",
]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

CachePolicy = Literal["auto", "always", "memory", "never"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is told beside its inputs. A plan node asks for it with a parameter of this type.

    It is no input of a workflow and in no key: what a plan node makes of it is in its outputs,
    which are keyed by content.
    """

    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    extra: Mapping[str, str] = field(default_factory=dict[str, str])

    def told(self) -> dict[str, str]:
        """What a picture says of them."""
        said = {"device": self.device, "dtype": self.dtype}
        return said | {"compile": "true"} if self.compile else said


class Outputs(typing.Protocol):
    """Where effects write. An effect asks for it with a parameter of this type."""

    def write(self, path: str, data: bytes, *, overwrite: bool = False) -> Path:
        """Write a file under the output folder, atomically, and give the path it got.

        A file of that name with other content is kept, and the new one gets a number, unless
        `overwrite`; a file with the same bytes is left as it is.

        Raises:
            ValueError: the path leaves the output folder.
        """
        ...

    def provenance(self) -> Mapping[str, Any]:
        """The workflow's text with what it includes, inputs, fingerprints and versions: JSON."""
        ...


class WireError(ValueError):
    """A value that cannot be wired here, though its type can: raised by a node's `infer`.

    Args:
        parameter: The parameter that refuses.
        message: What it wants and what it got.
    """

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = parameter
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Param:
    """One input of a node.

    Args:
        name: Its name, in YAML and in Python.
        type: The annotation, with its `Annotated` constraints.
        default: The default, or `inspect.Parameter.empty`.
        keyword_only: Whether Python callers must name it.
        help: Its line in the docstring's Args.
    """

    name: str
    type: Any
    default: Any
    keyword_only: bool
    help: str

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is inspect.Parameter.empty

    @property
    def nullable(self) -> bool:
        """Whether null is a value of it."""
        return accepts_none(self.type)

    @property
    def path_kind(self) -> str | None:
        """`"read"`, `"name"` or `"write"` for a path parameter, else None."""
        return path_kind(self.type)


@dataclass(frozen=True, slots=True)
class Port:
    """One output of a node; the only output of a node is called `""`."""

    name: str
    type: Any


@dataclass(frozen=True, slots=True)
class Batched:
    """How several calls of a node run as one.

    Args:
        fn: Takes lists for the parameters in `over`, single values for the rest; gives a list.
        over: The parameters that may differ between the calls.
        limit: The most calls in one batch, or None for what memory holds; or a function of some of
            the node's parameters, by name, that gives the number for calls like one.
    """

    fn: Callable[..., Any]
    over: tuple[str, ...]
    limit: int | Callable[..., int] | None = None


INJECTED = (Settings, Outputs)


class Node(Generic[P, R]):
    """A node type: a typed function, and what the engine may know of it without calling it.

    Calling it inside `with Graph()` adds a call to the graph and gives a handle that stands for the
    result; `.fn(...)` calls the function itself.

    Attributes:
        fn: The function.
        name: Its name in YAML, Python, errors and documentation.
        at: `"plan"` for cheap, torch-free functions that the planner evaluates, else `"run"`.
        effect: Whether it is called for what it does (writes a file) and gives a record of it.
        cache: What is kept: `"auto"` by cost, `"always"`, `"memory"`, or `"never"`, which makes
            everything that depends on it fresh in each run.
        renamed: Old names of arguments, to their new ones.
        declared_ns: When it was declared, which is when its file was read: nanoseconds since the
            epoch.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        at: Literal["run", "plan"] = "run",
        effect: bool = False,
        cache: CachePolicy = "auto",
        renamed: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.fn = fn
        self.name = name or fn.__name__
        self.at: Literal["run", "plan"] = at
        self.effect = effect
        self.cache: CachePolicy = cache
        self.renamed: Mapping[str, str] = dict(renamed or {})
        self.declared_ns = time.time_ns()
        self.batch: Batched | None = None
        self.needed: Callable[..., Iterable[str]] | None = None
        self.inferred: Callable[..., Any] | None = None
        self.__doc__ = fn.__doc__
        self.__module__ = fn.__module__
        self.__qualname__ = fn.__qualname__
        for keyword, given, allowed in (
            ("at", at, ("run", "plan")),
            ("cache", cache, typing.get_args(CachePolicy)),
        ):
            if given not in allowed:
                few = ", ".join(map(repr, allowed))
                raise wrong(self.name, fn, f"{keyword} is one of {few}, not {given!r}")
        refuse_signature(self.name, fn, INJECTED)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Add a call to the graph that is being built, and give the handle of its result."""
        from graphdiff.graph.build import add_call

        result: R = add_call(self, args, kwargs)
        return result

    def __repr__(self) -> str:
        return f"<node {self.name} of {self.__module__}>"

    def batched(
        self, *, over: Sequence[str], limit: int | Callable[..., int] | None = None
    ) -> Callable[[F], F]:
        """Declare how several calls run as one: see `Batched`."""

        def declare(fn: F) -> F:
            asked = inspect.signature(limit).parameters if callable(limit) else ()
            unknown = {*over, *asked} - set(self.params)
            if unknown:
                named = ", ".join(sorted(unknown))
                raise wrong(self.name, fn, f"batched(over=...) names {named}, no parameter")
            self.batch = Batched(fn, tuple(over), limit)
            return fn

        return declare

    def needs(self, fn: F) -> F:
        """Declare which inputs a call needs, from scalars that are known when the run is planned.

        The function takes some of the node's parameters by name and gives the names of those
        *optional* inputs that this call does not need; what is wired into them does not run, and
        the node gets None.
        """
        self.needed = fn
        return fn

    def infer(self, fn: F) -> F:
        """Declare what is known of the outputs before the node runs, and what may be wired in.

        The function takes some of the node's parameters by name. Each is the value itself where it
        is known at plan time (literals, outputs of plan nodes), else what the `infer` of the node
        that gives it said, else None. It gives the same for this node's output (for a NamedTuple,
        a mapping by field name), and raises `WireError` for what does not fit.
        """
        self.inferred = fn
        return fn

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """Every annotation, resolved; `return` among them.

        Raises:
            DeclarationError: an annotation names what its module does not have.
        """
        return hints_of(self.name, self.fn, self.fn)

    @cached_property
    def params(self) -> Mapping[str, Param]:
        """The inputs by name, in order, without those that the engine injects."""
        helps = argument_help(self.fn.__doc__ or "")
        return {
            p.name: Param(
                p.name,
                self.hints[p.name],
                p.default,
                p.kind is inspect.Parameter.KEYWORD_ONLY,
                helps.get(p.name, ""),
            )
            for p in inspect.signature(self.fn).parameters.values()
            if self.hints[p.name] not in INJECTED
        }

    @cached_property
    def injected(self) -> Mapping[str, type]:
        """Parameters that the engine fills in: `Settings`, `Outputs`."""
        return {n: t for n, t in self.hints.items() if t in INJECTED and n != "return"}

    @cached_property
    def ports(self) -> Mapping[str, Port]:
        """The outputs by name: one called `""`, or a NamedTuple's fields."""
        result: Any = self.hints["return"]
        names: tuple[str, ...] = getattr(result, "_fields", ())  # those of a NamedTuple
        if names and issubclass(result, tuple):
            fields = hints_of(self.name, self.fn, result)
            return {name: Port(name, fields[name]) for name in names}
        return {"": Port("", result)}

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return (self.fn.__doc__ or "").strip().split("\n", 1)[0]

    def refuse_undeclared(self) -> None:
        """Refuse what could not be judged when the node was declared, before all was defined.

        Raises:
            DeclarationError: an annotation means nothing, or a default is not of its type.
        """
        for parameter in inspect.signature(self.fn).parameters.values():
            annotation = self.hints[parameter.name]
            if annotation not in INJECTED:
                refuse_default(self.name, self.fn, parameter, annotation)
        _ = self.ports


@overload
def node(fn: Callable[P, R], /) -> Node[P, R]: ...
@overload
def node(
    *,
    at: Literal["run", "plan"] = ...,
    effect: bool = ...,
    cache: CachePolicy = ...,
    renamed: Mapping[str, str] | None = ...,
    name: str | None = ...,
) -> Callable[[Callable[P, R]], Node[P, R]]: ...
def node(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    at: Literal["run", "plan"] = "run",
    effect: bool = False,
    cache: CachePolicy = "auto",
    renamed: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Any:
    """Make a node of a typed function.

    Annotations are inputs, with defaults and constraints (`Annotated[int, Field(ge=0)]`); the
    return annotation is the output, a NamedTuple several; the docstring is the documentation.

    Args:
        fn: The function.
        at: `"plan"` for a cheap, torch-free function on plain data that the planner evaluates.
        effect: The function is called for what it does, such as writing a file.
        cache: See `Node.cache`.
        renamed: Old names of arguments, to their new ones; `validate --fix` rewrites them.
        name: The node's name where it is not the function's.

    Raises:
        DeclarationError: an annotation is missing, or there are `*args`.
    """

    def declare(function: Callable[..., Any]) -> Node[..., Any]:
        return Node(function, at=at, effect=effect, cache=cache, renamed=renamed, name=name)

    return declare if fn is None else declare(fn)

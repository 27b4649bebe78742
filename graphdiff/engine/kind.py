"""What the engine knows of a node type: everything of it that linking and running ask for."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import UnionType
from typing import Any, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from graphdiff.engine.identity import Identity, identity_of
from graphdiff.engine.keys import token_of
from graphdiff.engine.task import Known
from graphdiff.graph.literals import LiteralError, converter
from graphdiff.graph.node import CachePolicy, Node, strip_annotated

PLAIN = frozenset((str, int, float, bool, type(None), list, tuple, dict))
"""Types of values that are converted to what a parameter declares, as literals are."""


class Kind:
    """A node type, laid out by position for the hot path.

    Attributes:
        node: The node.
        names: Its parameters, in order.
        place: The position of each.
        exact: A type for each parameter whose instances need no conversion; None where all do.
        convert: The conversion of each parameter.
        defaults: The default of each parameter; None for one without.
        ports: Its outputs, in order.
        single: Whether it has one nameless output.
        identity: What it is.
        prefix: The same as bytes, with which every key of a call begins.
        closed: Whether it sees nothing but its arguments: no files, no settings, nothing that makes
            it never to be cached.
        paths: Positions of path parameters, and their kind.
        gives: What its result must be an instance of, where classes say it; None where they do not.
        stacked: Positions of the parameters that may differ within a batch; None if it has none.
    """

    __slots__ = (
        "batch",
        "cache",
        "closed",
        "convert",
        "defaults",
        "effect",
        "exact",
        "fn",
        "gives",
        "identity",
        "infer_names",
        "infer_places",
        "inferred",
        "injected",
        "limit",
        "limit_names",
        "limiting",
        "names",
        "need_names",
        "needed",
        "node",
        "paths",
        "place",
        "plan",
        "ports",
        "prefix",
        "single",
        "special",
        "stacked",
        "torch",
    )

    def __init__(self, node: Node[..., Any], *, exact: bool) -> None:
        params = list(node.params.values())
        self.node = node
        self.fn: Callable[..., Any] = node.fn
        self.names: tuple[str, ...] = tuple(node.params)
        self.place: Mapping[str, int] = {name: i for i, name in enumerate(self.names)}
        self.convert = tuple(converter(p.type) for p in params)
        self.exact = tuple(_exact_type(p.type) for p in params)
        self.defaults = tuple(
            None if p.required else _default(p.default, convert)
            for p, convert in zip(params, self.convert, strict=True)
        )
        self.ports: tuple[str, ...] = tuple(node.ports)
        self.single = self.ports == ("",)
        self.gives = _classes_of(node.hints["return"])
        self.identity: Identity = identity_of(node)
        self.prefix = self.identity.digest() + (b"exact" if exact and node.batch else b"")
        self.paths = tuple((i, p.path_kind) for i, p in enumerate(params) if p.path_kind)
        self.plan = node.at == "plan"
        self.effect = node.effect
        self.cache: CachePolicy = node.cache
        self.injected = node.injected
        self.closed = not self.paths and not self.injected and self.cache != "never"
        self.torch = bool(self.identity.torch)
        self.needed = node.needed
        self.need_names = _parameters(node.needed)
        self.inferred = node.inferred
        self.infer_names = _parameters(node.inferred)
        self.infer_places = tuple(self.place[name] for name in self.infer_names)
        batch = None if exact else node.batch
        self.batch = batch.fn if batch else None
        limit = batch.limit if batch else None
        self.limit = limit if isinstance(limit, int) else None
        self.limiting = limit if callable(limit) else None
        self.limit_names = _parameters(self.limiting)
        self.stacked = tuple(self.place[name] for name in batch.over) if batch else None
        self.special = bool(self.paths or self.plan or self.needed)

    def __repr__(self) -> str:
        return f"<kind {self.node.name}>"


_kinds: WeakKeyDictionary[Node[..., Any], dict[bool, Kind]] = WeakKeyDictionary()
_lock = threading.Lock()


def kind_of(node: Node[..., Any], *, exact: bool = False) -> Kind:
    """What the engine knows of `node`, worked out once in a process.

    Args:
        node: The node.
        exact: Whether calls are never batched; the keys say so where it makes a difference.
    """
    with _lock:
        kinds = _kinds.setdefault(node, {})
        if exact not in kinds:
            kinds[exact] = Kind(node, exact=exact)
        return kinds[exact]


def _exact_type(annotation: Any) -> type | None:  # noqa: ANN401 - annotations are any object
    return annotation if annotation in (str, int, float, bool) else None


def _classes_of(annotation: Any) -> tuple[type, ...] | None:  # noqa: ANN401 - any annotation
    """The classes whose instances an annotation allows; None where it says more than classes."""
    plain = strip_annotated(annotation)
    if get_origin(plain) in (Union, UnionType):
        members = [_classes_of(member) for member in get_args(plain)]
        return None if None in members else tuple(c for m in members if m for c in m)
    if plain is None:
        return (type(None),)
    if plain is float:
        return (float, int)
    vague = plain in (object, Any) or getattr(plain, "_is_protocol", False)
    if vague or not inspect.isclass(plain) or get_origin(plain) is not None:
        return None
    classes: tuple[Any, ...] = (plain,)
    return classes


def _default(value: Any, convert: Callable[[object], object]) -> Known:  # noqa: ANN401
    if value.__class__ in PLAIN:
        with suppress(LiteralError):  # a default of another type says "not given" in its own way
            value = convert(value)
    return Known(value, token_of(value))


def _parameters(fn: Callable[..., Any] | None) -> tuple[str, ...]:
    return tuple(inspect.signature(fn).parameters) if fn is not None else ()

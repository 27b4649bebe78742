"""What references mean at one place of a graph: the nodes, inputs and loop variables in sight."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphdiff.graph.names import RESERVED, UNREAD, did_you_mean
from graphdiff.graph.spec import Element, GraphPath, Loop, Ref
from graphdiff.graph.types import assignable, type_name

_MAX_SEARCHED: Final = 2000


@dataclass(frozen=True, slots=True)
class Out:
    """What is known of a value: its type, and whether it is known before anything runs."""

    type: Any
    known: bool
    carried: Carried | None = None
    """What is gathered of `$carry.name` while a loop's body is checked."""


@dataclass(slots=True, eq=False)
class Carried:
    """A carried value: the types it has, and what its readers say to them.

    Attributes:
        start: Its type in the first pass.
        following: Its type in the others.
        accepted: Whether something takes it as it is.
        refused: The readers that do not, each as the annotation it wants and its message.
    """

    start: Any
    following: Any
    accepted: bool = False
    refused: list[tuple[Any, Refusal]] = field(default_factory=list["tuple[Any, Refusal]"])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A mistake that is not reported yet: see `values.Report`."""

    code: str
    label: str
    message: str
    path: GraphPath
    help: str | None
    cause: tuple[object, ...]


Outs = Mapping[str, Out]
"""The outputs of a node by name; an only output of a call is called `""`."""

ANYTHING: Final = Out(Any, True)


class UnresolvedError(Exception):
    """A reference that means nothing, as a code, a message and a help.

    References with one cause are one mistake, however many there are: a node that is missing.
    """

    def __init__(
        self, code: str, message: str, help: str | None = None, cause: tuple[str, ...] | None = None
    ) -> None:
        self.code = code
        self.message = message
        self.help = help
        self.cause = cause


@dataclass(slots=True)
class Scope:
    """The nodes of a graph, or of a loop's body inside of another scope.

    Attributes:
        path: Where the scope is: its nodes are at `(*path, "nodes", name)`.
        nodes: The nodes, also those not looked at yet.
        results: What those that were looked at give; None where that is unknown.
        inputs: The graph's inputs; None where the type is unknown.
        parent: The scope around a loop's body.
        loop: The name of the loop whose body this is.
        item: `$item`; of a map of lists each by its name.
        index: `$index`.
        carry: `$carry`, by name.
        given: What the loop's `next` gives, whether it is carried or not.
        unstarted: What of that the body reads in `$carry` though it is not carried.
        shadowed: The names in this scope that nodes around it have too.
        current: The node that is looked at.
    """

    path: GraphPath
    nodes: Mapping[str, Element]
    inputs: Mapping[str, Out]
    parent: Scope | None = None
    loop: str = ""
    item: Out | Mapping[str, Out] = ANYTHING
    index: Out = ANYTHING
    carry: Mapping[str, Out] = field(default_factory=dict[str, Out])
    given: Collection[str] = ()
    unstarted: set[str] = field(default_factory=set[str])
    shadowed: frozenset[str] = frozenset()
    results: dict[str, Outs | None] = field(default_factory=dict[str, "Outs | None"])
    current: str = ""

    def around(self) -> Iterator[Scope]:
        """This scope and those around it, from the inside out."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find(self, ref: Ref) -> Out | None:
        """What a reference gives; None where a mistake elsewhere hides it.

        Raises:
            UnresolvedError: it means nothing.
        """
        first = ref.path[0]
        try:
            return self._found(ref, first, ref.path[1:])
        except UnresolvedError:
            if first in RESERVED and any(first in scope.nodes for scope in self.around()):
                return None  # a node of this name, which cannot be, is meant
            raise

    def home(self, name: str) -> GraphPath:
        """Where the scope is that a reference's first name belongs to."""
        path = self.path
        if name in ("item", "index", "carry"):
            return path
        for scope in self.around():
            path = scope.path
            if name in scope.nodes:
                break
        return path

    def _found(self, ref: Ref, first: str, rest: tuple[str, ...]) -> Out | None:
        if first == "inputs":
            return self._input(ref, rest)
        if first in ("item", "index", "carry"):
            if not self.loop:
                raise UnresolvedError(
                    "out-of-loop", f"{ref} is outside of any loop", "it exists in a loop's body"
                )
            return self._variable(ref, first, rest)
        for scope in self.around():
            if first in scope.shadowed:
                return None
            if scope.loop == first and first not in scope.nodes:
                if rest and rest[0] in ("item", "index", "carry"):
                    return scope._variable(ref, rest[0], rest[1:])
                return None  # its own result: a cycle, which is reported as such
            if first in scope.nodes:
                variable = rest[:1] if isinstance(scope.nodes[first], Loop) else ()
                if variable in (("item",), ("index",), ("carry",)):
                    raise UnresolvedError(
                        "out-of-loop",
                        f"{ref} exists only inside of the loop {first}",
                        f"let {first} give out what is made of it: collect: {{name: ...}}",
                    )
                outs = scope.results.get(first)
                return None if outs is None else pick(ref, first, rest, outs)
        if any(UNREAD in scope.nodes for scope in self.around()):
            return None
        raise self._unknown(ref, first)

    def fitting(self, wanted: Any, of: str | None = None) -> list[str]:  # noqa: ANN401
        """Up to two references in sight that give a value of the wanted type, the nearest first.

        Args:
            wanted: The annotation.
            of: Only outputs of this node.
        """
        found: list[str] = []
        searched = 0
        for name, out in self._in_sight():
            searched += 1
            if searched > _MAX_SEARCHED:
                break
            if of is not None and not name.startswith(f"${of}."):
                continue
            if out.type is not Any and assignable(out.type, wanted):
                found.append(name)
                if len(found) == 2:
                    break
        return found

    def _in_sight(self) -> Iterator[tuple[str, Out]]:
        for scope in self.around():
            prefix = "$" if scope is self else f"${scope.loop}."
            yield from ((f"{prefix}carry.{name}", out) for name, out in scope.carry.items())
            if scope.loop and isinstance(scope.item, Out):
                yield f"{prefix}item", scope.item
            elif scope.loop and isinstance(scope.item, Mapping):
                yield from ((f"{prefix}item.{name}", out) for name, out in scope.item.items())
            for name in scope.nearest():
                for port, out in (scope.results.get(name) or {}).items():
                    yield f"${name}.{port}" if port else f"${name}", out
        yield from ((f"$inputs.{name}", out) for name, out in self.inputs.items())

    def nearest(self) -> list[str]:
        """The nodes, those before the current one first, from it upwards."""
        names = list(self.nodes)
        here = names.index(self.current) if self.current in self.nodes else len(names)
        return [*reversed(names[:here]), *names[here + 1 :]]

    def _input(self, ref: Ref, rest: tuple[str, ...]) -> Out | None:
        if UNREAD in self.inputs:
            return None
        name = rest[0] if rest else ""
        if name not in self.inputs:
            cause = ("inputs", name)
            message = f"there is no input {name}" if rest else "$inputs needs a name: $inputs.name"
            help = did_you_mean(name, self.inputs)
            if help is None and name in self.nodes:
                help = f"did you mean the node ${name}?"
            if help is None and name:
                help = f"declare it: write {name}: under `inputs:`"
            raise UnresolvedError("unknown-input", message, help, cause)
        if len(rest) > 1:
            raise UnresolvedError("unknown-output", f"an input is one value: {ref} means nothing")
        return self.inputs[name]

    def _variable(self, ref: Ref, word: str, rest: tuple[str, ...]) -> Out | None:
        if word == "carry" and UNREAD in self.carry:
            return None
        if word == "index" and not rest:
            return self.index
        if word == "carry" and len(rest) == 1:
            if rest[0] in self.carry:
                return self.carry[rest[0]]
            if rest[0] in self.given:
                self.unstarted.add(rest[0])
                return None
            message = f"the loop {self.loop} carries no {rest[0]}"
            raise UnresolvedError("unknown-output", message, did_you_mean(rest[0], self.carry))
        if word == "item":
            if isinstance(self.item, Out):
                if not rest or self.item is ANYTHING:
                    return self.item
            elif not rest:
                return Out(Mapping[str, Any], all(o.known for o in self.item.values()))
            elif len(rest) == 1 and rest[0] in self.item:
                return self.item[rest[0]]
            else:
                message = f"the loop {self.loop} goes over no {'.'.join(rest)}"
                raise UnresolvedError("unknown-output", message, did_you_mean(rest[0], self.item))
        whole = str(ref).split(word)[0] + word
        help = f"write {whole}.name" if word == "carry" else f"write {whole}"
        message = f"{ref} means nothing"
        if word == "item" and isinstance(self.item, Out):
            message = f"{whole} is one value, {type_name(self.item.type)}: {message}"
        raise UnresolvedError("unknown-output", message, help, (word,))

    def _unknown(self, ref: Ref, first: str) -> UnresolvedError:
        for scope in self.around():
            for name, element in scope.nodes.items():
                if isinstance(element, Loop) and first in element.nodes:
                    return UnresolvedError(
                        "out-of-loop",
                        f"{first} exists only inside of the loop {name}",
                        f"let {name} give it out: collect: {{{first}: {ref}}}, or carry it",
                        (first,),
                    )
        if first in self.inputs:
            help: str | None = f"did you mean $inputs.{first}?"
        else:
            names = [name for scope in self.around() for name in scope.nodes]
            help = did_you_mean(first, [*names, *(w for w in RESERVED if w not in names)])
        return UnresolvedError("unknown-node", f"there is no node {first}", help, (first,))


def pick(ref: Ref, name: str, rest: tuple[str, ...], outs: Outs) -> Out:
    """The output of a node that a reference means.

    Raises:
        UnresolvedError: there is none, or it names none of several.
    """
    named = [port for port in outs if port]
    if not rest:
        if len(outs) == 1:
            return next(iter(outs.values()))
        if not outs:
            instead = "a loop gives what it carries and collects, a part its outputs"
            raise UnresolvedError("unknown-output", f"{name} gives nothing", instead, (name,))
        choices = ", ".join(f"${name}.{port}" for port in named)
        raise UnresolvedError(
            "ambiguous-output", f"{name} has several outputs", f"write one of {choices}"
        )
    if len(rest) == 1 and rest[0] and rest[0] in outs:
        return outs[rest[0]]
    if not named:
        only = next(iter(outs.values()), None)
        what = f"one output, {type_name(only.type)}" if only else "no output"
        raise UnresolvedError(
            "unknown-output",
            f"{name} has {what}: {ref} means nothing",
            f"write ${name}" if only else "a loop gives what it carries and collects",
            (name,),
        )
    help = did_you_mean(rest[0], named)
    if len(rest) > 1 and rest[0] in outs:
        help = f"write ${name}.{rest[0]}"
    raise UnresolvedError("unknown-output", f"{name} has no output {'.'.join(rest)}", help)

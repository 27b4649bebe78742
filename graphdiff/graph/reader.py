"""One workflow file: its tree to a graph, with every mistake in how it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from graphdiff.graph import source as tree
from graphdiff.graph.inputs import inferred_type
from graphdiff.graph.names import (
    RESERVED,
    UNREAD,
    near,
)
from graphdiff.graph.places import FilePlaces
from graphdiff.graph.source import Scalar, Source, Tree, compose
from graphdiff.graph.spec import (
    FORMAT_VERSION,
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
    Ref,
    Value,
    WorkflowError,
)
from graphdiff.graph.tree_reader import AliasError, Pairs, TreeReader

_TOP: Final = ("graphdiff", "name", "description", "inputs", "nodes", "outputs")
_INPUT: Final = ("type", "default", "optional", "help", "choices", "min", "max")
_LOOP: Final = ("type", "over", "carry", "nodes", "next", "collect", "until")
_IF: Final = ("type", "test", "then", "else")

BROKEN: Final = Call("", {})
"""Stands for an element that could not be read, so that references to it are no second mistake."""

Include = Callable[[str, Path | None], tuple[Graph, FilePlaces]]


def read_source(
    source: Source, folder: Path | None, include: Include
) -> tuple[Graph, FilePlaces, list[Diagnostic]]:
    """What could be read of a file, where all of it stands, and the mistakes in its writing.

    Args:
        source: The file's text.
        folder: What its paths are relative to.
        include: Reads the part at a path that is written in this file.
    """
    reader = _Reader(source, folder, include)
    return reader.workflow(), reader.places, reader.mistakes


class _Reader(TreeReader):
    """One file.

    Attributes:
        folder: What its paths are relative to.
        include: Reads the part at a path that is written in it.
        places: Where its values stand.
    """

    def __init__(self, source: Source, folder: Path | None, include: Include) -> None:
        super().__init__(source)
        self.folder = folder
        self.include = include
        self.places = FilePlaces(source)

    def workflow(self) -> Graph:
        root, self.mistakes = compose(self.source)
        self.repaired = bool(self.mistakes)
        if root is None:
            if not self.mistakes:
                self.not_a_workflow("the file is empty", None)
            return Graph(folder=self.folder)
        try:
            return self.graph(root)
        except AliasError:
            message = "aliases (*name) make the file many times larger than it is written"
            self.mistakes = [Diagnostic("too-many-aliases", message, (), self.source.at(0, 0))]
            return Graph(folder=self.folder)

    def not_a_workflow(self, message: str, at: Tree | None) -> None:
        place = self.source.place(at.start) if at is not None else self.source.at(0, 0)
        hint = "a workflow starts with `graphdiff: 1` and has `nodes:`"
        self.mistakes.append(Diagnostic("not-a-workflow", message, (), place, hint))

    def graph(self, root: Tree) -> Graph:
        if not isinstance(root, tree.Mapping):
            self.not_a_workflow("a workflow is a map of names to values", root)
            return Graph(folder=self.folder)
        names = {k.text for k, _ in root.pairs if isinstance(k, Scalar)}
        if not names & {"graphdiff", "nodes"}:
            self.not_a_workflow(
                "the file is YAML, but neither `graphdiff` nor `nodes` is in it", root
            )
            return Graph(folder=self.folder)
        pairs = self.pairs(root, ())
        if self.is_newer(pairs, root):
            return Graph(folder=self.folder)
        self.unknown_keys(pairs, _TOP, (), "a workflow")
        inputs = {
            name: self.input(name, value, ("inputs", name))
            for name, (_, value) in self.named(pairs, "inputs", (), "an input").items()
        }
        if self.lost(pairs, "inputs", _TOP, ()):
            inputs[UNREAD] = Input("")
        nodes = self.nodes(pairs, ())
        if self.lost(pairs, "nodes", _TOP, ()):
            nodes[UNREAD] = BROKEN
        return Graph(
            name=self.text(pairs, "name", ()),
            description=self.text(pairs, "description", ()),
            inputs=inputs,
            nodes=nodes,
            outputs=self.values(pairs, "outputs", (), _TOP),
            folder=self.folder,
        )

    def is_newer(self, pairs: Pairs, root: Tree) -> bool:
        if "graphdiff" not in pairs:
            first = next((key for key, _ in pairs.values()), root)
            message = "the version of the file format is not said"
            self.error("missing-version", message, first, (), f"write graphdiff: {FORMAT_VERSION}")
            return False
        value = pairs["graphdiff"][1]
        version = self.value(value, ("graphdiff",))
        if type(version) is int and version > FORMAT_VERSION:
            message = (
                f"the file has format {version}, and this version of graphdiff knows "
                f"{FORMAT_VERSION}: it needs a newer graphdiff"
            )
            hint = "pip install --upgrade graphdiff"
            self.error("newer-version", message, value, ("graphdiff",), hint)
            return True
        if version is not MISSING and (type(version) is not int or version < 1):
            hint = f"write graphdiff: {FORMAT_VERSION}"
            self.error("wrong-shape", "the version is a number", value, ("graphdiff",), hint)
        return False

    # Elements.

    def nodes(self, pairs: Pairs, path: GraphPath) -> dict[str, Element]:
        found: dict[str, Element] = {}
        for name, (key, value) in self.named(pairs, "nodes", path, "a node").items():
            below = (*path, "nodes", name)
            if name in RESERVED:
                message = f"a node cannot be called {name}: ${name} means something else"
                self.error("wrong-name", message, key, below)
            found[name] = self.element(name, key, value, below)
        return found

    def element(self, name: str, key: Scalar, value: Tree, path: GraphPath) -> Element:
        if not isinstance(value, tree.Mapping):
            hint = f"write {name}: {{type: ...}}"
            self.error("wrong-shape", "a node is a map with its type", value, path, hint)
            return BROKEN
        pairs = self.pairs(value, path)
        if "type" not in pairs:
            other = near("type", (n for n in pairs if n not in ("test", "then", "over")))
            hint = f"write type: instead of {other}:" if other else "write type: and a node's name"
            self.error("missing-key", f"{name} has no type", key, path, hint)
            return BROKEN
        written = pairs["type"][1]
        kind = self.value(written, (*path, "type"))
        if kind is MISSING:
            return BROKEN
        if not isinstance(kind, str) or not kind:
            hint = "nodes have names such as LoadModel"
            self.error("wrong-shape", "a type is a name", written, (*path, "type"), hint)
            return BROKEN
        if kind == "Loop":
            return self.loop(name, key, pairs, path)
        if kind == "If":
            return self.branch(name, key, pairs, path)
        args = {
            argument: self.value(given, (*path, argument))
            for argument, (_, given) in pairs.items()
            if argument != "type"
        }
        if path in self.unread:
            args[UNREAD] = MISSING
        if is_path(kind):
            return self.part(kind, args, written, path)
        return Call(kind, args)

    def part(self, written: str, args: dict[str, Value], at: Tree, path: GraphPath) -> Element:
        try:
            graph, places = self.include(written, self.folder)
        except WorkflowError as error:
            for mistake in error.diagnostics:
                if mistake.place is None:
                    self.error(mistake.code, mistake.message, at, (*path, "type"), mistake.help)
                else:
                    self.mistakes.append(mistake)
            return BROKEN
        self.places.parts[written] = places
        return Part(written, graph, args)

    def loop(self, name: str, key: Scalar, pairs: Pairs, path: GraphPath) -> Element:
        self.unknown_keys(pairs, _LOOP, path, "a Loop")
        self.missing_keys(pairs, ("over", "nodes"), _LOOP, key, path, f"the Loop {name}")
        until: Ref | None = None
        if "until" in pairs:
            value = self.value(pairs["until"][1], (*path, "until"))
            if isinstance(value, Ref):
                until = value
            elif value is not MISSING:
                message = "until is a reference to a bool of the body, such as $check.done"
                self.error("wrong-shape", message, pairs["until"][1], (*path, "until"))
        nodes = self.nodes(pairs, path)
        if "nodes" not in pairs or (*path, "nodes") in self.unread:
            nodes[UNREAD] = BROKEN
        return Loop(
            over=self.value(pairs["over"][1], (*path, "over")) if "over" in pairs else MISSING,
            nodes=nodes,
            carry=self.values(pairs, "carry", path, _LOOP),
            next=self.next(pairs, path),
            collect=self.values(pairs, "collect", path, _LOOP),
            until=until,
        )

    def next(self, pairs: Pairs, path: GraphPath) -> Ref | dict[str, Value]:
        if "next" in pairs and isinstance(pairs["next"][1], Scalar):
            value = self.value(pairs["next"][1], (*path, "next"))
            if isinstance(value, Ref):
                return value
            if value is MISSING:
                return Ref(())
        return self.values(pairs, "next", path, _LOOP)

    def branch(self, name: str, key: Scalar, pairs: Pairs, path: GraphPath) -> Element:
        self.unknown_keys(pairs, _IF, path, "an If")
        self.missing_keys(pairs, ("test", "then", "else"), _IF, key, path, f"the If {name}")
        test, then, otherwise = (
            self.value(pairs[k][1], (*path, k)) if k in pairs else MISSING
            for k in ("test", "then", "else")
        )
        return If(test, then, otherwise)

    # Inputs.

    def input(self, name: str, value: Tree, path: GraphPath) -> Input:
        if not isinstance(value, tree.Mapping):
            default = self.literal(value, path)
            if default is MISSING:
                return Input("")
            return Input(self.inferred(default, value, path), default)
        pairs = self.pairs(value, path)
        self.unknown_keys(pairs, _INPUT, path, "an input")
        default = self.literal_under(pairs, "default", path, MISSING)
        if "type" in pairs:
            kind = self.type(pairs["type"][1], (*path, "type"))
        elif near("type", (key for key in pairs if key not in _INPUT)) is not None:
            kind = ""
        elif default is not MISSING:
            kind = self.inferred(default, pairs["default"][1], path)
        else:
            hint = "write type: str, int, float, bool, path or [str]"
            self.error("missing-key", f"the input {name} has no type", value, path, hint)
            kind = ""
        choices = self.literal_under(pairs, "choices", path, None)
        if choices is not None and (not isinstance(choices, list) or not choices):
            self.wrong_shape(pairs, "choices", path, "choices is a list of values")
            choices = None
        optional = self.literal_under(pairs, "optional", path, False)
        if type(optional) is not bool:
            self.wrong_shape(pairs, "optional", path, "optional is true or false")
            optional = False
        return Input(
            type=kind,
            default=default,
            optional=optional,
            help=self.text(pairs, "help", path),
            choices=None if choices is None else tuple(choices),  # pyright: ignore
            min=self.number(pairs, "min", path),
            max=self.number(pairs, "max", path),
        )

    def type(self, value: Tree, path: GraphPath) -> str:
        if isinstance(value, tree.Sequence) and len(value.items) == 1:
            inner = self.type(value.items[0], path)
            return f"[{inner}]" if inner else ""
        if isinstance(value, Scalar) and value.text and "$" not in value.text:
            return value.text
        message = "a type is str, int, float, bool, path, a wire's type, or a list such as [str]"
        self.error("wrong-shape", message, value, path)
        return ""

    def inferred(self, default: Value, at: Tree, path: GraphPath) -> str:
        kind = inferred_type(default)
        if kind is None:
            hint = "write {type: str, default: null, optional: true}, or another type"
            self.error("missing-key", "the default does not say the type", at, path, hint)
        return kind or ""


def is_path(kind: str) -> bool:
    """Whether a node's type is a file rather than a name."""
    return kind.startswith((".", "/", "~")) or kind.endswith((".yaml", ".yml"))

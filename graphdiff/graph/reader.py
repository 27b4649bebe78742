"""One workflow file: its tree to a graph, with every mistake in how it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from graphdiff.graph import source as tree
from graphdiff.graph.input_reader import InputReader
from graphdiff.graph.misplaced import has_type, is_null, without_line
from graphdiff.graph.names import (
    RESERVED,
    UNREAD,
    is_name,
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
from graphdiff.graph.tree_reader import AliasError, Pairs, as_name

_TOP: Final = ("graphdiff", "name", "description", "inputs", "nodes", "outputs")
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
    graph = reader.workflow()
    return graph, reader.places, reader.excused()


class _Reader(InputReader):
    """One file.

    Attributes:
        folder: What its paths are relative to.
        include: Reads the part at a path that is written in it.
        places: Where its values stand.
        loose: What stands outside of the map that it belongs to.
    """

    def __init__(self, source: Source, folder: Path | None, include: Include) -> None:
        super().__init__(source)
        self.folder = folder
        self.include = include
        self.places = FilePlaces(source)
        self.loose: set[str] = set()

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
            message = "the file is YAML, but neither `graphdiff` nor `nodes` is in it"
            if "class_type" in self.source.text:
                message = "this is a graph of ComfyUI's, which is written otherwise here"
            self.not_a_workflow(message, root)
            return Graph(folder=self.folder)
        pairs = without_line(self.pairs(root, ()), self)
        if self.is_newer(pairs, root):
            return Graph(folder=self.folder)
        self.unknown_keys(pairs, _TOP, (), "a workflow")
        self.loosened(pairs, _TOP)
        inputs = {
            name: self.input(name, value, ("inputs", name))
            for name, (_, value) in self.named(pairs, "inputs", (), "an input").items()
        }
        for name in [*inputs]:
            if ("inputs", name) in self.twice or not is_name(name):
                inputs[name] = inputs[as_name(name)] = Input("")
        if self.lost(pairs, "inputs", _TOP, ()):
            inputs[UNREAD] = Input("")
        nodes = self.nodes(pairs, ())
        if self.lost(pairs, "nodes", _TOP, ()):
            nodes[UNREAD] = BROKEN
        for name in self.loose:
            nodes.setdefault(name, BROKEN)
            inputs.setdefault(name, Input(""))
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
            unknown = [n for n in pairs if n not in _TOP]
            ones = (pairs[n][1] for n in unknown)
            if near("graphdiff", unknown) or any(
                isinstance(v, Scalar) and v.text == "1" for v in ones
            ):
                return False
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

    def loosened(self, pairs: Pairs, known: tuple[str, ...]) -> None:
        """Note unknown keys that may be nodes or inputs with the wrong indentation."""
        found = (n for n, (_, v) in pairs.items() if n not in known and isinstance(v, tree.Mapping))
        self.loose.update(found)

    def nodes(self, pairs: Pairs, path: GraphPath) -> dict[str, Element]:
        found: dict[str, Element] = {}
        named = self.named(pairs, "nodes", path, "a node")
        if "type" in named and isinstance(named["type"][1], Scalar):
            key = named["type"][0]
            hint = "a node is a name and, indented under it, its type and arguments"
            message = "`type` stands where a node's name should"
            self.error("wrong-shape", message, key, (*path, "nodes", "type"), hint)
            return {UNREAD: BROKEN}
        self.stray |= {n for n, (_, v) in named.items() if n in _LOOP and not has_type(v)}
        for name, (key, value) in named.items():
            below = (*path, "nodes", name)
            if name in self.stray:
                hint = "indent it like the loop's `over`"
                self.error("wrong-shape", f"{name} stands among the nodes", key, below, hint)
                continue
            if name in RESERVED:
                message = f"a node cannot be called {name}: ${name} means something else"
                self.error("wrong-name", message, key, below, "give it another name")
            element = BROKEN if below in self.twice and is_null(value) else None
            found[name] = element or self.element(name, key, value, below)
            if below in self.twice:
                found[name] = BROKEN
            if not is_name(name):
                found.setdefault(as_name(name), BROKEN)
        if self.lost(pairs, "nodes", (), path):
            found[UNREAD] = BROKEN
        return found

    # Elements.

    def element(self, name: str, key: Scalar, value: Tree, path: GraphPath) -> Element:
        if not isinstance(value, tree.Mapping):
            hint = f"write {name}: {{type: ...}}"
            self.error("wrong-shape", "a node is a map with its type", value, path, hint)
            return BROKEN
        pairs = self.pairs(value, path)
        if "type" not in pairs:
            if path in self.unread:
                return BROKEN
            other = near("type", (n for n in pairs if n not in ("test", "then", "over")))
            hint = f"write type: instead of {other}:" if other else "write type: and a node's name"
            for kind, needed in (("Loop", "over"), ("If", "then")):
                if needed in pairs and not other:
                    hint = f"write type: {kind}"
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
            argument: self.once(given, (*path, argument))
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
        self.loosened(pairs, _LOOP)
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


def is_path(kind: str) -> bool:
    """Whether a node's type is a file rather than a name."""
    return kind.startswith((".", "/", "~")) or kind.endswith((".yaml", ".yml"))

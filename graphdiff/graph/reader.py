"""One workflow file: its tree to a graph, with every mistake in how it is written."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from pathlib import Path
from typing import Final

from graphdiff.graph import source as tree
from graphdiff.graph.literals import inferred_type
from graphdiff.graph.names import (
    RESERVED,
    UNREAD,
    DollarError,
    did_you_mean,
    is_name,
    near,
    parse_text,
)
from graphdiff.graph.places import FilePlaces
from graphdiff.graph.scalars import plain_scalar
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
    Text,
    Value,
    WorkflowError,
)

_TOP: Final = ("graphdiff", "name", "description", "inputs", "nodes", "outputs")
_INPUT: Final = ("type", "default", "optional", "help", "choices", "min", "max")
_LOOP: Final = ("type", "over", "carry", "nodes", "next", "collect", "until")
_IF: Final = ("type", "test", "then", "else")

BROKEN: Final = Call("", {})
"""Stands for an element that could not be read, so that references to it are no second mistake."""

_Pairs = dict[str, tuple[Scalar, Tree]]
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


class _AliasError(Exception):
    """Aliases that make more of the file than is in it."""


class _Reader:
    """One file: mistakes are gathered, and what is wrong is left out of the graph."""

    def __init__(self, source: Source, folder: Path | None, include: Include) -> None:
        self.source = source
        self.folder = folder
        self.include = include
        self.mistakes: list[Diagnostic] = []
        self.places = FilePlaces(source)
        self.seen: set[int] = set()
        self.aliased = 0
        self.repaired = False
        self.unread: set[GraphPath] = set()  # maps of which some keys could not be read

    def error(
        self, code: str, message: str, at: Tree, path: GraphPath = (), help: str | None = None
    ) -> None:
        self.mistakes.append(Diagnostic(code, message, path, self.source.place(at.start), help))

    def workflow(self) -> Graph:
        root, self.mistakes = compose(self.source)
        self.repaired = bool(self.mistakes)
        if root is None:
            if not self.mistakes:
                self.not_a_workflow("the file is empty", None)
            return Graph(folder=self.folder)
        try:
            return self.graph(root)
        except _AliasError:
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

    def is_newer(self, pairs: _Pairs, root: Tree) -> bool:
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

    def nodes(self, pairs: _Pairs, path: GraphPath) -> dict[str, Element]:
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

    def loop(self, name: str, key: Scalar, pairs: _Pairs, path: GraphPath) -> Element:
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

    def next(self, pairs: _Pairs, path: GraphPath) -> Ref | dict[str, Value]:
        if "next" in pairs and isinstance(pairs["next"][1], Scalar):
            value = self.value(pairs["next"][1], (*path, "next"))
            if isinstance(value, Ref):
                return value
            if value is MISSING:
                return Ref(())
        return self.values(pairs, "next", path, _LOOP)

    def branch(self, name: str, key: Scalar, pairs: _Pairs, path: GraphPath) -> Element:
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
        default = self.optional(pairs, "default", path, MISSING)
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
        choices = self.optional(pairs, "choices", path, None)
        if choices is not None and (not isinstance(choices, list) or not choices):
            self.shape(pairs, "choices", path, "choices is a list of values")
            choices = None
        optional = self.optional(pairs, "optional", path, False)
        if type(optional) is not bool:
            self.shape(pairs, "optional", path, "optional is true or false")
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

    def shape(self, pairs: _Pairs, key: str, path: GraphPath, message: str) -> None:
        self.error("wrong-shape", message, pairs[key][1], (*path, key))

    def optional(self, pairs: _Pairs, key: str, path: GraphPath, default: Value) -> Value:
        if key not in pairs:
            return default
        value = self.literal(pairs[key][1], (*path, key))
        return default if value is MISSING else value

    def number(self, pairs: _Pairs, key: str, path: GraphPath) -> float | None:
        value = self.optional(pairs, key, path, None)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        self.shape(pairs, key, path, f"{key} is a number")
        return None

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

    # Values.

    def value(self, node: Tree, path: GraphPath) -> Value:
        """A value of an argument; MISSING where it could not be read, which is then reported."""
        if type(node) is Scalar:
            if node.tag is not None:
                return self.tagged(node, path)
            text = node.text
            if not node.style and "$" not in text:
                try:
                    return plain_scalar(text)
                except ValueError as error:
                    self.error("wrong-literal", str(error), node, path, "put text in quotes")
                    return MISSING
            if self.repaired and tree.OPEN in text:
                return MISSING  # reported where it was repaired
            try:
                return parse_text(text)
            except DollarError as error:
                self.error("dollar-misuse", str(error), node, path, error.help)
                return MISSING
        if node.tag is not None:
            return self.tagged(node, path)
        if type(node) is tree.Sequence:
            self.count(node, len(node.items), path)
            return [self.value(item, (*path, i)) for i, item in enumerate(node.items)]
        assert isinstance(node, tree.Mapping)  # the third kind of tree
        return {
            name: self.value(item, (*path, name))
            for name, (_, item) in self.pairs(node, path).items()
        }

    def literal(self, node: Tree, path: GraphPath) -> Value:
        """A value that holds no references."""
        value = self.value(node, path)
        if _refers(value):
            hint = f"write ${value}" if isinstance(value, Ref) else "write $${ for a literal ${"
            message = "here stands a plain value, no reference"
            self.error("dollar-misuse", message, node, path, hint)
            return MISSING
        return value

    def tagged(self, node: Tree, path: GraphPath) -> Value:
        hint = 'text that starts with ! needs quotes: "!..."'
        self.error("yaml-syntax", "tags (!name) are no part of the format", node, path, hint)
        return MISSING

    def text(self, pairs: _Pairs, key: str, path: GraphPath) -> str:
        if key not in pairs:
            return ""
        node = pairs[key][1]
        if not isinstance(node, Scalar) or node.tag is not None:
            self.error("wrong-shape", f"{key} is text", node, (*path, key))
            return ""
        return node.text

    def values(
        self, pairs: _Pairs, key: str, path: GraphPath, known: tuple[str, ...]
    ) -> dict[str, Value]:
        found = {
            name: self.value(value, (*path, key, name))
            for name, (_, value) in self.named(pairs, key, path, "an output").items()
        }
        if self.lost(pairs, key, known, path):
            found[UNREAD] = MISSING
        return found

    def lost(self, pairs: _Pairs, key: str, known: tuple[str, ...], path: GraphPath) -> bool:
        """Whether there are names under a key that could not be read; asked after reading it."""
        if key in pairs:
            return (*path, key) in self.unread
        misspelt = (near(name, known) for name in pairs if name not in known)
        return path in self.unread or key in misspelt

    def named(self, pairs: _Pairs, key: str, path: GraphPath, what: str) -> _Pairs:
        """The map of names under a key; empty where there is none."""
        if key not in pairs:
            return {}
        node = pairs[key][1]
        below = (*path, key)
        if isinstance(node, Scalar) and not node.style and node.text in ("", "null", "~"):
            return {}
        if not isinstance(node, tree.Mapping):
            self.error("wrong-shape", f"{key} is a map of names", node, below)
            self.unread.add(below)
            return {}
        found = self.pairs(node, below)
        for name, (name_key, _) in found.items():
            if not is_name(name):
                fixed = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
                hint = f"write {fixed}" if is_name(fixed) else "names are letters, digits and _"
                self.error("wrong-name", f"{what} cannot be called {name}", name_key, below, hint)
        return found

    # Maps.

    def pairs(self, node: tree.Mapping, path: GraphPath) -> _Pairs:
        """The pairs of a map by key, each key once."""
        self.count(node, len(node.pairs), path)
        if node.tag is not None:
            self.tagged(node, path)
        found: _Pairs = {}
        previous: tuple[Scalar, Tree] | None = None
        for key, value in node.pairs:
            if not isinstance(key, Scalar) or key.tag is not None:
                self.error("wrong-key", "a key is text", key, path)
                self.unread.add(path)
                continue
            name = key.text
            if self.repaired and tree.OPEN in name:
                continue
            if not key.style:
                if name == "<<":
                    hint = "write the keys out"
                    self.error("wrong-key", "merge keys are no part of the format", key, path, hint)
                    self.unread.add(path)
                    continue
                if not isinstance(plain_key(name), str):
                    self.error("wrong-key", f"a key is text, {name} is none", key, path, "quote it")
                    self.unread.add(path)
                    continue
                if node.flow and ":" in name and _is_bare(key, value):
                    name, _, rest = name.partition(":")
                    hint = f"write {name}: {rest.strip()}"
                    self.error("wrong-shape", "after the colon there is no space", key, path, hint)
                    value = Scalar(rest.strip(), "", key.start, key.end)
                elif node.flow and _is_bare(key, value):
                    self.bare(key, previous, path)
                    continue
            if name in found:
                line = found[name][0].start.line + 1
                message = f"{name} stands here twice; first in line {line}"
                self.error("duplicate-key", message, key, (*path, name))
                continue
            previous = found[name] = (key, value)
        return found

    def bare(self, key: Scalar, previous: tuple[Scalar, Tree] | None, path: GraphPath) -> None:
        """Report a key without a value in `{...}`: mostly text that has a comma and no quotes."""
        before = previous[1] if previous is not None and previous[0].text != "type" else None
        if previous is None or not isinstance(before, Scalar) or before.style:
            message = f"{key.text} has no value"
            name, _, rest = key.text.partition(" ")
            self.error("wrong-shape", message, key, path, f"write {name}: {rest or '...'}")
            self.unread.add(path)
            return
        start = before.start.index
        text = self.source.text[start : key.end.index]
        last = self.mistakes[-1] if self.mistakes else None
        hint = f'write {previous[0].text}: "{text}"'
        if (
            last is not None
            and last.code == "unquoted-comma"
            and last.path
            == (
                *path,
                previous[0].text,
            )
        ):
            self.mistakes[-1] = replace(last, help=hint)
            return
        message = f"the comma ends the text of {previous[0].text}, so that {key.text} is a key"
        self.error("unquoted-comma", message, key, (*path, previous[0].text), hint)

    def unknown_keys(
        self, pairs: _Pairs, known: tuple[str, ...], path: GraphPath, what: str
    ) -> None:
        for name, (key, _) in pairs.items():
            if name not in known:
                message = f"{what} has no key {name}"
                self.error("unknown-key", message, key, (*path, name), did_you_mean(name, known))

    def missing_keys(
        self,
        pairs: _Pairs,
        needed: tuple[str, ...],
        known: tuple[str, ...],
        at: Scalar,
        path: GraphPath,
        what: str,
    ) -> None:
        for name in needed:
            if name not in pairs and not self.lost(pairs, name, known, path):
                self.error("missing-key", f"{what} has no {name}", at, path, f"write {name}: ...")

    def count(self, node: Tree, size: int, path: GraphPath) -> None:
        """Refuse aliases that repeat themselves, or that make much of little."""
        if id(node) in self.seen:
            self.aliased += 1 + size
            if self.aliased > tree.MAX_ALIASED or len(path) > 2 * tree.MAX_DEPTH:
                raise _AliasError
        self.seen.add(id(node))


def is_path(kind: str) -> bool:
    """Whether a node's type is a file rather than a name."""
    return kind.startswith((".", "/", "~")) or kind.endswith((".yaml", ".yml"))


def plain_key(text: str) -> str | float | bool | None:
    """What a key without quotes would be as a value; only text may be a key."""
    try:
        return plain_scalar(text)
    except ValueError:
        return None


def _is_bare(key: Scalar, value: Tree) -> bool:
    """Whether a key in `{...}` stands alone, without a colon."""
    return (
        isinstance(value, Scalar)
        and not value.style
        and not value.text
        and value.start.index == key.end.index
    )


def _refers(value: Value) -> bool:
    if isinstance(value, (Ref, Text)):
        return True
    if isinstance(value, list):
        return any(_refers(item) for item in value)  # pyright: ignore
    if isinstance(value, MappingOf):
        return any(_refers(item) for item in value.values())  # pyright: ignore
    return False

"""The tree of a YAML file as plain values and maps of names, with every mistake in the writing."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Final

from graphdiff.graph import source as tree
from graphdiff.graph.names import (
    UNREAD,
    DollarError,
    did_you_mean,
    is_name,
    is_reference,
    near,
    parse_text,
)
from graphdiff.graph.scalars import plain_scalar
from graphdiff.graph.source import Scalar, Source, Tree
from graphdiff.graph.spec import MISSING, Diagnostic, GraphPath, Ref, Text, Value

Pairs = dict[str, tuple[Scalar, Tree]]
"""A map as it is written: keys and values by the text of the keys."""


_QUOTE: Final = re.compile(r"""(\w+) ["']""")


class AliasError(Exception):
    """Aliases that make more of the file than is in it."""


class TreeReader:
    """Reads values; mistakes are gathered, and what is wrong is left out or MISSING.

    Attributes:
        source: The file.
        mistakes: What was found.
        repaired: Whether the text had to be mended to be read as YAML at all.
        unread: The paths of maps of which some keys could not be read.
        misnamed: Keys that are no names, so that references to them cannot be read either.
        twice: The paths of keys that stand twice, so that it is open what they mean.
        stray: The keys of loops that stand among the names of nodes.
        garbled: The paths of maps in braces that YAML reads otherwise than they are meant.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.mistakes: list[Diagnostic] = []
        self.repaired = False
        self.unread: set[GraphPath] = set()
        self.misnamed: set[str] = set()
        self.twice: set[GraphPath] = set()
        self.stray: set[str] = set()
        self.garbled: set[GraphPath] = set()
        self._seen: set[int] = set()
        self._aliased = 0
        self._dollars: list[tuple[str, Diagnostic]] = []

    def excused(self) -> list[Diagnostic]:
        """The mistakes but those that another one brings with it."""
        names = "|".join(map(re.escape, self.misnamed))
        follows = re.compile(rf"\$\{{?(?:inputs\.|carry\.)?(?:{names})(?![\w-])")
        dropped = {id(m) for text, m in self._dollars if names and follows.search(text)}
        return [mistake for mistake in self.mistakes if id(mistake) not in dropped]

    def error(
        self, code: str, message: str, at: Tree, path: GraphPath = (), help: str | None = None
    ) -> None:
        """Report a mistake."""
        self.mistakes.append(Diagnostic(code, message, path, self.source.place(at.start), help))

    def value(self, node: Tree, path: GraphPath) -> Value:
        """A value of an argument; MISSING where it could not be read, which is then reported."""
        if type(node) is Scalar:
            if node.tag is not None:
                return self._tagged(node, path)
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
                self._dollars.append((text, self.mistakes[-1]))
                return MISSING
        if node.tag is not None:
            return self._tagged(node, path)
        if type(node) is tree.Sequence:
            self._count(node, len(node.items), path)
            return [self.value(item, (*path, i)) for i, item in enumerate(node.items)]
        assert isinstance(node, tree.Mapping)  # the third kind of tree
        found = {
            name: self.value(item, (*path, name))
            for name, (_, item) in self.pairs(node, path).items()
        }
        return found if path not in self.unread else MISSING

    def once(self, node: Tree, path: GraphPath) -> Value:
        """A value; MISSING where its key stands twice too."""
        value = self.value(node, path)
        return MISSING if path in self.twice else value

    def literal(self, node: Tree, path: GraphPath) -> Value:
        """A value that holds no references."""
        value = self.value(node, path)
        if _refers(value):
            hint = f"write ${value}" if isinstance(value, Ref) else "write $${ for a literal ${"
            message = "here stands a plain value, no reference"
            self.error("dollar-misuse", message, node, path, hint)
            return MISSING
        return value

    def _tagged(self, node: Tree, path: GraphPath) -> Value:
        hint = 'text that starts with ! needs quotes: "!..."'
        self.error("yaml-syntax", "tags (!name) are no part of the format", node, path, hint)
        return MISSING

    def text(self, pairs: Pairs, key: str, path: GraphPath) -> str:
        """The text under a key, as it stands; empty where there is none."""
        if key not in pairs:
            return ""
        node = pairs[key][1]
        if not isinstance(node, Scalar) or node.tag is not None:
            self.error("wrong-shape", f"{key} is text", node, (*path, key))
            return ""
        return node.text

    def values(
        self, pairs: Pairs, key: str, path: GraphPath, known: tuple[str, ...]
    ) -> dict[str, Value]:
        """The values by name under a key."""
        found = {
            name: self.once(value, (*path, key, name))
            for name, (_, value) in self.named(pairs, key, path, "an output").items()
        }
        if self.lost(pairs, key, known, path):
            found[UNREAD] = MISSING
        return found

    def lost(self, pairs: Pairs, key: str, known: tuple[str, ...], path: GraphPath) -> bool:
        """Whether there are names under a key that could not be read; asked after reading it."""
        if key in pairs:
            return (*path, key) in self.unread or (*path, key) in self.twice
        if key in self.stray:
            return True
        meant = [near(name, known) for name in pairs if name not in known]
        return path in self.unread or key in meant or None in meant

    def named(self, pairs: Pairs, key: str, path: GraphPath, what: str) -> Pairs:
        """The map of names under a key; empty where there is none."""
        if key not in pairs:
            return {}
        node = pairs[key][1]
        below = (*path, key)
        if isinstance(node, Scalar) and not node.style and node.text in ("", "null", "~"):
            return {}
        if not isinstance(node, tree.Mapping):
            hint = f"write {key}: {{name: ...}}"
            self.error("wrong-shape", f"{key} is a map of names", node, below, hint)
            self.unread.add(below)
            return {}
        found = self.pairs(node, below)
        for name, (name_key, _) in found.items():
            if not is_name(name):
                fixed = as_name(name)
                hint = f"write {fixed}" if is_name(fixed) else "names are letters, digits and _"
                message = f"{what} cannot be called {name or 'nothing'}"
                self.error("wrong-name", message, name_key, below, hint)
                self.misnamed.add(name)
        return found

    def wrong_shape(self, pairs: Pairs, key: str, path: GraphPath, message: str) -> None:
        """Report that a value under a key is of another kind than is needed."""
        self.error("wrong-shape", message, pairs[key][1], (*path, key))

    def literal_under(self, pairs: Pairs, key: str, path: GraphPath, default: Value) -> Value:
        """The plain value under a key; the default where there is none, or it is wrong."""
        if key not in pairs:
            return default
        value = self.literal(pairs[key][1], (*path, key))
        return default if value is MISSING else value

    def number(self, pairs: Pairs, key: str, path: GraphPath) -> float | None:
        """The number under a key; None where there is none."""
        value = self.literal_under(pairs, key, path, None)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        self.wrong_shape(pairs, key, path, f"{key} is a number")
        return None

    def pairs(self, node: tree.Mapping, path: GraphPath) -> Pairs:
        """The pairs of a map by key, each key once."""
        self._count(node, len(node.pairs), path)
        if node.tag is not None:
            self._tagged(node, path)
        found: Pairs = {}
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
                if not isinstance(_plain_key(name), str):
                    hint = "begin it with a letter, or quote it"
                    self.error("wrong-key", f"a key is text, {name} is none", key, path, hint)
                    self.unread.add(path)
                    self.misnamed.add(name)
                    continue
                if node.flow and (found_quote := _QUOTE.match(name)) is not None:
                    said = found_quote[1]
                    message = f"after {said} there is no colon"
                    self.error("wrong-shape", message, key, path, f'write {said}: "..."')
                    self.unread.add(path)
                    self.garbled.add(path)
                    continue
                if node.flow and ":" in name and _is_bare(key, value):
                    name, _, rest = name.partition(":")
                    hint = f"write {name}: {rest.strip()}"
                    self.error("wrong-shape", "after the colon there is no space", key, path, hint)
                    value = Scalar(rest.strip(), "", key.start, key.end)
                elif node.flow and _is_bare(key, value):
                    self._bare(key, previous, path)
                    continue
            if name in found:
                line = found[name][0].start.line + 1
                message = f"{name} stands here twice; first in line {line}"
                self.error("duplicate-key", message, key, (*path, name))
                self.twice.add((*path, name))
                continue
            previous = found[name] = (key, value)
        return found

    def _bare(self, key: Scalar, previous: tuple[Scalar, Tree] | None, path: GraphPath) -> None:
        """Report a key without a value in `{...}`: mostly text that has a comma and no quotes."""
        self.unread.add(path)
        again = path in self.garbled
        self.garbled.add(path)
        before = previous[1] if previous is not None and previous[0].text != "type" else None
        name, _, rest = key.text.partition(" ")
        if (
            previous is None
            or not isinstance(before, Scalar)
            or before.style
            or is_reference(before.text)
            or is_reference(rest)
        ):
            message = f"{key.text} has no value"
            if not again:
                self.error("wrong-shape", message, key, path, f"write {name}: {rest or '...'}")
            return
        start = before.start.index
        text = self.source.text[start : key.end.index]
        hint = f'write {previous[0].text}: "{text}"'
        where = (*path, previous[0].text)
        last = self.mistakes[-1] if self.mistakes else None
        if last is not None and (last.code, last.path) == ("unquoted-comma", where):
            self.mistakes[-1] = replace(last, help=hint)  # a further comma in the same text
            return
        if again:
            return
        message = f"the comma ends the text of {previous[0].text}, so that {key.text} is a key"
        self.error("unquoted-comma", message, key, where, hint)

    def unknown_keys(
        self, pairs: Pairs, known: tuple[str, ...], path: GraphPath, what: str
    ) -> None:
        """Report the keys of a map that mean nothing there."""
        for name, (key, _) in pairs.items():
            if name not in known:
                if not is_name(name):
                    self.misnamed.add(name)
                if path in self.garbled:
                    continue
                message = f"{what} has no key {name}"
                self.error("unknown-key", message, key, (*path, name), did_you_mean(name, known))

    def missing_keys(
        self,
        pairs: Pairs,
        needed: tuple[str, ...],
        known: tuple[str, ...],
        at: Scalar,
        path: GraphPath,
        what: str,
    ) -> None:
        """Report the keys that a map needs and does not have."""
        for name in needed:
            if name not in pairs and not self.lost(pairs, name, known, path):
                self.error("missing-key", f"{what} has no {name}", at, path, f"write {name}: ...")

    def _count(self, node: Tree, size: int, path: GraphPath) -> None:
        """Refuse aliases that repeat themselves, or that make much of little."""
        if id(node) in self._seen:
            self._aliased += 1 + size
            if self._aliased > tree.MAX_ALIASED or len(path) > 2 * tree.MAX_DEPTH:
                raise AliasError
        self._seen.add(id(node))


def as_name(text: str) -> str:
    """A text with what cannot be in a name replaced."""
    return "".join(c if c.isalnum() or c == "_" else "_" for c in text)


def _plain_key(text: str) -> str | float | bool | None:
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

"""Old names of arguments rewritten in a file's text, which otherwise stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from graphdiff.graph.registry import Registry
from graphdiff.graph.source import Mapping, Scalar, Source, Tree, compose


class Fixed(NamedTuple):
    """A text and what was changed in it.

    Args:
        text: The new text.
        changes: One line for each change: `3: colour is color now`, after the number of its line.
    """

    text: str
    changes: tuple[str, ...]


def fix(text: str, registry: Registry) -> Fixed:
    """The text of a workflow file with renamed arguments rewritten; layout and comments stay.

    An argument whose new name is given beside the old one is left to the checker, and so is a text
    that is no YAML.
    """
    body = text.removeprefix("\ufeff")
    root, mistakes = compose(Source(body, "<text>"))
    changes: list[str] = []
    if root is not None and not mistakes:
        found = sorted(_renamed(root, registry), key=lambda change: -change[0].start.index)
        for key, new in found:
            old = body[key.start.index : key.end.index]
            written = old.replace(key.text, new) if key.style else new
            body = body[: key.start.index] + written + body[key.end.index :]
            changes.append(f"{key.start.line + 1}: {key.text} is {new} now")
    start = "\ufeff" if text.startswith("\ufeff") else ""
    return Fixed(start + body, tuple(reversed(changes)))


def _renamed(tree: Tree, registry: Registry) -> Iterator[tuple[Scalar, str]]:
    """The keys with old names, and the new ones; in nested loops too."""
    for _, element in _pairs(_get(tree, "nodes")):
        kind = _get(element, "type")
        if not isinstance(kind, Scalar):
            continue
        if kind.text == "Loop":
            yield from _renamed(element, registry)
        elif kind.text in registry.nodes:
            renamed = registry.nodes[kind.text].renamed
            given = {key.text for key, _ in _pairs(element)}
            for key, _ in _pairs(element):
                if key.text in renamed and renamed[key.text] not in given:
                    yield key, renamed[key.text]


def _pairs(tree: Tree | None) -> Iterator[tuple[Scalar, Tree]]:
    if isinstance(tree, Mapping):
        yield from ((key, value) for key, value in tree.pairs if isinstance(key, Scalar))


def _get(tree: Tree | None, name: str) -> Tree | None:
    return next((value for key, value in _pairs(tree) if key.text == name), None)

"""Where the parts of a graph stand: in files, found again when asked, or in Python calls."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf

from graphdiff.graph.source import Mapping, Scalar, Sequence, Source, Tree, compose
from graphdiff.graph.spec import GraphPath, Place


class FilePlaces:
    """The places of one file and of the parts that it includes.

    The file's text is parsed a second time when the first place is asked for: a workflow without
    mistakes pays neither time nor memory for knowing where its values stand.

    Attributes:
        parts: The places of included parts, by what stands in the file as their type.
    """

    __slots__ = ("_index", "_root", "parts", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.parts: dict[str, FilePlaces] = {}
        self._root: Tree | None = None
        self._index: dict[int, dict[str, tuple[Tree, Tree]]] = {}

    def value(self, path: GraphPath) -> Place | None:
        """Where the value at this path begins, or what is above it."""
        return self._find(path, 1)

    def key(self, path: GraphPath) -> Place | None:
        """Where the key or list item at this path begins, or what is above it."""
        return self._find(path, 0)

    def with_part(self, written: str, places: FilePlaces) -> None:
        """Say where the named part is written that stands in this file as a type."""
        self.parts.setdefault(written, places)

    def _find(self, path: GraphPath, which: int) -> Place | None:
        if self._root is None:
            self._root = compose(self.source)[0]
        tree, found = self._root, None
        for depth, step in enumerate(path):
            pair = self._step(tree, step)
            if pair is None:
                break
            if step == "type" and depth + 1 < len(path) and isinstance(pair[1], Scalar):
                part = self.parts.get(pair[1].text)
                if part is not None:
                    return part._find(path[depth + 1 :], which)
            found, tree = pair, pair[1]
        else:
            if found is not None:
                return self.source.place(found[which].start)
        if found is not None:
            return self.source.place(found[0].start)
        return self.source.at(0, 0)

    def _step(self, tree: Tree | None, step: str | int) -> tuple[Tree, Tree] | None:
        if isinstance(tree, Mapping) and isinstance(step, str):
            index = self._index.get(id(tree))
            if index is None:
                index = self._index[id(tree)] = {}
                for key, value in tree.pairs:
                    if isinstance(key, Scalar):
                        index.setdefault(key.text, (key, value))
            return index.get(step)
        if isinstance(tree, Sequence) and isinstance(step, int) and step < len(tree.items):
            return tree.items[step], tree.items[step]
        return None


class CallPlaces:
    """The places of a graph built in Python: the lines of the calls."""

    __slots__ = ("_places", "parts")

    def __init__(
        self,
        places: MappingOf[GraphPath, Place],
        parts: MappingOf[GraphPath, FilePlaces],
    ) -> None:
        self._places = places
        self.parts = parts

    def value(self, path: GraphPath) -> Place | None:
        """The line of the call that made what is at this path, or what is above it."""
        for length in range(len(path), 0, -1):
            above = path[:length]
            if above in self._places:
                return self._places[above]
            part = self.parts.get(above[:-1]) if above[-1] == "type" else None
            if part is not None and length < len(path):
                return part.value(path[length:])
        return None

    def key(self, path: GraphPath) -> Place | None:
        """The same as `value`."""
        return self.value(path)

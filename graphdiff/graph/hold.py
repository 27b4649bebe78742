"""Values that go into paths to write kept as insertions, so that files keep their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from graphdiff.graph.names import text_of
from graphdiff.graph.registry import Registry
from graphdiff.graph.rewrite import Find, map_value
from graphdiff.graph.spec import MISSING, Call, Element, If, Loop, Ref, Text, Value

# Text that is a safe component of a path as it is, on any system.
_SAFE: Final = re.compile(
    r"(?!(con|prn|aux|nul|com\d|lpt\d) *(\.|$))[a-z0-9_-]+([ .][a-z0-9_-]+)*",
    re.ASCII | re.IGNORECASE,
)
_LONGEST_SAFE: Final = 100


class Holder:
    """Makes an `If` that gives the value where the value itself cannot be written into a path.

    What is inserted into a path to write becomes one safe component of it: `a/b` is one name there,
    but two if it were part of the path's own text.

    Args:
        registry: Says which arguments are paths to write.
        find: What stands for a reference.
        free: Gives a name near another that no node has; a part's name makes it another.

    Attributes:
        held: What was made, by name; it stands in the scope whose references are replaced.
    """

    def __init__(self, registry: Registry, find: Find, free: Callable[[str, str], str]) -> None:
        self.held: dict[str, Element] = {}
        self._registry = registry
        self._find = find
        self._free = free
        self._names: dict[Ref, str] = {}

    def element(self, element: Element) -> Element:
        """The element with references to held values; other references are left as they are."""
        if isinstance(element, Loop):
            nodes = {name: self.element(inner) for name, inner in element.nodes.items()}
            return replace(element, nodes=nodes)
        node = self._registry.nodes.get(element.type) if isinstance(element, Call) else None
        if node is None or not isinstance(element, Call):
            return element
        find = {Ref: self._text_alone, Text: self._inserted}
        changed = {
            name: map_value(value, find[type(value)], 0)
            for name, value in element.args.items()
            if type(value) in find and name in node.params
            if node.params[name].path_kind == "write"
        }
        return replace(element, args={**element.args, **changed}) if changed else element

    def _text_alone(self, ref: Ref, _: int) -> Value:
        value = self._find(ref, 0)
        return self._hold(ref, value) if isinstance(value, Text) else MISSING

    def _inserted(self, ref: Ref, _: int) -> Value:
        value = self._find(ref, 0)
        stays = value is MISSING or isinstance(value, Ref) or _is_safe(value)
        return MISSING if stays else self._hold(ref, value)

    def _hold(self, ref: Ref, value: Value) -> Ref:
        if ref not in self._names:
            name = self._names[ref] = self._free(f"{ref.path[-1]}_text", ref.path[0])
            self.held[name] = If(True, value, "")
        return Ref((self._names[ref],))


def _is_safe(value: Value) -> bool:
    """Whether a value that is inserted into a path is sure to stand there as it is."""
    if isinstance(value, Text):
        return False
    text = text_of(value)
    return len(text) <= _LONGEST_SAFE and _SAFE.fullmatch(text) is not None

"""What stands in a workflow file under the wrong key, since a line is missing or indented."""

from __future__ import annotations

from graphdiff.graph import source as tree
from graphdiff.graph.inputs import DECLARATION
from graphdiff.graph.names import is_reference
from graphdiff.graph.source import Scalar, Tree
from graphdiff.graph.tree_reader import Pairs, TreeReader


def without_line(pairs: Pairs, reader: TreeReader) -> Pairs:
    """The pairs of a file, of which the line `nodes:` or `outputs:` may be what is missing.

    Then what stands under it goes on the map before: that is told once, and cut off.
    """
    for key, before, begins in (("nodes", "inputs", _is_node), ("outputs", "nodes", _is_ref)):
        above = pairs[before][1] if before in pairs else None
        if key in pairs or not isinstance(above, tree.Mapping) or above.flow:
            continue
        names = [k.text if isinstance(k, Scalar) else "" for k, _ in above.pairs]
        begun = [begins(value) for _, value in above.pairs]
        if key in names and is_null(above.pairs[names.index(key)][1]):
            first = names.index(key)
            message, help = f"`{key}:` stands among the {before}", "indent it less"
        elif True in begun and all(begun[begun.index(True) :]):
            first = begun.index(True)
            message, help = f"no `{key}:` stands before {names[first]}", f"write {key}: above it"
        else:
            continue
        reader.error("missing-key", message, above.pairs[first][0], (), help)
        kept = tree.Mapping(above.pairs[:first], above.start, above.flow, above.tag)
        below = tree.Mapping([], above.start, above.flow)
        pairs = {**pairs, before: (pairs[before][0], kept), key: (pairs[before][0], below)}
        reader.unread.add((key,))
    return pairs


def _is_node(value: Tree) -> bool:
    """Whether a value can only be a node: a map with a type that no input has."""
    if not isinstance(value, tree.Mapping):
        return False
    keys = {key.text: v for key, v in value.pairs if isinstance(key, Scalar)}
    kind = keys.get("type")
    return isinstance(kind, Scalar) and (
        bool(keys.keys() - set(DECLARATION)) or kind.text in ("Loop", "If")
    )


def has_type(value: Tree) -> bool:
    """Whether a value is a map with a type, as nodes are."""
    return isinstance(value, tree.Mapping) and any(
        isinstance(key, Scalar) and key.text == "type" for key, _ in value.pairs
    )


def is_null(value: Tree) -> bool:
    """Whether nothing is written for a value, or null."""
    return isinstance(value, Scalar) and not value.style and value.text in ("", "null", "~")


def _is_ref(value: Tree) -> bool:
    return isinstance(value, Scalar) and is_reference(value.text)

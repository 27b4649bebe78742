"""The inputs that a workflow file declares, as they are written."""

from __future__ import annotations

from graphdiff.graph import source as tree
from graphdiff.graph.data import is_sequence
from graphdiff.graph.inputs import DECLARATION, inferred_type
from graphdiff.graph.source import Scalar, Tree
from graphdiff.graph.spec import MISSING, GraphPath, Input, Value
from graphdiff.graph.tree_reader import TreeReader


class InputReader(TreeReader):
    """Reads declarations; one with a mistake is read as an input of any type."""

    def input(self, name: str, value: Tree, path: GraphPath) -> Input:
        """An input's declaration, in its short or long form."""
        if not isinstance(value, tree.Mapping):
            default = self.literal(value, path)
            if default is MISSING:
                return Input("")
            return Input(self.inferred(default, value, path), default)
        before = len(self.mistakes)
        pairs = self.pairs(value, path)
        self.unknown_keys(pairs, DECLARATION, path, "an input")
        default = self.literal_under(pairs, "default", path, MISSING)
        if "type" in pairs:
            kind = self.type(pairs["type"][1], (*path, "type"))
        elif len(self.mistakes) > before:
            kind = ""
        elif default is not MISSING:
            kind = self.inferred(default, pairs["default"][1], path)
        else:
            hint = "write type: str, int, float, bool, path or [str]"
            self.error("missing-key", f"the input {name} has no type", value, path, hint)
            kind = ""
        choices: Value = self.literal_under(pairs, "choices", path, None)
        if choices is not None and not (is_sequence(choices) and choices):
            self.wrong_shape(pairs, "choices", path, "choices is a list of values")
            choices = None
        optional = self.literal_under(pairs, "optional", path, False)
        if type(optional) is not bool:
            self.wrong_shape(pairs, "optional", path, "optional is true or false")
            optional = False
        said = self.text(pairs, "help", path)
        low, high = self.number(pairs, "min", path), self.number(pairs, "max", path)
        if len(self.mistakes) > before:
            kind = ""  # what the declaration means is open
        few = None if choices is None else tuple(choices)
        return Input(kind, default, optional, said, few, low, high)

    def type(self, value: Tree, path: GraphPath) -> str:
        """A type as it is written; empty where it cannot be one."""
        if isinstance(value, tree.Sequence) and len(value.items) == 1:
            inner = self.type(value.items[0], path)
            return f"[{inner}]" if inner else ""
        if isinstance(value, Scalar) and value.text and "$" not in value.text:
            return value.text
        message = "a type is str, int, float, bool, path, a wire's type, or a list such as [str]"
        self.error("wrong-shape", message, value, path)
        return ""

    def inferred(self, default: Value, at: Tree, path: GraphPath) -> str:
        """The type that a default tells; empty where it tells none."""
        kind = inferred_type(default)
        if kind is None:
            hint = "write {type: str, default: null, optional: true}, or another type"
            self.error("missing-key", "the default does not say the type", at, path, hint)
        return kind or ""

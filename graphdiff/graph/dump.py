"""Graph to the text of a workflow file, which reads as an equal graph."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Final

from graphdiff.graph.inputs import inferred_type
from graphdiff.graph.names import escape, write_text
from graphdiff.graph.scalars import MAX_DIGITS, plain_scalar
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

_WIDTH: Final = 100
_LONGEST_KEY: Final = 1000  # a key on one line may have 1024 characters
_PLAIN: Final = re.compile(r"[A-Za-z0-9_$./][A-Za-z0-9_$./+() -]*", re.ASCII)
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dump(graph: Graph) -> str:
    """The text of a graph, one line a node where that fits.

    Raises:
        WorkflowError: a graph built in Python holds values that no file can (`not-writable`).
    """
    blocks = [_head(graph)]
    if graph.inputs:
        lines = [
            f"  {name}: {_flow(_input(declared), ('inputs', name))}"
            for name, declared in graph.inputs.items()
        ]
        blocks.append(["inputs:", *lines])
    blocks.append(["nodes:", *_nodes(graph.nodes, ("nodes",), 2)] if graph.nodes else ["nodes: {}"])
    if graph.outputs:
        blocks.append(["outputs:", *_map(graph.outputs, ("outputs",), 2)])
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def quoted(text: str) -> str:
    """Text as a scalar that reads as this very text, in quotes where it needs them."""
    if _PLAIN.fullmatch(text) and text[-1] != " " and plain_scalar(text) == text:
        return text
    return '"' + "".join(_ESCAPES.get(c) or _printable(c) for c in text) + '"'


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


@dataclass(frozen=True, slots=True)
class _Verbatim:
    """Text in which a `$` means nothing."""

    text: str


def _head(graph: Graph) -> list[str]:
    lines = [f"graphdiff: {FORMAT_VERSION}"]
    for key in ("name", "description"):
        if text := getattr(graph, key):
            lines.append(f"{key}: {quoted(text)}")
    return lines


def _input(declared: Input) -> Value:
    """An input as data: its default alone where that says all."""
    long: dict[str, Value] = {"type": _type(declared.type)}
    if declared.default is not MISSING:
        long["default"] = declared.default
    if declared.optional:
        long["optional"] = True
    if declared.help:
        long["help"] = _Verbatim(declared.help)
    for key, bound in (("min", declared.min), ("max", declared.max)):
        if bound is not None:
            long[key] = bound
    if declared.choices is not None:
        long["choices"] = list(declared.choices)
    if long.keys() == {"type", "default"} and inferred_type(declared.default) == declared.type:
        return declared.default
    return long


def _type(written: str) -> Value:
    if written.startswith("[") and written.endswith("]"):
        return [_type(written[1:-1])]
    return written


def _nodes(nodes: Mapping[str, Element], path: GraphPath, indent: int) -> Iterator[str]:
    for name, element in nodes.items():
        yield from _element(name, element, (*path, name), indent)


def _element(name: str, element: Element, path: GraphPath, indent: int) -> Iterator[str]:
    space = " " * indent
    if isinstance(element, Loop):
        yield f"{space}{name}:"
        yield from _loop(element, path, indent + 2)
        return
    if isinstance(element, If):
        pairs = {"type": "If", "test": element.test, "then": element.then}
        pairs["else"] = element.otherwise
    else:
        assert isinstance(element, (Call, Part))
        pairs = {"type": element.type, **element.args}
    line = f"{space}{name}: {_flow(pairs, path)}"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield f"{space}{name}:"
        yield from _map(pairs, path, indent + 2)


def _loop(loop: Loop, path: GraphPath, indent: int) -> Iterator[str]:
    space = " " * indent
    yield f"{space}type: Loop"
    yield f"{space}over: {_flow(loop.over, (*path, 'over'))}"
    if loop.carry:
        yield f"{space}carry: {_flow(loop.carry, (*path, 'carry'))}"
    yield f"{space}nodes:" if loop.nodes else f"{space}nodes: {{}}"
    yield from _nodes(loop.nodes, (*path, "nodes"), indent + 2)
    if loop.next:
        yield f"{space}next: {_flow(loop.next, (*path, 'next'))}"
    if loop.collect:
        yield f"{space}collect: {_flow(loop.collect, (*path, 'collect'))}"
    if loop.until is not None:
        yield f"{space}until: {_flow(loop.until, (*path, 'until'))}"


def _map(values: Mapping[str, Value], path: GraphPath, indent: int) -> Iterator[str]:
    for key, value in values.items():
        yield f"{' ' * indent}{quoted(key)}: {_flow(value, (*path, key))}"


def _flow(value: Value, path: GraphPath) -> str:
    """A value on one line."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return quoted(escape(value))
    if isinstance(value, _Verbatim):
        return quoted(value.text)
    if isinstance(value, (Ref, Text)):
        return quoted(write_text(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not isinstance(value, Enum) and abs(value) < 10**MAX_DIGITS:
        return str(int(value))
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, PurePath):
        return quoted(escape(str(value)))
    if isinstance(value, Enum):
        return _flow(value.value, path)
    if isinstance(value, Mapping):
        return _flow_map(value, path)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        items = [_flow(v, (*path, i)) for i, v in enumerate(value)]  # pyright: ignore
        return f"[{', '.join(items)}]"
    message = f"a file cannot hold a {type(value).__name__}"
    hint = "make it an input, or give it to the node by another node that loads it"
    raise WorkflowError((Diagnostic("not-writable", message, path, None, hint),))


def _flow_map(value: Mapping[object, Value], path: GraphPath) -> str:
    pairs: list[str] = []
    for key, item in value.items():
        if not isinstance(key, str):
            message = f"a file's keys are text, and {key!r} is none"
            raise WorkflowError((Diagnostic("not-writable", message, path),))
        name = quoted(key)
        written = f"? {name} " if len(name) > _LONGEST_KEY else name
        pairs.append(f"{written}: {_flow(item, (*path, key))}")
    return "{" + ", ".join(pairs) + "}"


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(float(value))

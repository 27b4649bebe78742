"""JSON Schema of workflow files: every node and argument with its documentation, for editors."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Final, TypeVar, get_args, get_origin

from graphdiff.graph.annotations import (
    NONE,
    is_list,
    is_map,
    is_union,
    resolve,
)
from graphdiff.graph.constraints import Choices, bounds, constraints
from graphdiff.graph.inputs import SCALARS, UnknownTypeError, input_annotation
from graphdiff.graph.node import Node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import FORMAT_VERSION, MISSING, Graph
from graphdiff.graph.types import type_name

Schema = dict[str, Any]

_REFERENCE: Final[Schema] = {"$ref": "#/$defs/reference"}
_VALUE: Final[Schema] = {}
_VALUES: Final[Schema] = {"type": "object"}
_PLAIN: Final[Mapping[Any, str]] = {
    str: "string",
    Path: "string",
    PurePath: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NONE: "null",
    None: "null",
}
_KEYWORDS: Final[Mapping[str, str]] = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}


def schema(registry: Registry) -> Schema:
    """The schema of workflow files that use these nodes and parts.

    Raises:
        WorkflowError: a named part has mistakes.
    """
    from graphdiff.graph.yaml import read

    wires = {cls for node in registry.nodes.values() for cls in _outputs(node)}
    definitions: Schema = {
        "reference": {
            "type": "string",
            "pattern": r"^\$[^\W\d]\w*(\.[^\W\d]\w*)*$",
            "description": "A reference: $node, $node.output, $inputs.name, $item, $carry.name",
        },
        "Loop": _LOOP,
        "If": _IF,
        "input": _input_schema(registry),
    }
    for name, node in registry.nodes.items():
        definitions[name] = _node_schema(node, wires)
    for name, file in registry.parts.items():
        definitions[name] = _part_schema(name, read(file).graph, registry, wires)
    definitions["node"] = _element_schema(definitions, [*registry.nodes, *registry.parts])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "graphdiff workflow",
        "type": "object",
        "required": ["graphdiff"],
        "additionalProperties": False,
        "properties": {
            "graphdiff": {"const": FORMAT_VERSION, "description": "Version of the file format"},
            "name": {"type": "string", "description": "The workflow's name"},
            "description": {"type": "string", "description": "What it does"},
            "inputs": _named({"$ref": "#/$defs/input"}, "What a run is given"),
            "nodes": _named({"$ref": "#/$defs/node"}, "The nodes by name"),
            "outputs": _named(_VALUE, "The values that the workflow gives"),
        },
        "$defs": definitions,
    }


def _named(each: Schema, description: str) -> Schema:
    return {"type": ["object", "null"], "description": description, "additionalProperties": each}


_BODY: Final[Schema] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}}
_LOOP: Final[Schema] = {
    "description": "Nodes run once for each item; see the documentation of workflow files.",
    "required": ["over", "nodes"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "Loop"},
        "over": {
            "description": "A list, a schedule, a number of passes, or a map of these, zipped",
            "anyOf": [_REFERENCE, {"type": ["array", "object"]}, {"type": "integer", "minimum": 0}],
        },
        "carry": {**_VALUES, "description": "What the first pass finds in $carry"},
        "nodes": {**_BODY, "description": "The body"},
        "next": {
            "description": "What the next pass finds in $carry, or a node with such outputs",
            "anyOf": [_REFERENCE, _VALUES],
        },
        "collect": {**_VALUES, "description": "Lists that the loop gives: one value a pass"},
        "until": {**_REFERENCE, "description": "A value of the body that ends the loop when true"},
    },
}
_IF: Final[Schema] = {
    "description": "One of two values, by a test; what only the other needs never runs.",
    "required": ["test", "then", "else"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "If"},
        "test": {"anyOf": [_REFERENCE, {"type": "boolean"}]},
        "then": _VALUE,
        "else": _VALUE,
    },
}


def _input_schema(registry: Registry) -> Schema:
    scalar: Schema = {"type": ["string", "number", "boolean"]}
    names = [*SCALARS, *registry.types]
    kind: Schema = {"type": ["string", "array"], "examples": [*names, ["str"]]}
    return {
        "anyOf": [
            scalar,
            {"type": "array", "minItems": 1},
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "type": {**kind, "description": "str, int, float, bool, path, a wire's, [str]"},
                    "default": {"description": "The value where none is given"},
                    "optional": {"type": "boolean", "description": "Whether null is a value of it"},
                    "help": {"type": "string", "description": "One line for people"},
                    "choices": {"type": "array", "minItems": 1, "description": "Values allowed"},
                    "min": {"type": "number", "description": "The lowest number allowed"},
                    "max": {"type": "number", "description": "The highest number allowed"},
                },
                "anyOf": [{"required": ["type"]}, {"required": ["default"]}],
            },
        ]
    }


def _element_schema(definitions: Schema, names: list[str]) -> Schema:
    kinds = ["Loop", "If", *names]
    known = [{"const": k, "description": definitions[k].get("description", "")} for k in kinds]
    path = {"type": "string", "pattern": r"^[./~]|\.ya?ml$", "description": "A workflow to include"}
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"anyOf": [*known, path]}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{kind}"},
            }
            for kind in kinds
        ],
    }


def _node_schema(node: Node[..., Any], wires: set[type]) -> Schema:
    properties: Schema = {"type": {"const": node.name}}
    for param in node.params.values():
        properties[param.name] = _argument(param.type, param.help, wires)
        if not param.required and isinstance(param.default, (str, int, float, bool, type(None))):
            properties[param.name]["default"] = param.default
    gives = ", ".join(
        f"{port.name}: {type_name(port.type)}" if port.name else type_name(port.type)
        for port in node.ports.values()
    )
    return {
        "description": f"{node.summary} Gives {gives}.",
        "required": [p.name for p in node.params.values() if p.required],
        "additionalProperties": False,
        "properties": properties,
    }


def _part_schema(name: str, graph: Graph, registry: Registry, wires: set[type]) -> Schema:
    properties: Schema = {"type": {"const": name}}
    for given, declared in graph.inputs.items():
        try:
            annotation = input_annotation(declared, registry.types)
        except UnknownTypeError:
            annotation = Any
        properties[given] = _argument(annotation, declared.help, wires)
        if isinstance(declared.default, (str, int, float, bool, type(None))):
            properties[given]["default"] = declared.default
    return {
        "description": f"{graph.description} A part. Gives {', '.join(graph.outputs)}.",
        "required": [n for n, declared in graph.inputs.items() if declared.default is MISSING],
        "additionalProperties": False,
        "properties": properties,
    }


def _argument(annotation: Any, help: str, wires: set[type]) -> Schema:  # noqa: ANN401
    """What an argument may be: a reference, or a value of its type."""
    told = type_name(annotation)
    found = _value(annotation, wires)
    argument: Schema = {"description": f"{told}: {help}" if help else told}
    if found is not None and not found:
        return argument
    argument["anyOf"] = [_REFERENCE, *([] if found is None else [found])]
    return argument


def _value(annotation: Any, wires: set[type]) -> Schema | None:  # noqa: ANN401
    """The schema of literals of a type; None where only a node gives one, `{}` for anything."""
    plain = resolve(annotation)
    marks = constraints(annotation)
    for mark in marks:
        if isinstance(mark, Choices):
            return {"enum": list(mark.values)}
    if is_union(plain):
        members = [found for m in get_args(plain) if (found := _value(m, wires)) is not None]
        return {} if {} in members else {"anyOf": members} if members else None
    if get_origin(plain) is typing.Literal:
        return {"enum": list(get_args(plain))}
    if isinstance(plain, type) and issubclass(plain, Enum):
        return {"enum": [m.value if _is_scalar(m.value) else m.name for m in plain]}
    if plain in _PLAIN:
        limits = {_KEYWORDS[k]: v for k, v in bounds(marks).items() if k in _KEYWORDS}
        return {"type": _PLAIN[plain], **limits}
    args = get_args(plain)
    if is_list(plain) or (get_origin(plain) or plain) is tuple:
        same = is_list(plain) or (len(args) == 2 and args[1] is ...)
        return (
            {"type": "array", "items": _item(args[0], wires)}
            if args and same
            else {"type": "array"}
        )
    if is_map(plain):
        return {"type": "object", "additionalProperties": _item(args[1], wires) if args else {}}
    if plain in wires:
        return None
    if isinstance(plain, TypeVar) or plain in (Any, object):
        return {}
    return {}


def _item(annotation: Any, wires: set[type]) -> Schema:  # noqa: ANN401 - annotations
    found = _value(annotation, wires)
    if found is None:
        return _REFERENCE
    return {"anyOf": [_REFERENCE, found]} if found else {}


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float))


def _outputs(node: Node[..., Any]) -> Iterable[type]:
    """The classes that a node gives, which no literal can be."""
    for port in node.ports.values():
        plain = resolve(port.type)
        for member in get_args(plain) if is_union(plain) else (plain,):
            if isinstance(member, type) and member not in _PLAIN:
                yield member

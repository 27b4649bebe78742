"""The JSON Schema for editors: right files pass, broken ones do not, and all is documented."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from graphdiff.graph.check import load
from graphdiff.graph.registry import Registry, load_registry
from graphdiff.graph.schema import schema
from tests.graph.test_build import FILE, PART
from tests.graph.toys import REGISTRY

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.yaml"))


@cache
def shipped() -> Draft202012Validator:
    return validator(load_registry())


def validator(registry: Registry = REGISTRY) -> Draft202012Validator:
    found = schema(registry)
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def is_valid(text: str) -> bool:
    return validator().is_valid(yaml.safe_load(text))


def test_a_file_with_everything_is_valid() -> None:
    assert is_valid(FILE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("steps: {type: int", "steps: {typ: int"),
        ("name: everything", "nmae: everything"),
        ("graphdiff: 1", "graphdiff: 2"),
        ("type: MakePlan", "type: MakePlam"),
        ("steps: $inputs.steps", "stpes: $inputs.steps"),
        ("steps: $inputs.steps", "steps: many"),
        ("a: $carry.sum", "a: [1]"),
        ("picture: $mixed", "picture: 3"),
        ("until: $far.done", "until: 3"),
        ("else: 5", "esle: 5"),
        ("over: $plan", "ovr: $plan"),
        ("carry: {sum: $step.total}", "carry: 3"),
    ],
)
def test_a_broken_file_is_refused(right: str, wrong: str) -> None:
    assert right in FILE
    assert not is_valid(FILE.replace(right, wrong, 1))


@pytest.mark.parametrize(
    ("argument", "valid"),
    [
        ("size: 0", False),
        ("size: 1", True),
        ("size: 1, color: blue", False),
        ("size: 1, color: red", True),
        ("size: 1, color: $inputs.color", True),
        ("color: red", False),
    ],
)
def test_bounds_choices_and_required_arguments_are_in_it(argument: str, valid: bool) -> None:
    assert is_valid(f"graphdiff: 1\nnodes: {{a: {{type: Paint, {argument}}}}}") is valid


def test_every_node_and_argument_has_its_documentation() -> None:
    definition: Any = schema(REGISTRY)["$defs"]["Paint"]
    assert definition["description"] == "Paint a picture. Gives Picture."
    assert definition["properties"]["size"]["description"] == "int: How large, in pixels."
    assert definition["properties"]["color"]["default"] == "red"


def test_named_parts_are_in_it(tmp_path: Path) -> None:
    (tmp_path / "mixed.yaml").write_text(PART)
    registry = Registry.of(*REGISTRY.nodes.values(), parts={"Mixed": tmp_path / "mixed.yaml"})
    found = validator(registry)
    right = {"type": "Mixed", "base": "$x", "size": 3}
    assert found.is_valid({"graphdiff": 1, "nodes": {"a": right}})
    assert not found.is_valid({"graphdiff": 1, "nodes": {"a": {**right, "base": 3}}})
    assert not found.is_valid({"graphdiff": 1, "nodes": {"a": {"type": "Mixed"}}})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_shipped_workflow_is_valid_and_has_no_mistakes(path: Path) -> None:
    load(path, load_registry())
    errors = shipped().iter_errors(yaml.safe_load(path.read_text()))
    assert [error.message for error in errors] == []

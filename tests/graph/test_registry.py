"""The registry: installed nodes, added files, and clashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry, RegistryError, load_registry, part_name
from tests.graph.toys import NODES, REGISTRY, Add, Picture, Sound


def test_nodes_are_found_by_name_and_wire_types_too() -> None:
    assert REGISTRY.nodes["Add"] is Add
    assert REGISTRY.types["Sound"] is Sound
    assert "int" not in REGISTRY.types


def other_add() -> Registry:
    @node(name="Add")
    def Plus(a: int) -> int:
        """Another one."""
        return a

    return Registry.of(Plus)


def test_two_nodes_of_one_name_are_an_error_that_names_both() -> None:
    with pytest.raises(
        RegistryError, match=r"two nodes are called Add: that of .*toys and that of"
    ):
        Registry.of(*NODES, *other_add().nodes.values())
    with pytest.raises(RegistryError, match="two nodes"):
        REGISTRY.with_nodes(other_add().nodes)


def test_a_node_and_a_part_of_one_name_are_an_error() -> None:
    with pytest.raises(RegistryError, match=r"is a node of .* and the part"):
        Registry.of(Add, parts={"Add": Path("add.yaml")})


def test_words_of_the_format_are_no_names_of_nodes() -> None:
    @node(name="Loop")
    def Round(a: int) -> int:
        """A loop."""
        return a

    with pytest.raises(RegistryError, match="Loop is a word"):
        Registry.of(Round)


def test_two_wire_types_of_one_name_are_an_error() -> None:
    mine = Picture
    other = type("Picture", (), {"__module__": "elsewhere"})

    @node
    def Give() -> int:
        """It."""
        return 1

    Give.fn.__annotations__["return"] = other
    assert Registry.of(Give).types["Picture"] is other
    with pytest.raises(RegistryError, match="two wire types are called Picture"):
        _ = Registry.of(Give, REGISTRY.nodes["Paint"]).types
    assert REGISTRY.types["Picture"] is mine


FILE = (
    "from graphdiff.graph.node import node\n\n\n"
    "@node\ndef Triple(a: int) -> int:\n    '''Three times.'''\n    return 3 * a\n"
)


def test_nodes_are_loaded_from_a_file_and_from_a_folder_with_parts(tmp_path: Path) -> None:
    (tmp_path / "triple_nodes_of_a_test.py").write_text(FILE)
    (tmp_path / "two_steps.yaml").write_text("graphdiff: 1\nnodes: {}\n")
    registry = load_registry([tmp_path])
    assert registry.nodes["Triple"].params["a"].type is int
    assert registry.parts["TwoSteps"] == tmp_path / "two_steps.yaml"
    assert "Triple" in load_registry([tmp_path / "triple_nodes_of_a_test.py"]).nodes
    assert "Triple" not in load_registry().nodes


def test_a_file_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken_nodes_of_a_test.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(RegistryError, match=r"broken_nodes_of_a_test\.py:1: ModuleNotFoundError"):
        load_registry([tmp_path])
    with pytest.raises(RegistryError, match="no such file"):
        load_registry([tmp_path / "nowhere.py"])
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(RegistryError, match="Python files"):
        load_registry([tmp_path / "x.txt"])


def test_a_part_is_called_as_its_file_in_pascal_case() -> None:
    assert part_name(Path("a/two_passes-fast.yaml")) == "TwoPassesFast"

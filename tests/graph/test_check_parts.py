"""The checker on workflows of several files: mistakes in parts, and in how they are used."""

# ruff: noqa: E501 - files on one line each

from __future__ import annotations

from pathlib import Path

from graphdiff.graph.check import check, load
from graphdiff.graph.registry import Registry
from graphdiff.graph.yaml import draft
from tests.graph.toys import REGISTRY


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text("graphdiff: 1\n" + text)


PART = "inputs: {size: {type: int, default: 2}, base: {type: Picture}}\n" + (
    "nodes: {p: {type: Paint, size: $inputs.size}, m: {type: Mix, pictures: [$p, $inputs.base]}}\n"
    "outputs: {picture: $m, size: $inputs.size}\n"
)


def test_a_part_is_checked_like_a_node(tmp_path: Path) -> None:
    write(
        tmp_path,
        part=PART,
        main="nodes:\n  a: {type: TakePhoto}\n  p: {type: ./part.yaml, base: $a}\n"
        "  q: {type: ./part.yaml, base: $p.picture, size: 3.5}\n  r: {type: ./part.yaml, siz: 3}\n"
        "  s: {type: Save, picture: $p}\n  t: {type: Save, picture: $p.size}\n",
    )
    found = check(draft(tmp_path / "main.yaml"), REGISTRY)
    assert [d.code for d in found] == [
        "lossy-literal", "missing-argument", "unknown-argument", "ambiguous-output", "type-mismatch",
    ]  # fmt: skip
    assert found[3].help == "$p.picture would fit"


def test_a_mistake_in_a_part_is_told_once_and_in_its_own_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        part=PART.replace("size: $inputs.size}", "sise: $inputs.size}"),
        main="nodes:\n  a: {type: TakePhoto}\n  p: {type: ./part.yaml, base: $a}\n"
        "  q: {type: ./part.yaml, base: $p.picture}\n  z: {type: Nope}\n",
    )
    found = check(draft(tmp_path / "main.yaml"), REGISTRY)
    assert [(d.code, d.place and Path(d.place.file).name) for d in found] == [
        ("unknown-node-type", "main.yaml"),
        ("unknown-argument", "part.yaml"),
    ]


def test_a_named_part_is_a_node_type(tmp_path: Path) -> None:
    write(tmp_path, mixed=PART, main="nodes: {a: {type: TakePhoto}, m: {type: Mixed, base: $a}}")
    registry = Registry.of(*REGISTRY.nodes.values(), parts={"Mixed": tmp_path / "mixed.yaml"})
    workflow = load(tmp_path / "main.yaml", registry)
    assert type(workflow.graph.nodes["m"]).__name__ == "Part"
    place = workflow.places.value(("nodes", "m", "type", "nodes", "p", "size"))
    assert place is not None
    assert (Path(place.file).name, place.line) == ("mixed.yaml", 3)


def test_named_parts_that_include_each_other_are_told_with_the_chain(tmp_path: Path) -> None:
    write(tmp_path, a="nodes: {b: {type: B}}", b="nodes: {a: {type: A}}")
    parts = {"A": tmp_path / "a.yaml", "B": tmp_path / "b.yaml"}
    (mistake,) = check(draft(tmp_path / "a.yaml"), Registry.of(parts=parts))
    assert mistake.code == "recursive-part"
    assert "A -> B -> A" in mistake.message or "B -> A -> B" in mistake.message

"""Expanding: parts written out in place, with nothing changed in what they mean."""

# ruff: noqa: E501 - files on one line each

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphdiff.engine.outputs import safe_component
from graphdiff.engine.session import plan, run
from graphdiff.graph.check import check
from graphdiff.graph.expand import expand
from graphdiff.graph.hold import _is_safe  # pyright: ignore[reportPrivateUsage]
from graphdiff.graph.node import OutputFile, Outputs, node
from graphdiff.graph.parts import resolve
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call, Graph, If, Part, Ref, WorkflowError
from graphdiff.graph.yaml import draft_text, dump, parse
from tests.graph.toys import REGISTRY, Picture

WALK = """\
graphdiff: 1
inputs:
  plan: {type: Plan}
  start: {type: int, default: 0}
  factor: {type: float, default: 2}
  file: {type: path, default: ./x.txt}
nodes:
  walk:
    type: Loop
    over: $inputs.plan
    carry: {total: $inputs.start, history: null}
    nodes:
      step: {type: Walk, tick: $item, total: $carry.total, history: $carry.history}
      scaled: {type: Scale, value: $inputs.start, factor: $inputs.factor}
    next: $step
    collect: {scales: $scaled}
outputs: {total: $walk.total, history: $walk.history, start: $inputs.start}
"""
TWO = """\
graphdiff: 1
inputs: {n: {type: int}}
nodes:
  a: {type: Add, a: $inputs.n}
  r: {type: Read, path: ./data.txt}
  b: {type: Anything, value: "${inputs.n}-$$"}
  c: {type: Add, a: $a, b: $inputs.n}
outputs: {sum: $c}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "walk.yaml").write_text(WALK)
    (tmp_path / "two.yaml").write_text(TWO)
    parts = {"WalkPlan": tmp_path / "walk.yaml", "Two": tmp_path / "two.yaml"}
    return Registry.of(*REGISTRY.nodes.values(), parts=parts)


def expanded(text: str, registry: Registry, node: str | None = None) -> Graph:
    workflow = draft_text("graphdiff: 1\n" + text)
    assert check(workflow, registry) == ()
    graph = expand(workflow.graph, registry, node)
    assert check(graph, registry) == ()
    assert resolve(parse(dump(graph)).graph, registry) == graph
    return graph


def expected(text: str) -> Graph:
    return parse("graphdiff: 1\n" + text).graph


def test_a_part_of_one_node_takes_the_name_of_the_part(registry: Registry) -> None:
    graph = expanded(
        "nodes:\n  plan: {type: MakePlan, steps: 3}\n  w: {type: WalkPlan, plan: $plan, start: 5}\n"
        "  sum: {type: Add, a: $w.total, b: $w.start}\n",
        registry,
    )
    assert graph == expected(
        "nodes:\n  plan: {type: MakePlan, steps: 3}\n"
        "  w:\n    type: Loop\n    over: $plan\n    carry: {total: 5, history: null}\n    nodes:\n"
        "      step: {type: Walk, tick: $item, total: $carry.total, history: $carry.history}\n"
        "      scaled: {type: Scale, value: 5, factor: 2.0}\n"
        "    next: $step\n    collect: {scales: $scaled}\n"
        "  sum: {type: Add, a: $w.total, b: 5}\n"
    )


def test_names_that_are_taken_are_changed(registry: Registry, tmp_path: Path) -> None:
    graph = expanded(
        "inputs: {k: 3}\nnodes:\n  a: {type: One}\n  t: {type: Two, n: $a}\n  u: {type: Two, n: $inputs.k}\n"
        "outputs: {x: $t, y: $u.sum}\n".replace("n: $a", "n: 4"),
        registry,
    )
    data = tmp_path / "data.txt"
    assert graph == expected(
        "inputs: {k: 3}\nnodes:\n  a: {type: One}\n  t_a: {type: Add, a: 4}\n"
        f"  r: {{type: Read, path: {data}}}\n"
        '  b: {type: Anything, value: "4-$$"}\n  c: {type: Add, a: $t_a, b: 4}\n'
        f"  u_a: {{type: Add, a: $inputs.k}}\n  u_r: {{type: Read, path: {data}}}\n"
        '  u_b: {type: Anything, value: "${inputs.k}-$$"}\n'
        "  u_c: {type: Add, a: $u_a, b: $inputs.k}\n"
        "outputs: {x: $c, y: $u_c}\n"
    )


def test_what_is_given_from_an_outer_loop_stays_that_loop_s(registry: Registry) -> None:
    graph = expanded(
        "nodes:\n  plan: {type: MakePlan, steps: 3}\n"
        "  outer:\n    type: Loop\n    over: [1, 2]\n    carry: {total: 0, history: null}\n    nodes:\n"
        "      w: {type: WalkPlan, plan: $plan, start: $item}\n"
        "    next: $w\n    collect: {starts: $w.start}\n",
        registry,
    )
    assert graph == expected(
        "nodes:\n  plan: {type: MakePlan, steps: 3}\n"
        "  outer:\n    type: Loop\n    over: [1, 2]\n    carry: {total: 0, history: null}\n    nodes:\n"
        "      w:\n        type: Loop\n        over: $plan\n"
        "        carry: {total: $item, history: null}\n        nodes:\n"
        "          step: {type: Walk, tick: $item, total: $carry.total, history: $carry.history}\n"
        "          scaled: {type: Scale, value: $outer.item, factor: 2.0}\n"
        "        next: $step\n        collect: {scales: $scaled}\n"
        "    next: $w\n    collect: {starts: $item}\n"
    )


def test_only_the_part_that_is_named_is_written_out(registry: Registry) -> None:
    text = (
        "inputs: {k: 3}\nnodes:\n  t: {type: Two, n: $inputs.k}\n  u: {type: Two, n: $inputs.k}\n"
    )
    graph = expanded(text, registry, "u")
    assert type(graph.nodes["t"]).__name__ == "Part"
    assert list(graph.nodes) == ["t", "a", "r", "b", "c"]
    with pytest.raises(WorkflowError, match="there is no part called v"):
        expanded(text, registry, "v")


def test_parts_in_parts_are_written_out_too(registry: Registry, tmp_path: Path) -> None:
    outer = "graphdiff: 1\ninputs: {m: {type: int}}\nnodes: {t: {type: Two, n: $inputs.m}}\n"
    (tmp_path / "outer.yaml").write_text(outer + "outputs: {sum: $t}\n")
    more = Registry.of(
        *registry.nodes.values(), parts={**registry.parts, "Outer": tmp_path / "outer.yaml"}
    )
    graph = expanded("nodes: {o: {type: Outer, m: 2}, p: {type: Add, a: $o}}", more)
    assert {type(element).__name__ for element in graph.nodes.values()} == {"Call"}
    assert len(graph.nodes) == 5


def test_an_input_of_the_graph_is_not_taken_for_one_of_a_part(
    registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "outer.yaml").write_text(
        "graphdiff: 1\ninputs: {plan: {type: Plan}, a: {type: int}, k: {type: int}}\n"
        "nodes: {w: {type: WalkPlan, plan: $inputs.plan, start: $inputs.a}}\n"
        "outputs: {start: $w.start}\n"
    )
    more = Registry.of(
        *registry.nodes.values(), parts={**registry.parts, "Outer": tmp_path / "outer.yaml"}
    )
    graph = expanded(
        "inputs: {k: 3}\nnodes:\n  plan: {type: MakePlan, steps: 3}\n"
        "  o: {type: Outer, plan: $plan, a: $inputs.k, k: 5}\n"
        "  last: {type: Add, a: $o}\n",
        more,
    )
    assert graph.nodes["last"] == Call("Add", {"a": Ref(("inputs", "k"))})


SAVED = """\
graphdiff: 1
inputs: {title: {type: str}}
nodes:
  picture: {type: Paint, size: 2}
  inserted: {type: Write, picture: $picture, path: "${inputs.title}.txt"}
  alone: {type: Write, picture: $picture, path: $inputs.title}
  loop:
    type: Loop
    over: 2
    nodes: {each: {type: Write, picture: $picture, path: "${inputs.title}-${index}"}}
    collect: {paths: $each}
outputs: {title: $inputs.title, path: "x/${inputs.title}"}
"""


@node(effect=True)
def Write(picture: Picture, path: OutputFile, outputs: Outputs) -> Path:
    """Write a file."""
    return outputs.write(path, path.encode())


def ran(
    graph: Graph, registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[str]]:
    """The keys of the nodes' calls, and the files that a run wrote."""
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(folder / "cache"))
    inputs = {"k": "p/q"} if "k" in graph.inputs else {}
    calls = plan(graph, inputs, registry=registry, output_dir=folder).calls
    results = run(graph, inputs, registry=registry, output_dir=folder / "files")
    assert results.files
    files = sorted(path.relative_to(folder / "files").as_posix() for path in results.files)
    return sorted(call.key for call in calls), files


@pytest.mark.parametrize(
    "title",
    [
        "a red apple",
        "a/b",
        "a.",
        "x" * 200,
        "$inputs.k",
        "u/${inputs.k}",
        "t-${inputs.k}",
        "$other.title",
        "$other.path",
    ],
)
def test_files_and_keys_are_those_of_the_original(
    title: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "saved.yaml").write_text(SAVED)
    more = Registry.of(Write, *registry.nodes.values(), parts={"Saved": tmp_path / "saved.yaml"})
    graph = parse(
        "graphdiff: 1\ninputs: {k: z}\nnodes:\n"
        f"  s: {{type: Saved, title: {json.dumps(title)}}}\n"
        "  other: {type: Saved, title: v/w}\n"
        '  after: {type: Write, picture: {pixels: [1]}, path: "${s.title}-${s.path}.txt"}\n'
    ).graph
    written = expand(graph, more)
    assert check(written, more) == ()
    again = parse(dump(written)).graph
    assert not any(isinstance(element, Part) for element in again.nodes.values())
    original = ran(resolve(graph, more), more, tmp_path / "original", monkeypatch)
    assert ran(again, more, tmp_path / "expanded", monkeypatch) == original


def test_text_that_is_safe_in_a_path_is_written_into_it(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "saved.yaml").write_text(SAVED)
    more = Registry.of(Write, *registry.nodes.values(), parts={"Saved": tmp_path / "saved.yaml"})
    graph = expanded("nodes: {s: {type: Saved, title: a red apple}}", more)
    assert graph.nodes["inserted"] == Call(
        "Write", {"picture": Ref(("picture",)), "path": "a red apple.txt"}
    )
    graph = expanded("nodes: {s: {type: Saved, title: a/b}}", more)
    assert graph.nodes["title_text"] == If(True, "a/b", "")


@given(st.text(max_size=120))
@example("con")
@example("COM1.txt")
@example("nul .a")
@example("a  b")
def test_what_counts_as_safe_stays_as_it_is(text: str) -> None:
    assert not _is_safe(text) or safe_component(text) == text


def test_what_one_part_hands_on_from_another_is_said_directly(registry: Registry) -> None:
    graph = expanded(
        "nodes:\n  plan: {type: MakePlan, steps: 3}\n"
        "  last: {type: Add, a: $w.start}\n"
        "  w: {type: WalkPlan, plan: $plan, start: $v.start}\n"
        "  v: {type: WalkPlan, plan: $plan, start: $t}\n"
        "  t: {type: Two, n: 4}\n",
        registry,
    )
    assert graph.nodes["last"] == Call("Add", {"a": Ref(("c",))})

"""Writing workflow files: what is written reads as an equal graph."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphdiff.graph.dump import dump
from graphdiff.graph.spec import (
    MISSING,
    Call,
    Element,
    Graph,
    If,
    Input,
    Loop,
    Ref,
    Text,
    WorkflowError,
)
from graphdiff.graph.yaml import parse

names = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda name: name not in ("inputs", "item", "index", "carry", "null", "true", "false")
)
refs = st.lists(names, min_size=1, max_size=3).map(lambda path: Ref(tuple(path)))
texts = st.text(max_size=12) | st.sampled_from(
    ["$", "$$", "$a", "${a}", "a$", "a$${", "no", "1e3", "null", " x ", "a: b", "#", "~", "'", '"',
     "a\nb", "\u2028", "\x85", "\ufeff", "\x7f", "\ue000", "-", "- a", "<<", ".", "...", "---"]
)  # fmt: skip


def joined(parts: list[Any]) -> Any:
    merged: list[Any] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    return Text(tuple(merged)) if any(isinstance(part, Ref) for part in merged) else "x"


inserted = st.lists(texts | refs, min_size=1, max_size=4).map(joined)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | texts
    | refs
    | inserted
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
literals = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
args = st.dictionaries(names.filter(lambda name: name != "type"), values, max_size=4)
calls: st.SearchStrategy[Element] = st.builds(Call, names.map(str.title), args).filter(
    lambda call: call.type not in ("Loop", "If")
)
branches: st.SearchStrategy[Element] = st.builds(If, values, values, values)
elements: st.SearchStrategy[Element] = st.recursive(
    calls | branches,
    lambda inner: st.builds(
        Loop,
        over=values,
        nodes=st.dictionaries(names, inner, max_size=3),
        carry=st.dictionaries(names, values, max_size=2),
        next=refs | st.dictionaries(names, values, max_size=2),
        collect=st.dictionaries(names, values, max_size=2),
        until=st.none() | refs,
    ),
    max_leaves=4,
)
inputs = st.builds(
    Input,
    type=st.sampled_from(["str", "int", "[str]", "[[float]]", "Picture"]),
    default=st.just(MISSING) | literals | st.lists(literals, max_size=3),
    optional=st.booleans(),
    help=texts,
    choices=st.none() | st.lists(literals, min_size=1, max_size=3).map(tuple),
    min=st.none() | st.integers(-5, 5) | st.floats(-5, 5),
    max=st.none() | st.integers(-5, 5),
)
graphs = st.builds(
    Graph,
    name=texts,
    description=texts,
    inputs=st.dictionaries(names, inputs, max_size=3),
    nodes=st.dictionaries(names, elements, max_size=4),
    outputs=st.dictionaries(names, values, max_size=3),
)


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_what_is_written_reads_as_an_equal_graph(graph: Graph) -> None:
    assert parse(dump(graph)).graph == graph


def test_types_of_numbers_survive() -> None:
    graph = Graph(nodes={"a": Call("T", {"i": 1, "f": 1.0, "t": True, "e": 1e-7, "n": -0.0})})
    call = parse(dump(graph)).graph.nodes["a"]
    assert isinstance(call, Call)
    assert [type(v) for v in call.args.values()] == [int, float, bool, float, float]


def test_short_nodes_stand_on_one_line_and_long_ones_on_several() -> None:
    graph = Graph(nodes={"a": Call("T", {"x": 1}), "b": Call("T", {"text": "word " * 30 + "end"})})
    lines = dump(graph).splitlines()
    assert "  a: {type: T, x: 1}" in lines
    assert "  b:" in lines


def test_very_long_keys_are_written_so_that_they_can_be_read() -> None:
    graph = Graph(nodes={"a": Call("T", {"x": {"k" * 2000: 1, "b": 2}})})
    assert parse(dump(graph)).graph == graph


def test_an_object_that_no_file_can_hold_is_refused_with_its_place() -> None:
    with pytest.raises(WorkflowError, match="not-writable") as caught:
        dump(Graph(nodes={"a": Call("T", {"x": [object()]})}))
    assert caught.value.diagnostics[0].path == ("nodes", "a", "x", 0)

"""Reading workflow files: what they mean, and what is said of those that mean nothing."""

# ruff: noqa: E501 - files on one line each

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphdiff.graph.check import check
from graphdiff.graph.spec import Call, Graph, If, Input, Loop, Part, Ref, Text, WorkflowError
from graphdiff.graph.yaml import draft_text, parse, read
from tests.graph.toys import REGISTRY


def graph(text: str) -> Graph:
    return parse("graphdiff: 1\n" + text).graph


def value(text: str) -> Any:
    call = graph(f"nodes: {{a: {{type: T, x: {text}}}}}").nodes["a"]
    assert isinstance(call, Call)
    return call.args["x"]


def error(text: str) -> str:
    with pytest.raises(WorkflowError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("1e-4", 1e-4),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("017", 17),
        ("0x1f", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("~", None),
        ("true", True),
        (".inf", float("inf")),
        ("'1'", "1"),
        ("2024-01-01", "2024-01-01"),
        ("[1, [a, 2.5]]", [1, ["a", 2.5]]),
        ("{k: $a}", {"k": Ref(("a",))}),
        ("$denoise.sample", Ref(("denoise", "sample"))),
        ("$$5", "$5"),
        ("costs $5", "costs $5"),
        ('"${a}"', Text((Ref(("a",)),))),
        ('"${inputs.a}-$${b}$"', Text((Ref(("inputs", "a")), "-${b}$"))),
        ("größe", "größe"),
    ],
)
def test_values_are_what_yaml_1_2_and_references_say(text: str, meaning: object) -> None:
    found = value(text)
    assert (type(found), found) == (type(meaning), meaning)


def test_inputs_have_a_short_and_a_long_form() -> None:
    found = graph(
        "inputs:\n  a: 3\n  b: 2.5\n  c: [x]\n  d: {type: [int], help: $5, min: 1}\n"
        "  e: {type: str, default: null, optional: true, choices: [x, y]}\n  f: {default: $$x}\n"
        "nodes: {}"
    ).inputs
    assert found == {
        "a": Input("int", 3),
        "b": Input("float", 2.5),
        "c": Input("[str]", ["x"]),
        "d": Input("[int]", help="$5", min=1),
        "e": Input("str", None, optional=True, choices=("x", "y")),
        "f": Input("str", "$x"),
    }


def test_loops_and_branches_are_elements_of_their_own() -> None:
    found = graph(
        "nodes:\n"
        "  l: {type: Loop, over: {x: [1]}, carry: {c: 1}, nodes: {b: {type: T}}, next: $b,"
        " collect: {all: $b}, until: $b.done}\n"
        "  i: {type: If, test: true, then: $l, else: null}\n"
    )
    assert found.nodes == {
        "l": Loop({"x": [1]}, {"b": Call("T", {})}, {"c": 1}, Ref(("b",)), {"all": Ref(("b",))},
                  Ref(("b", "done"))),
        "i": If(True, Ref(("l",)), None),
    }  # fmt: skip


def test_the_place_of_every_key_and_value_is_known() -> None:
    text = 'graphdiff: 1\nnodes:\n  a: {type: T, x: [1, {k: "v"}]}\n'
    places = parse(text, file="f.yaml").places
    found = places.value(("nodes", "a", "x", 1, "k"))
    assert found is not None
    assert (found.file, found.line, found.column) == ("f.yaml", 3, 27)
    assert found.source == '  a: {type: T, x: [1, {k: "v"}]}'
    key = places.key(("nodes", "a", "x"))
    assert key is not None
    assert key.column == 16
    above = places.value(("nodes", "a", "y", 3))
    assert above is not None
    assert (above.line, above.column) == (3, 3)


def test_all_mistakes_are_in_one_report_in_the_order_of_the_file() -> None:
    with pytest.raises(WorkflowError) as caught:
        parse("graphdiff: 1\nfoo: 1\nnodes:\n  a: {type: T, x: $5}\n  a: {type: T}\n  b: 3\n")
    assert [(d.code, d.place and d.place.line) for d in caught.value.diagnostics] == [
        ("unknown-key", 2),
        ("dollar-misuse", 4),
        ("duplicate-key", 5),
        ("wrong-shape", 6),
    ]


def test_text_with_commas_and_no_quotes_is_shown_in_quotes() -> None:
    text = "graphdiff: 1\nnodes: {a: {type: T, text: a cat, a dog, a bird}}"
    assert 'write text: "a cat, a dog, a bird"' in error(text)


def test_text_with_braces_and_no_quotes_hides_no_other_mistake() -> None:
    text = "graphdiff: 1\nnodes:\n  a: {type: T, x: a/${b}-${c}.png, y: 1}\n  b: {type: T, x: ${c}}\nx: 1"
    codes = [d.code for d in draft_text(text).mistakes]
    assert codes == ["unquoted-braces", "unquoted-braces", "unknown-key"]


def test_a_newer_format_names_the_version_that_is_needed() -> None:
    message = error("graphdiff: 2\nwhatever: [1]\n")
    assert "newer-version" in message
    assert "format 2" in message
    assert message.count("newer-version") == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "not-a-workflow"),
        ("# only a comment", "not-a-workflow"),
        ("just text", "not-a-workflow"),
        ("[1, 2]", "not-a-workflow"),
        ("services: {web: {image: nginx}}", "not-a-workflow"),
        ("nodes: {a: {type: T}}", "missing-version"),
        ("graphdiff: one\nnodes: {}", "wrong-shape"),
        ("graphdiff: 1\n---\ngraphdiff: 1", "yaml-syntax"),
        ("graphdiff: 1\nnodes: " + "[" * 100_000, "too-deep"),
        ("graphdiff: 1\nnodes: " + "{a: " * 5000, "too-deep"),
        ("graphdiff: 1\nnodes: " + "- " * 50_000, "yaml-syntax"),
        ("graphdiff: 1\nx: " + "9" * 5000, "unknown-key"),
        ("graphdiff: 1\nnodes: {a: {type: T, x: " + "9" * 5000 + "}}", "wrong-literal"),
        ("graphdiff: 1\nnodes: \x00", "not-text"),
        ("graphdiff: 1\nnodes: \ud800", "not-text"),
    ],
)
def test_what_is_no_workflow_is_one_error_at_once(text: str, code: str) -> None:
    start = time.perf_counter()
    with pytest.raises(WorkflowError) as caught:
        parse(text)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert time.perf_counter() - start < 1


def test_aliases_repeat_values_but_no_bomb() -> None:
    assert value("[&a [1], *a]") == [[1], [1]]
    bomb = "graphdiff: 1\nnodes:\n  a: {type: T}\nx0: &x0 [1, 1]\n" + "".join(
        f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 30)
    )
    text = bomb.replace("{type: T}", "{type: T, x: 1}") + "outputs: {o: *x29}\n"
    start = time.perf_counter()
    assert "too-many-aliases" in error(text)
    assert "too-many-aliases" in error("graphdiff: 1\nnodes: {a: {type: T, x: &a [*a]}}")
    assert time.perf_counter() - start < 1


def refused(path: Path) -> list[str]:
    start = time.perf_counter()
    with pytest.raises(WorkflowError) as caught:
        read(path)
    assert time.perf_counter() - start < 1
    return [d.code for d in caught.value.diagnostics]


def test_files_that_cannot_be_workflows_are_refused_in_no_time(tmp_path: Path) -> None:
    assert refused(tmp_path) == ["unreadable-file"]
    assert refused(tmp_path / "nowhere.yaml") == ["unreadable-file"]
    assert refused(Path("a\0b")) == ["unreadable-file"]
    rubbish = tmp_path / "rubbish.yaml"
    rubbish.write_bytes(os.urandom(1 << 20))
    assert refused(rubbish) == ["not-text"]
    rubbish.write_bytes("graphdiff: 1\nname: Übung\n".encode("latin-1"))
    assert refused(rubbish) == ["not-text"]
    rubbish.write_bytes("graphdiff: 1\n".encode("utf-16"))
    assert refused(rubbish) == ["not-text"]
    with rubbish.open("wb") as file:
        file.truncate(100 << 20)
    assert refused(rubbish) == ["file-too-large"]


def test_a_missing_file_names_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "text_to_image.yaml").write_text("graphdiff: 1\nnodes: {}\n")
    with pytest.raises(WorkflowError, match=r"did you mean .*text_to_image\.yaml"):
        read(tmp_path / "text_to_imag.yaml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_bytes(b"\xef\xbb\xbfgraphdiff: 1\nnodes: {a: {type: T}}\n")
    assert read(tmp_path / "w.yaml").graph.nodes == {"a": Call("T", {})}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_workflow_or_an_error_with_diagnostics(text: str) -> None:
    workflow = draft_text("graphdiff: 1\nnodes: {a: {type: Add, a: " + text + "}}")
    check(workflow, REGISTRY)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(
    ["a", "b", ":", " ", "\n", "\n  ", "{", "}", "[", "]", ",", "$", "${", "&x ", "*x", "type", "Loop",
     "nodes", "over", "next", "carry", "If", "then", "!", "|", ">", "-", "? ", "#", "'", '"', "%", "1",
     "inputs", "default", "graphdiff: 1\n", "<<"]), max_size=40).map("".join))  # fmt: skip
def test_any_yaml_like_text_is_a_workflow_or_an_error(text: str) -> None:
    check(draft_text("graphdiff: 1\n" + text), REGISTRY)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_workflow_or_an_error(data: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("bytes") / "w.yaml"
    path.write_bytes(data)
    with pytest.raises(WorkflowError):
        read(path)


def test_parts_are_inlined_by_path_and_their_texts_kept(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    inner = "graphdiff: 1\nnodes: {a: {type: T, file: ./x.png}}\noutputs: {a: $a}\n"
    middle = "graphdiff: 1\nnodes: {i: {type: ./inner.yaml}}\n"
    main = "graphdiff: 1\nnodes:\n  m: {type: ./parts/middle.yaml}\n  i: {type: parts/inner.yaml}\n"
    (tmp_path / "parts/inner.yaml").write_text(inner)
    (tmp_path / "parts/middle.yaml").write_text(middle)
    (tmp_path / "main.yaml").write_text(main)
    workflow = read(tmp_path / "main.yaml")
    assert dict(workflow.sources) == {
        "main.yaml": main, "parts/middle.yaml": middle, "parts/inner.yaml": inner,
    }  # fmt: skip
    middle_part, inner_part = workflow.graph.nodes["m"], workflow.graph.nodes["i"]
    assert isinstance(middle_part, Part)
    assert isinstance(inner_part, Part)
    again = middle_part.graph.nodes["i"]
    assert isinstance(again, Part)
    assert again.graph is inner_part.graph
    assert inner_part.graph.folder == tmp_path / "parts"
    place = workflow.places.value(
        ("nodes", "m", "type", "nodes", "i", "type", "nodes", "a", "file")
    )
    assert place is not None
    assert (Path(place.file), place.line) == (tmp_path / "parts/inner.yaml", 2)


def test_a_file_that_includes_itself_is_told_with_the_chain(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "b")):
        text = f"graphdiff: 1\nnodes: {{x: {{type: ./{other}.yaml}}}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(WorkflowError, match="recursive-part") as caught:
        read(tmp_path / "a.yaml")
    (mistake,) = caught.value.diagnostics
    assert "b.yaml -> " in mistake.message
    assert "a.yaml" not in mistake.message
    assert mistake.place is not None
    assert mistake.place.file.endswith("c.yaml")


def test_a_part_that_does_not_exist_is_told_where_it_is_included(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("graphdiff: 1\nnodes: {x: {type: ./b.yaml}}\n")
    with pytest.raises(WorkflowError) as caught:
        read(tmp_path / "a.yaml")
    (mistake,) = caught.value.diagnostics
    assert (mistake.code, mistake.place and mistake.place.column) == ("unreadable-file", 19)

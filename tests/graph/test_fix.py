"""Fixing: old names of arguments rewritten, and not a byte else."""

from __future__ import annotations

from graphdiff.graph.fix import fix
from tests.graph.toys import REGISTRY, mistakes

TEXT = """\
graphdiff: 1   # größe 🎨
nodes:
  a: {type: Paint, "colour":  red , size: 3}   # colour: stays
  l:
    type: Loop
    over: 2
    nodes:
      b:
        type: Paint
        colour: green
        size: 1
  c: {type: Anything, value: {colour: 1}}
"""
FIXED = TEXT.replace('"colour":  red', '"color":  red').replace("colour: green", "color: green")


def test_renamed_arguments_are_rewritten_and_comments_and_layout_stay() -> None:
    fixed, changes = fix(TEXT, REGISTRY)
    assert fixed == FIXED
    assert changes == ("3: colour is color now", "10: colour is color now")
    assert fix(fixed, REGISTRY) == (FIXED, ())


def test_what_is_fixed_has_no_mistakes() -> None:
    assert [m.code for m in mistakes(TEXT.partition("\n")[2])] == ["renamed-argument"] * 2
    assert mistakes(FIXED.partition("\n")[2]) == []


def test_a_text_that_is_no_yaml_stays_as_it_is() -> None:
    for text in ("", "nodes: {a: [}", "nodes: [1]", "\ufeffgraphdiff: 1\n"):
        assert fix(text, REGISTRY).text == text


def test_an_argument_given_under_both_names_is_left_to_the_checker() -> None:
    text = "nodes: {a: {type: Paint, size: 1, color: red, colour: red}}"
    assert fix(text, REGISTRY).text == text

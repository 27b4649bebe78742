"""What the checker says of a mistake: where it stands, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphdiff.graph.check import load
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import WorkflowError
from tests.graph.toys import REGISTRY, Film, Sound, mistakes


@node
def Listen(sound: Sound) -> int:
    """Listen to a sound."""
    return len(sound.samples)


TWELVE = """\
nmae: twelve mistakes
inputs:
  size: {type: int, default: 3, min: 1}
  steps: 4
nodes:
  first: {type: Piant, size: 3}
  second: {type: Paint, size: 3, colr: red}
  third: {type: Paint, size: $inputs.sise}
  fourth: {type: Save, picture: $secnd}
  film: {type: Film, picture: $second}
  fifth: {type: Save, picture: $film.pictur}
  sixth: {type: Add, b: 2}
  seventh: {type: Save, picture: $noise}
  noise: {type: Hear}
  eighth: {type: Add, a: "7"}
  ninth: {type: Paint, size: 0}
  egg: {type: Add, a: $hen}
  hen: {type: Add, a: $egg}
  loop:
    type: Loop
    over: 3
    carry: {total: 0}
    nodes:
      step: {type: Add, a: $carry.total}
    next: {total: $step}
  eleventh: {type: Add, a: $step}
"""


def test_twelve_mistakes_of_twelve_kinds_are_twelve_messages() -> None:
    found = mistakes(TWELVE)
    assert [(m.code, m.place and m.place.line) for m in found] == [
        ("unknown-key", 2),
        ("unknown-node-type", 7),
        ("unknown-argument", 8),
        ("unknown-input", 9),
        ("unknown-node", 10),
        ("unknown-output", 12),
        ("missing-argument", 13),
        ("type-mismatch", 14),
        ("wrong-literal", 16),
        ("out-of-bounds", 17),
        ("cycle", 18),
        ("out-of-loop", 27),
    ]


def test_each_message_says_the_way_out() -> None:
    helps = [mistake.help or "" for mistake in mistakes(TWELVE)]
    for help, wanted in zip(
        helps,
        [
            "name",
            "Paint",
            "color",
            "size",
            "second",
            "picture",
            "a is int",
            "$film.picture or $third",
            "7 without",
        ],
        strict=False,
    ):
        assert wanted in help
    assert "egg -> hen -> egg" in mistakes(TWELVE)[10].message


def test_a_wire_of_the_wrong_type_is_shown_with_its_line_and_what_would_fit() -> None:
    text = (
        "nodes:\n  a: {type: Paint, size: 2}\n  b: {type: Hear}\n  c: {type: Save, picture: $b}\n"
    )
    (mistake,) = mistakes(text)
    assert str(mistake) == (
        "w.yaml:5:28: type-mismatch: c.picture: wants Picture, but $b is Sound\n"
        "    5 |   c: {type: Save, picture: $b}\n"
        "      |                            ^\n"
        "        help: $a would fit"
    )


def test_what_has_one_cause_is_told_at_the_first_place_with_the_lines_of_the_others() -> None:
    text = (
        "nodes:\n  b: {type: Add, a: $a}\n  c: {type: Add, a: $gone}\n  a: {type: Add, a: $gone}\n"
    )
    (mistake,) = mistakes(text)
    assert mistake.place is not None
    assert mistake.place.line == 4
    assert mistake.message == "c.a: there is no node gone (also in line 5)"


def test_all_that_a_node_lacks_is_one_message() -> None:
    (mistake,) = mistakes("nodes: {a: {type: Walk, history: null}}")
    assert mistake.message == "a: Walk needs tick and total"
    assert mistake.help == "tick is Tick; total is int"


def test_arguments_of_another_node_name_that_node() -> None:
    (mistake,) = mistakes("nodes: {p: {type: TakePhoto}, a: {type: Hear, picture: $p, mode: soft}}")
    assert mistake.message == "Hear has no inputs picture and mode"
    assert mistake.help == "Film has these inputs"


@pytest.mark.parametrize(
    ("given", "help"),
    [
        ("film.picture", "write $film.picture"),
        ("film", "$film.picture would fit"),
        ("inputs.shot", "write $inputs.shot"),
        ("shot", "write $inputs.shot"),
        ("film.pictur", "$film.picture would fit"),
        ("a text", "$film.picture or $photo would fit"),
        ("3", "$film.picture or $photo would fit"),
        ("{x: 1}", "$film.picture or $photo would fit"),
    ],
)
def test_a_wire_without_its_sign_is_told_with_the_wire(given: str, help: str) -> None:
    (mistake,) = mistakes(
        "inputs: {shot: {type: Picture}}\nnodes:\n  photo: {type: TakePhoto}\n"
        f"  film: {{type: Film, picture: $photo}}\n  save: {{type: Save, picture: {given}}}\n"
    )
    assert mistake.code == "wrong-literal"
    assert mistake.message.startswith("save.picture: wants Picture, got ")
    assert "Input should be" not in mistake.message
    assert mistake.help == help


def test_text_that_reads_as_a_wire_is_told_how_to_be_text() -> None:
    (mistake,) = mistakes("nodes: {r: {type: Anything, value: 1}, s: {type: Read, path: $hello}}")
    assert mistake.code == "unknown-node"
    assert (mistake.help or "").endswith("; or write $$hello for this text itself")


def test_an_item_of_a_list_is_told_at_its_own_place() -> None:
    (mistake,) = mistakes('nodes: {f: {type: Mix, pictures: [], weights: {a: 1, b: "x"}}}')
    assert mistake.place is not None
    assert (mistake.message, mistake.place.column) == ('f.weights.b: wants float, got "x"', 57)


def test_what_lies_between_two_types_is_named() -> None:
    (mistake,) = mistakes(
        "inputs: {p: {type: Picture}}\nnodes: {l: {type: Listen, sound: $inputs.p}}",
        Registry.of(Film, Listen),
    )
    assert mistake.help == "Film makes one of it"


def test_arguments_in_a_map_of_their_own_are_told_to_stand_beside_the_type() -> None:
    (mistake,) = mistakes("nodes: {a: {type: Add, inputs: {a: 1, b: 2}}}")
    assert mistake.help == "write a and b beside type:, without inputs"


def test_load_raises_every_mistake_at_once(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("graphdiff: 1\n" + TWELVE)
    with pytest.raises(WorkflowError) as caught:
        load(tmp_path / "w.yaml", REGISTRY)
    assert len(caught.value.diagnostics) == 12

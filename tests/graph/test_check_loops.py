"""The checker on loops: their variables, what they carry, and cycles."""

from __future__ import annotations

from tests.graph.toys import mistakes

LOOP = """\
nodes:
  plan: {type: MakePlan, steps: 3}
  walk:
    type: Loop
    over: $plan
    carry: {total: 0, history: null}
    nodes:
      step: {type: Walk, tick: $item, total: $carry.total, history: $carry.history}
      inner:
        type: Loop
        over: {x: [1, 2], y: 2}
        carry: {sum: $step.total}
        nodes:
          add: {type: Add, a: $carry.sum, b: $item.x}
          own: {type: Walk, tick: $walk.item, total: $walk.carry.total}
          far: {type: Far, total: $add}
        next: {sum: $add}
        until: $far.done
    next: $step
  last: {type: Add, a: $walk.total}
"""


def test_loops_nest_and_their_variables_are_those_of_the_innermost_or_of_a_named_one() -> None:
    assert mistakes(LOOP) == []


def test_what_is_null_in_the_first_pass_is_refused_where_null_is_no_value() -> None:
    text = LOOP.replace("history: $carry.history", "history: null").replace(
        "add: {type: Add, a: $carry.sum", "seen: {type: Film, picture: $walk.carry.history}\n"
        "          add: {type: Add, a: $carry.sum"
    )  # fmt: skip
    (mistake,) = mistakes(text)
    assert mistake.code == "type-mismatch"
    assert "may be null, as it is in the first pass" in mistake.message


def test_an_output_of_a_loop_has_the_type_of_what_is_carried() -> None:
    (mistake,) = mistakes(LOOP + "  film: {type: Film, picture: $walk.history}\n")
    assert "may be null" in mistake.message


def test_a_cycle_is_told_at_the_wire_that_does_not_fit() -> None:
    (mistake,) = mistakes(
        "nodes:\n  p: {type: TakePhoto}\n  a: {type: Film, picture: $b}\n  b: {type: Add, a: $a}\n"
    )
    assert mistake.place is not None
    assert (mistake.code, mistake.place.line, mistake.place.column) == ("cycle", 4, 28)
    assert mistake.help == "$p would fit"


def test_a_loop_that_reads_its_own_result_is_shown_where_it_does() -> None:
    (mistake,) = mistakes(
        "nodes:\n  l:\n    type: Loop\n    over: 2\n    carry: {x: 1}\n    nodes:\n"
        "      b: {type: Add, a: 1, b: $l.x}\n    next: {x: $b}\n"
    )
    assert mistake.place is not None
    assert (mistake.code, mistake.place.line, mistake.place.column) == ("cycle", 8, 31)


def test_a_carry_that_no_reader_takes_is_told_where_it_starts() -> None:
    (mistake,) = mistakes(
        "nodes:\n  s: {type: Hear}\n  n: {type: One}\n  l:\n    type: Loop\n    over: 2\n"
        "    carry: {x: $s}\n    nodes:\n      b: {type: Add, a: $carry.x}\n    next: {x: $b}\n"
    )
    assert mistake.place is not None
    assert mistake.place.line == 8
    assert "b.a wants int, but this is Sound in the first pass" in mistake.message

"""What a run is for: targets, and what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphdiff.engine.session import Session
from graphdiff.graph.spec import Graph, Input, Loop, Part, Text, WorkflowError
from tests.engine.toys import (
    CHAIN,
    REGISTRY,
    call,
    calls,
    graph,
    planned,
    ran,
    ref,
    run,
)


def test_only_targets_and_what_they_need_run() -> None:
    what = graph({**CHAIN.nodes, "bad": call("Fail")})
    assert run(what, targets=["two"]).outputs["two"] == 2
    assert calls == ["One", "Add 1 1"]


def test_a_plan_says_skip_for_what_no_target_needs() -> None:
    found = planned(CHAIN, targets=["two"])
    assert {c.name: c.status for c in found.calls} == {"one": "run", "two": "run", "three": "skip"}


def test_an_empty_list_of_targets_is_an_error() -> None:
    with pytest.raises(WorkflowError, match="no-targets"):
        run(CHAIN, targets=[])


def test_a_target_given_alone_is_one_target_and_no_list_of_letters() -> None:
    session = Session(cache=None, registry=REGISTRY)
    assert ran(session.run(CHAIN, targets="two")) == ["one", "two"]
    assert session.plan(CHAIN, targets="two").count("run") == 2
    assert ran(run(CHAIN, targets="two")) == ["one", "two"]


def test_no_set_of_inputs_is_an_error_not_a_run_of_nothing() -> None:
    session = Session(cache=None, registry=REGISTRY)
    with pytest.raises(WorkflowError, match="no sets of inputs"):
        session.run_many(CHAIN, {})
    with pytest.raises(WorkflowError, match="no sets of inputs"):
        session.plan(CHAIN, points=[])


def test_an_unknown_target_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(WorkflowError, match="did you mean three"):
        run(CHAIN, targets=["thre"])


def inside() -> Graph:
    """A part with a loop that holds a part, and an effect, in each pass."""
    doubling = graph({"twice": call("Add", a="$inputs.x", b="$inputs.x")}, {"y": "$twice"},
                     {"x": Input("int")})  # fmt: skip
    loop = Loop(
        over=ref("inputs.n"),
        carry={"x": 1},
        nodes={
            "double": Part("double.yaml", doubling, {"x": ref("carry.x")}),
            "step": call("Add", a="$double.y", b=1),
            "save": call("Save", value="$step", path=Text((ref("index"), ".txt"))),
        },
        next={"x": ref("step")},
        collect={"steps": ref("step")},
    )
    counting = graph({"loop": loop}, {"x": "$loop.x"}, {"n": Input("int")})
    return graph({"part": Part("counting.yaml", counting, {"n": 4})}, {"x": "$part.x"})


@pytest.mark.parametrize(
    ("target", "value", "expected"),
    [
        ("part.loop[1].step", 7, 4),
        ("part.loop[0].double.twice", 2, 1),
        ("part.loop[2].double.y", 14, 5),
        ("part.loop.x", 31, 8),
        ("part.x", 31, 8),
    ],
)
def test_a_target_may_be_inside_of_parts_and_passes(
    target: str, value: int, expected: int, tmp_path: Path
) -> None:
    results = run(inside(), targets=[target], output_dir=tmp_path)
    assert results.outputs[target] == value
    assert len(ran(results)) == expected
    assert set(ran(results)) == {c.name for c in planned(inside(), targets=[target]).calls
                                 if c.status == "run"}  # fmt: skip


def test_an_effect_of_one_pass_may_be_a_target(tmp_path: Path) -> None:
    run(inside(), targets=["part.loop[1].save"], output_dir=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["1.txt"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("part.loop[4].step", r"no pass 4 of loop, which has 4 passes, from 0"),
        ("part.loop[-1].step", r"a pass is written as a number, from 0, in brackets"),
        ("part.loop[1", r"a pass is written as a number"),
        ("part.loop[1]", r"is a pass of a loop[\s\S]*name a node in it: part.loop\[1\].double"),
        ("part.loop.step", r"step runs in each pass of loop[\s\S]*say part.loop\[0\].step"),
        ("part.loop[1].stap", r"part.loop\[1\] holds double, step, save[\s\S]*mean .*\].step\?"),
        ("part[1].loop", r"part\[1\].loop: is neither a node nor an output"),
        ("part.loop[1].step.sum", r"there is no such output; step has one output"),
    ],
)
def test_a_target_that_is_not_there_is_told_with_what_is(target: str, message: str) -> None:
    with pytest.raises(WorkflowError, match=rf"unknown-target: [\s\S]*{message}"):
        run(inside(), targets=[target])
    assert calls == []


def test_one_mistake_that_several_outputs_meet_is_told_once() -> None:
    with pytest.raises(WorkflowError) as caught:
        run(inside(), targets=["part.loop[9].save"])
    assert len(caught.value.diagnostics) == 1


def test_a_pass_that_is_a_target_needs_no_later_one_of_a_loop_that_may_stop() -> None:
    loop = Loop(
        over=9,
        carry={"x": 0},
        nodes={"y": call("Add", a="$carry.x", b=1), "done": call("Above", x="$y", limit=2)},
        next={"x": ref("y")},
        until=ref("done"),
    )
    what = graph({"loop": loop}, {"x": "$loop.x"})
    assert run(what, targets=["loop[1].y"]).outputs["loop[1].y"] == 2
    assert "Add 2 1" not in calls
    with pytest.raises(WorkflowError, match="no pass 5 of loop, which has 3 passes"):
        run(what, targets=["loop[5].y"])

"""What is not needed does not run: branches, inputs that a node can do without; and parts."""

from __future__ import annotations

import pytest

from graphdiff.engine.errors import RunError
from graphdiff.engine.store import NoStore
from graphdiff.graph.spec import If, Input, Loop, Part, Ref, WorkflowError
from tests.engine.toys import (
    call,
    calls,
    graph,
    planned,
    ran,
    ref,
    run,
)


def test_the_branch_not_taken_never_runs_nor_need_its_file_exist() -> None:
    what = graph(
        {
            "bad": call("ReadText", path="missing.txt"),
            "good": call("One"),
            "either": If(Ref(("inputs", "deep")), ref("bad"), ref("good")),
        },
        {"result": "$either"},
        {"deep": Input("bool", False)},
    )
    assert run(what).outputs["result"] == 1
    assert {c.name: c.status for c in planned(what).calls} == {"good": "run", "bad": "skip"}
    with pytest.raises(WorkflowError, match=r"missing-file: bad.path: .*missing.txt"):
        run(what, {"deep": True})


def test_what_a_node_does_not_need_does_not_run() -> None:
    what = graph(
        {
            "bad": call("Fail"),
            "pick": call("Pick", first=1, second="$bad", weight="$inputs.weight"),
        },
        {"result": "$pick"},
        {"weight": Input("float", 0.0)},
    )
    assert run(what).outputs["result"] == (1, None)
    with pytest.raises(RunError, match="meant to fail"):
        run(what, {"weight": 1})


def test_a_branch_on_a_value_of_the_run_links_only_the_branch_taken() -> None:
    what = graph(
        {
            "one": call("One"),
            "test": call("Above", x="$one", limit=0),
            "yes": call("Add", a="$one", b=10),
            "no": call("Fail", x="$one"),
            "either": If(ref("test"), ref("yes"), ref("no")),
            "end": call("Add", a="$either", b="$one"),
        },
        {"r": "$end"},
    )
    results = run(what)
    assert results.outputs["r"] == 12
    assert calls == ["One", "Above 1 0", "Add 1 10", "Add 11 1"]


def test_a_part_runs_as_if_it_were_written_out() -> None:
    inner = graph(
        {"y": call("Add", a="$inputs.x", b="$inputs.by")},
        {"sum": "$y"},
        {"x": Input("int"), "by": Input("int", 5)},
    )
    what = graph(
        {
            "one": call("One"),
            "part": Part("./p.yaml", inner, {"x": ref("one")}),
            "end": call("Add", a="$part.sum", b=1),
        },
        {"r": "$end"},
    )
    results = run(what)
    assert results.outputs["r"] == 7
    assert ran(results) == ["one", "part.y", "end"]
    flat = graph({"one": call("One"), "y": call("Add", a="$one", b=5)}, {"r": "$y"})
    keys = {c.name: c.key for c in planned(what).calls}
    assert {c.name: c.key for c in planned(flat).calls}["y"] == keys["part.y"]


def test_a_test_whose_value_was_freed_is_computed_again_for_a_later_pass() -> None:
    loop = Loop(
        over=2,
        carry={"x": 0},
        nodes={
            "above": call("Above", x=0, limit=20),
            "which": If(ref("above"), 1, 2),
            "stop": call("Above", x=0, limit=25),
        },
        next={"x": ref("which")},
        collect={"all": ref("which")},
        until=ref("stop"),
    )
    results = run(graph({"loop": loop}, {"r": "$loop.all"}), store=NoStore())
    assert results.outputs["r"] == [2, 2]

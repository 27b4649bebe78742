"""Plan nodes, and what is said of wires before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from graphdiff.engine.session import Session
from graphdiff.graph.node import Settings, WireError, node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call, Loop, WorkflowError
from tests.engine.toys import (
    NODES,
    REGISTRY,
    call,
    calls,
    count_to,
    graph,
    ref,
    run,
    statuses,
)


def test_a_plan_node_is_evaluated_once_and_is_no_call_of_the_run() -> None:
    what = graph({"n": call("Count", n=3), "loop": count_to(ref("n"))}, {"x": "$loop.x"})
    results = run(what)
    assert results.outputs["x"] == 3
    assert calls.count("Count 3") == 1
    assert "n" not in statuses(results)


def test_a_plan_node_gets_the_settings_of_the_run() -> None:
    what = graph({"d": call("Device")}, {"d": "$d"})
    assert run(what, settings=Settings(device="cuda")).outputs["d"] == "cuda"


def test_wires_that_do_not_fit_are_found_before_anything_runs() -> None:
    what = graph(
        {
            "m": call("Metres", x=1.0),
            "d": call("Degrees", x=1.0),
            "sum": call("Distance", a="$m", b="$d"),
        },
        {"r": "$sum"},
    )
    with pytest.raises(WorkflowError, match=r"sum.b, wired to \$d: wants metres, got deg") as error:
        run(what)
    assert error.value.diagnostics[0].path == ("nodes", "sum", "b")
    assert calls == []


def test_wires_that_do_not_fit_are_found_each_time_that_the_graph_is_run() -> None:
    what = graph(
        {"d": call("Degrees", x=1.0), "sum": call("Distance", a="$d", b=1.0)}, {"r": "$sum"}
    )
    for _ in range(2):
        with pytest.raises(WorkflowError, match="wants metres, got deg"):
            run(what)


def test_a_plan_node_that_is_never_cached_is_asked_in_each_run() -> None:
    asked: list[int] = []

    @node(at="plan", cache="never")
    def Ask() -> int:
        """What somebody else changes."""
        asked.append(1)
        return len(asked)

    what = graph({"n": call("Ask"), "sum": call("Add", a="$n", b=0)}, {"sum": "$sum"})
    said = [run(what, registry=Registry.of(*NODES, Ask)).outputs["sum"] for _ in range(3)]
    assert said == [1, 2, 3]


def wanting() -> Registry:
    """Nodes of which one refuses to be without a length."""

    @node
    def Needs(x: int | None = None) -> int:
        """A number, which must be given."""
        return 0 if x is None else x

    @Needs.infer
    def _needs(x: object) -> None:  # pyright: ignore[reportUnusedFunction]
        if x is None:
            raise WireError("x", "a length is missing")

    return Registry.of(*NODES, Needs)


def test_a_null_is_refused_though_an_unknown_value_stood_there_in_the_pass_before() -> None:
    loop = Loop(
        over=[ref("one"), None],
        nodes={"n": call("Needs", x=ref("item"))},
        collect={"all": ref("n")},
    )
    what = graph({"one": call("One"), "loop": loop}, {"all": "$loop.all"})
    with pytest.raises(WorkflowError, match="a length is missing"):
        run(what, registry=wanting())
    known = Loop(over=[ref("one")], nodes=loop.nodes, collect=loop.collect)
    fine = graph({"one": call("One"), "loop": known}, {"all": "$loop.all"})
    assert run(fine, registry=wanting()).outputs["all"] == [1]


def test_one_mistake_in_each_of_two_loops_is_two_and_in_two_calls_of_one_is_one() -> None:
    def loop(b: float) -> Loop:
        nodes = {name: call("Distance", a=ref("item"), b=b + (name == "t")) for name in ("s", "t")}
        return Loop(over=[ref("d")], nodes=nodes, collect={"s": ref("s"), "t": ref("t")})

    nodes: dict[str, Call | Loop] = {"d": call("Degrees", x=1.0), "one": loop(1.0)}
    nodes["two"] = loop(5.0)
    what = graph(nodes, {"a": "$one.s", "b": "$two.s", "c": "$one.t", "e": "$two.t"})
    with pytest.raises(WorkflowError, match="wants metres, got deg") as error:
        run(what)
    assert [d.path[1] for d in error.value.diagnostics] == ["one", "two"]


def test_a_wire_that_does_not_fit_in_a_part_is_told_where_the_part_is_used_and_where_it_is_in_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "part.yaml").write_text(
        "graphdiff: 1\ninputs:\n  side: {type: float}\nnodes:\n"
        "  sum: {type: Distance, a: $inputs.side, b: 1.0}\noutputs:\n  x: $sum\n"
    )
    main = tmp_path / "main.yaml"
    main.write_text(
        "graphdiff: 1\nnodes:\n  angle: {type: Degrees, x: 1.0}\n"
        "  wall: {type: ./part.yaml, side: $angle}\noutputs:\n  x: $wall\n"
    )
    with pytest.raises(WorkflowError) as raised:
        Session(cache=None, registry=REGISTRY).plan(main)
    (mistake,) = raised.value.diagnostics
    assert mistake.place is not None
    assert (Path(mistake.place.file).name, mistake.place.line) == ("main.yaml", 4)
    assert re.search(r"got deg \(in the part wall, .*part\.yaml:5:\d+\)$", mistake.message)

"""Why a call would run again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from graphdiff.engine.session import Session
from graphdiff.engine.why import why
from graphdiff.graph.spec import Graph, Input, Loop
from tests.engine.toys import REGISTRY, call, graph, ref


def workflow(steps: int = 3) -> Graph:
    """A loop between two calls."""
    loop = Loop(
        over=steps,
        carry={"x": ref("start")},
        nodes={"step": call("Add", a="$carry.x", b="$item")},
        next={"x": ref("step")},
    )
    return graph(
        {
            "start": call("Add", a="$inputs.seed", b=1),
            "loop": loop,
            "end": call("Scale", x="$loop.x", by="$inputs.by"),
        },
        {"r": "$end"},
        {"seed": Input("int", 5), "by": Input("float", 2.0)},
    )


@pytest.fixture
def session(tmp_path: Path) -> Session:
    opened = Session(cache=tmp_path, registry=REGISTRY)
    opened.run(workflow())
    return opened


def reasons(session: Session, node: str, **inputs: object) -> tuple[str, ...]:
    return why(session.plan(workflow(), inputs), node, session.store).reasons


def test_a_changed_argument_is_named_with_both_values(session: Session) -> None:
    assert reasons(session, "end", by=3.0) == ("by: 2.0 -> 3.0",)


def test_what_changed_further_up_is_found_through_a_loop(session: Session) -> None:
    assert reasons(session, "end", seed=6) == ("start changed: a: 5 -> 6",)


def test_what_is_in_the_cache_is_said_to_be(session: Session) -> None:
    assert reasons(session, "end") == ("it is in the cache",)


def test_what_nothing_needs_is_said_to_be(session: Session) -> None:
    plan = session.plan(workflow(), targets=["start"])
    assert why(plan, "end", session.store).reasons == ("nothing that runs needs it",)


def test_a_node_that_never_ran_is_said_to_be_new(tmp_path: Path) -> None:
    fresh = Session(cache=tmp_path / "other", registry=REGISTRY)
    found = why(fresh.plan(workflow()), "loop.step", fresh.store)
    assert found.call.name == "loop[0].step"
    assert found.reasons == ("no earlier run of Add is in the cache",)


def test_an_unknown_node_is_an_error_that_lists_those_there_are(session: Session) -> None:
    with pytest.raises(KeyError, match=r"it has start, loop.step, end"):
        why(session.plan(workflow()), "nothing", session.store)


def test_what_is_never_cached_is_said_to_be_the_reason(tmp_path: Path) -> None:
    opened = Session(cache=tmp_path, registry=REGISTRY)
    what = graph({"dice": call("Dice"), "sum": call("Add", a="$dice")}, {"r": "$sum"})
    found = why(opened.plan(what), "sum", opened.store)
    assert found.reasons == ("it depends on dice, whose node is never cached",)


def test_another_code_is_said_to_be_the_reason(tmp_path: Path) -> None:
    from graphdiff.graph.registry import load_registry

    file = tmp_path / "loose_why.py"
    found: tuple[str, ...] = ()
    for body in ("return x", "return -x"):
        file.write_text(
            f"from graphdiff.graph.node import node\n@node\ndef Loose(x: int) -> int:\n    {body}\n"
        )
        sys.modules.pop("loose_why", None)
        opened = Session(cache=tmp_path / "cache", registry=load_registry([file]))
        what = graph({"loose": call("Loose", x=1)}, {"r": "$loose"})
        found = why(opened.plan(what), "loose", opened.store).reasons
        opened.run(what)
    assert found == ("the code of its node, or of something that it imports, changed",)

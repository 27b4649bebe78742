"""Why a call would run again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphdiff.engine.errors import RunError
from graphdiff.engine.session import Session
from graphdiff.engine.why import why
from graphdiff.graph.node import Settings, node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Graph, Input, Loop, Text
from tests.engine.toys import NODES, REGISTRY, call, graph, ref


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
    assert reasons(session, "end", by=3.0) == ("inputs.by: 2.0 -> 3.0",)


def test_what_changed_further_up_is_found_through_a_loop(session: Session) -> None:
    assert reasons(session, "end", seed=6) == ("inputs.seed: 5 -> 6",)


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
        for name in [n for n in sys.modules if n.rpartition(".")[2] == "loose_why"]:
            del sys.modules[name]  # as in a new process
        opened = Session(cache=tmp_path / "cache", registry=load_registry([file]))
        what = graph({"loose": call("Loose", x=1)}, {"r": "$loose"})
        found = why(opened.plan(what), "loose", opened.store).reasons
        opened.run(what)
    assert found == ("the code of loose, or of what it imports",)


def explained(
    tmp_path: Path, before: Graph, after: Graph, node: str, registry: Registry = REGISTRY
) -> tuple[str, ...]:
    """The reasons for a node of one workflow where only another has run, in another process."""
    Session(cache=tmp_path, registry=registry, output_dir=tmp_path).run(before)
    opened = Session(cache=tmp_path, registry=registry, output_dir=tmp_path)
    return why(opened.plan(after), node, opened.store).reasons


def counted(n: int, factor: int = 1) -> Graph:
    """A loop over what a plan node gives."""
    loop = Loop(
        over=ref("numbers"),
        carry={"x": 0},
        nodes={
            "more": call("Add", a="$item", b=factor),
            "step": call("Add", a="$carry.x", b="$more"),
        },
        next={"x": ref("step")},
    )
    return graph({"numbers": call("Count", n=n), "loop": loop}, {"r": "$loop.x"})


def test_what_a_plan_node_is_given_is_the_reason_not_what_it_gives(tmp_path: Path) -> None:
    assert explained(tmp_path, counted(3), counted(5), "loop.step") == ("numbers.n: 3 -> 5",)


def test_passes_of_a_loop_are_not_compared_with_each_other(tmp_path: Path) -> None:
    reasons = explained(tmp_path, counted(4), counted(4, factor=2), "loop[3].step")
    assert reasons == ("loop.more.b: 1 -> 2",)


def test_a_plan_node_and_a_loop_can_be_asked_for_too(tmp_path: Path) -> None:
    Session(cache=tmp_path, registry=REGISTRY).run(counted(3))
    opened = Session(cache=tmp_path, registry=REGISTRY)
    plan = opened.plan(counted(5, factor=7))
    found = why(plan, "numbers", opened.store)
    assert str(found) == "numbers (Count): evaluated with each plan\n  numbers.n: 3 -> 5"
    assert set(why(plan, "loop", opened.store).reasons) == {
        "numbers.n: 3 -> 5",
        "loop.more.b: 1 -> 7",
    }


def test_of_a_list_only_the_items_that_differ_are_named(tmp_path: Path) -> None:
    def scaled(*scales: int) -> Graph:
        loop = Loop(
            over=ref("inputs.scales"),
            carry={"x": 0},
            nodes={"step": call("Add", a="$carry.x", b="$item")},
            next={"x": ref("step")},
        )
        inputs = {"scales": Input("[int]", list(scales))}
        return graph({"loop": loop}, {"r": "$loop.x"}, inputs)

    reasons = explained(tmp_path, scaled(5, 5, 5), scaled(5, 5, 3), "loop")
    assert reasons == ("inputs.scales[2]: 5 -> 3",)


def test_long_texts_are_shown_where_they_differ(tmp_path: Path) -> None:
    def said(word: str) -> Graph:
        text = "a very long prompt, " * 10 + f"with a {word} in it" + ", and so on" * 10
        return graph({"pair": call("Pair", a=text)}, {"r": "$pair"})

    (reason,) = explained(tmp_path, said("cat"), said("dog"), "pair")
    assert "cat" in reason
    assert "dog" in reason
    assert len(reason) < 140


def test_of_text_made_of_inputs_the_input_is_named(tmp_path: Path) -> None:
    def named(seed: int) -> Graph:
        text = Text(("picture-", ref("inputs.seed")))
        return graph({"pair": call("Pair", a=text)}, {"r": "$pair"}, {"seed": Input("int", seed)})

    assert explained(tmp_path, named(1), named(2), "pair") == ("inputs.seed: 1 -> 2",)


def test_a_file_with_other_bytes_is_named(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("one")
    what = graph({"text": call("ReadText", path=str(file))}, {"r": "$text"})
    Session(cache=tmp_path / "cache", registry=REGISTRY).run(what)
    file.write_text("two")
    opened = Session(cache=tmp_path / "cache", registry=REGISTRY)
    (reason,) = why(opened.plan(what), "text", opened.store).reasons
    assert reason.startswith("text: ")
    assert "text.txt holds other bytes" in reason


@dataclass(frozen=True)
class Handle:
    """A model, as it travels on wires."""

    dtype: str


@node(at="plan")
def Open(settings: Settings) -> Handle:
    """A model."""
    return Handle("float32" if settings.dtype == "auto" else settings.dtype)


@node
def Use(model: Handle) -> str:
    """Use a model."""
    return model.dtype


def test_another_dtype_is_named_as_what_it_came_to(tmp_path: Path) -> None:
    registry = Registry.of(*NODES, Open, Use)
    what = graph({"model": call("Open"), "use": call("Use", model="$model")}, {"r": "$use"})
    Session(cache=tmp_path, registry=registry).run(what)
    opened = Session(cache=tmp_path, registry=registry, dtype="bfloat16")
    reasons = why(opened.plan(what), "use", opened.store).reasons
    assert reasons == ("model.dtype: 'float32' -> 'bfloat16'",)
    same = Session(cache=tmp_path, registry=registry, dtype="float32")
    assert why(same.plan(what), "use", same.store).call.status == "cached"


def test_a_node_that_was_put_in_between_is_the_reason(tmp_path: Path) -> None:
    before = graph({"one": call("One"), "end": call("Add", a="$one", b=3)}, {"r": "$end"})
    between = {"one": call("One"), "more": call("Add", a="$one", b=9)}
    after = graph({**between, "end": call("Add", a="$more", b=3)}, {"r": "$end"})
    assert explained(tmp_path, before, after, "end") == ("added: more (Add, a: $one, b: 9)",)


def test_the_nearest_of_several_runs_is_compared(tmp_path: Path) -> None:
    for seed, by in ((1, 2.0), (2, 3.0)):
        opened = Session(cache=tmp_path, registry=REGISTRY)
        opened.run(workflow(), {"seed": seed, "by": by})
    assert reasons(opened, "end", seed=1, by=5.0) == ("inputs.by: 2.0 -> 5.0",)


def test_a_call_that_failed_was_not_run(tmp_path: Path) -> None:
    def failing(**more: Any) -> Graph:
        return graph(
            {"fail": call("Fail", **more), "one": call("One")}, {"r": "$fail", "o": "$one"}
        )

    opened = Session(cache=tmp_path, registry=REGISTRY)
    with pytest.raises(RunError):
        opened.run(failing())
    found = why(opened.plan(failing(x=2)), "fail", opened.store)
    assert found.reasons == ("no earlier run of Fail is in the cache",)


def test_what_was_thrown_out_of_the_cache_is_said_to_be_gone(tmp_path: Path) -> None:
    opened = Session(cache=tmp_path, registry=REGISTRY)
    opened.run(workflow())
    opened.store.drop(opened.plan(workflow())["end"].key)
    assert reasons(opened, "end") == (
        "it was computed before, but what it gave is not in the cache now",
    )


def test_without_a_cache_it_says_so() -> None:
    opened = Session(cache=None, registry=REGISTRY)
    (reason,) = reasons(opened, "end")
    assert reason == "there is no cache on disk that would remember an earlier run"

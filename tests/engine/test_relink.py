"""What the runs of a session take over from each other, and what they must not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graphdiff.engine.errors import Interrupted, RunError
from graphdiff.engine.events import LoopProgress
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.relink import LinkedRuns
from graphdiff.engine.run import Cancel
from graphdiff.engine.session import Session
from graphdiff.engine.store import NoStore
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Element, If, Input, Loop, Part
from tests.engine.toys import (
    NODES,
    REGISTRY,
    call,
    calls,
    graph,
    ran,
    ref,
    run,
    runner_of,
    statuses,
    value,
)


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session with a cache in memory."""
    return Session(cache=MemoryStore(), output_dir=tmp_path / "out", registry=REGISTRY)


def summed(start: str, over: Any = 3, **nodes: Any) -> Loop:
    """A loop that adds its items to what it starts from."""
    return Loop(
        over=over,
        carry={"x": ref(start)},
        nodes={"y": call("Add", a="$carry.x", b="$item"), **nodes},
        next={"x": ref("y")},
    )


WHAT = graph(
    {
        "start": call("Add", a="$inputs.a", b=1),
        "loop": summed("start", ref("inputs.n")),
        "end": call("Add", a="$loop.x", b="$inputs.b"),
    },
    {"r": "$end"},
    {name: Input("int", default=default) for name, default in (("a", 1), ("b", 10), ("n", 4))},
)


def took_over(session: Session, what: Any, *edits: dict[str, Any], **options: Any) -> list[bool]:
    """Whether each run of a session after the first took a loop over from the one before it."""
    found: list[bool] = []
    for edit in edits:
        runner = session._runner(  # pyright: ignore[reportPrivateUsage]
            what, [_point(edit)], options.get("targets"), None, None, None
        )
        session._ran(runner)  # pyright: ignore[reportPrivateUsage]
        found.append(bool(runner.program.linker.loops.adopted))
    return found[1:]


def _point(inputs: dict[str, Any]) -> Any:
    from graphdiff.engine.program import PointInputs

    return PointInputs(inputs)


def test_a_loop_is_taken_over_where_what_it_reads_is_the_same(session: Session) -> None:
    assert took_over(session, WHAT, {}, {"b": 11}, {"b": 12}) == [True, True]
    assert took_over(session, WHAT, {"b": 13}, {"a": 2}, {"n": 5}) == [False, False]


def test_what_follows_a_loop_that_is_taken_over_is_computed_and_told_as_ever(
    session: Session,
) -> None:
    session.run(WHAT)
    again = session.run(WHAT, {"b": 20})
    assert again.outputs["r"] == 2 + (0 + 1 + 2 + 3) + 20
    assert ran(again) == ["end"]
    loop = {f"loop[{k}].y": "cached" for k in range(4)}
    assert statuses(again) == {"start": "cached", **loop, "end": "run"}


def test_a_loop_that_is_taken_over_runs_again_where_the_cache_has_lost_it() -> None:
    runs = LinkedRuns()
    for _ in range(3):
        runner = runner_of(WHAT, store=MemoryStore(), runs=runs)
        assert len(ran(runner.run())) == 6
        runs.give(runner.program)


def test_an_item_that_is_equal_and_of_another_type_is_another_item() -> None:
    nodes: dict[str, Element] = {
        "items": If(ref("inputs.whole"), [1, 2], [1.0, 2.0]),
        "loop": Loop(
            over=ref("items"), nodes={"y": call("Pair", a="$item")}, collect={"ys": ref("y")}
        ),
    }
    what = graph(nodes, {"r": "$loop.ys"}, {"whole": Input("bool")})
    runs, store = LinkedRuns(), MemoryStore()
    for whole in (True, False, True):
        runner = runner_of(what, {"whole": whole}, store=store, runs=runs)
        found = [item for _, item, _ in runner.run().outputs["r"]]
        assert repr(found) == ("[1, 2]" if whole else "[1.0, 2.0]")
        runs.give(runner.program)


def test_a_file_that_has_changed_is_read_again(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    around = graph(
        {
            "text": call("ReadText", path=str(file)),
            "loop": Loop(
                over=2,
                carry={"x": ref("text")},
                nodes={"y": call("Pair", a="$carry.x", b="!")},
                next={"x": ref("y")},
            ),
        },
        {"r": "$loop.x"},
    )
    inside = graph(
        {
            "loop": Loop(
                over=2,
                carry={"x": ""},
                nodes={
                    "text": call("ReadText", path=str(file)),
                    "y": call("Pair", a="$carry.x", b="$text"),
                },
                next={"x": ref("y")},
            )
        },
        {"r": "$loop.x"},
    )
    for text in ("one", "two"):
        file.write_text(text)
        around_it = ("pair", ("pair", text, "!"), "!")
        assert session.run(around).outputs["r"] == around_it
        assert session.run(inside).outputs["r"] == ("pair", ("pair", "", text), text)


def test_other_targets_are_linked_for_themselves(session: Session) -> None:
    def told(*targets: str) -> dict[str, str]:
        return statuses(session.run(WHAT, targets=targets))

    whole = statuses(session.run(WHAT))
    assert set(told("loop[1].y")) == {"start", "loop[0].y", "loop[1].y"}
    assert set(told("start")) == {"start"}
    assert set(told("end")) == set(whole)
    assert set(told("loop[1].y")) == {"start", "loop[0].y", "loop[1].y"}


def test_another_output_of_a_loop_brings_only_the_calls_that_it_needs(session: Session) -> None:
    loop = Loop(
        over=2,
        carry={"x": 0},
        nodes={
            "y": call("Add", a="$carry.x", b="$item"),
            "z": call("Scale", x="$carry.x", by=2.0),
        },
        next={"x": ref("y")},
        collect={"zs": ref("z")},
    )
    ys, zs = {"loop[0].y", "loop[1].y"}, {"loop[0].z", "loop[1].z"}

    def told(other: Any, outputs: dict[str, str]) -> list[set[str]]:
        nodes: dict[str, Element] = {
            "loop": loop,
            "which": If(ref("inputs.whole"), ref("loop.zs"), other),
        }
        what = graph(nodes, outputs, {"whole": Input("bool", default=True)})
        given = (True, False, True, False, False)
        return [set(statuses(session.run(what, {"whole": whole}))) for whole in given]

    collected = {"loop[0].y", *zs}
    either = told(ref("loop.x"), {"r": "$which"})
    assert either == [collected, ys, collected, ys, ys]
    both_or_one = told(0, {"r": "$which", "x": "$loop.x"})
    assert both_or_one == [ys | zs, ys, ys | zs, ys, ys]


def test_a_loop_in_a_part_is_taken_over_too(session: Session) -> None:
    part = graph(
        {"loop": summed("inputs.start")}, {"x": "$loop.x"}, {"start": Input("int", default=0)}
    )
    what = graph(
        {
            "part": Part("summed", part, {"start": ref("inputs.start")}),
            "end": call("Add", a="$part.x", b="$inputs.b"),
        },
        {"r": "$end"},
        {"start": Input("int", default=0), "b": Input("int", default=0)},
    )
    assert took_over(session, what, {}, {"b": 1}, {"start": 1}) == [True, False]
    assert session.run(what, {"start": 5, "b": 7}).outputs["r"] == 5 + (0 + 1 + 2) + 7


def test_results_are_those_of_their_own_run_whenever_they_are_read(session: Session) -> None:
    results = [session.run(WHAT, {"b": b}) for b in (1, 2, 3)]
    assert [each.outputs["r"] for each in results] == [2 + 6 + b for b in (1, 2, 3)]


def test_threads_that_share_a_session_do_not_share_what_is_linked(session: Session) -> None:
    session.run(WHAT)
    wrong: list[Any] = []

    def work(number: int) -> None:
        for k in range(20):
            a, b = number % 2, 100 * number + k
            found = session.run(WHAT, {"a": a, "b": b}).outputs["r"]
            if found != a + 1 + 6 + b:
                wrong.append((a, b, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_run_after_one_that_failed_or_was_stopped_does_all_that_is_left(
    session: Session,
) -> None:
    what = graph(
        {
            "start": call("One"),
            "loop": summed("start", 3),
            "end": call("Pick", first="$loop.x", second="$inputs.b"),
            "bad": If(ref("inputs.fails"), ref("fail"), ref("end")),
            "fail": call("Fail", x="$loop.x"),
        },
        {"r": "$bad"},
        {"b": Input("int", default=0), "fails": Input("bool", default=False)},
    )
    session.run(what)
    with pytest.raises(RunError):
        session.run(what, {"fails": True})
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        session.run(what, {"b": 1}, cancel=cancel)
    assert ran(session.run(what, {"b": 1})) == ["end"]
    assert took_over(session, what, {"b": 2}, {"b": 3}) == [True]


def test_a_sweep_and_a_run_share_nothing_that_is_linked(session: Session) -> None:
    session.run(WHAT)
    points = {f"b={b}": {"b": b} for b in range(3)}
    many = session.run_many(WHAT, points)
    assert [p.outputs["r"] for p in many.points] == [2 + 6 + b for b in range(3)]
    assert session.run(WHAT, {"b": 9}).outputs["r"] == 2 + 6 + 9


def test_a_closed_session_has_let_go_of_what_was_linked(session: Session) -> None:
    session.run(WHAT)
    runs = session._runs  # pyright: ignore[reportPrivateUsage]
    assert runs._known  # pyright: ignore[reportPrivateUsage]
    session.close()
    assert not runs._known  # pyright: ignore[reportPrivateUsage]


def mapped(over: str, **nodes: Any) -> Loop:
    """A loop that collects what it makes of each item."""
    nodes = nodes or {"z": call("Add", a="$item", b=100)}
    return Loop(over=ref(over), nodes=nodes, collect={"zs": ref("z")})


def counted(over: str) -> Loop:
    """A loop that looks at no item, only at how many there are."""
    step = call("Add", a="$carry.x", b="$index")
    return Loop(over=ref(over), carry={"x": 0}, nodes={"y": step}, next={"x": ref("y")})


def test_a_loop_over_fewer_items_is_another_one_though_it_looks_at_none(session: Session) -> None:
    nodes: dict[str, Element] = {"made": mapped("inputs.n"), "loop": counted("made.zs")}
    what = graph(nodes, {"r": "$loop.x"}, {"n": Input("int", default=4)})
    found = [session.run(what, {"n": n}).outputs["r"] for n in (4, 4, 2, 3)]
    assert found == [0 + 1 + 2 + 3, 0 + 1 + 2 + 3, 0 + 1, 0 + 1 + 2]


def test_items_in_another_order_are_other_items_though_not_all_are_looked_at(
    session: Session,
) -> None:
    nodes: dict[str, Element] = {
        "one": call("Add", a=1),
        "two": call("Add", a=2),
        "items": If(ref("inputs.swapped"), value(["$two", "$one"]), value(["$one", "$two"])),
        "all": call("Sum", xs="$items"),
        "loop": Loop(
            over={"x": ref("items"), "use": [True, False]},
            nodes={
                "either": If(ref("item.use"), ref("item.x"), 0),
                "z": call("Add", a="$either", b=5),
            },
            collect={"zs": ref("z")},
        ),
    }
    inputs = {"swapped": Input("bool", default=False)}
    what = graph(nodes, {"all": "$all", "zs": "$loop.zs"}, inputs)
    found = [session.run(what, {"swapped": s}).outputs["zs"] for s in (False, True, False)]
    assert found == [[6, 5], [7, 5], [6, 5]]


def test_a_file_that_lies_elsewhere_now_is_read_there(tmp_path: Path) -> None:
    first, moved = tmp_path / "first.txt", tmp_path / "moved.txt"
    first.write_text("text")
    nodes: dict[str, Element] = {
        "text": call("ReadText", path="$inputs.file"),
        "loop": summed("inputs.a"),
        "end": call("Pair", a="$text", b="$loop.x"),
    }
    what = graph(nodes, {"r": "$end"}, {"file": Input("path"), "a": Input("int", default=0)})
    session = Session(cache=False, output_dir=tmp_path / "out", registry=REGISTRY)
    session.run(what, {"file": first})
    first.rename(moved)
    assert session.run(what, {"file": moved}).outputs["r"] == ("pair", "text", 3)


@dataclass(frozen=True)
class Where:
    """A file, known by what it holds."""

    holds: str
    path: str = field(compare=False)


@node(at="plan")
def Find(path: str) -> Where:
    """A file that always holds the same."""
    return Where("the same", path)


@node
def PathOf(where: Where, k: int = 0) -> str:
    """Where a file lies."""
    return where.path


def test_a_handle_of_what_lies_elsewhere_now_is_handed_on_into_loops(tmp_path: Path) -> None:
    nodes: dict[str, Element] = {
        "file": call("Find", path="$inputs.path"),
        "loop": mapped("inputs.n", z=call("PathOf", where="$file", k="$index")),
    }
    inputs = {"path": Input("str"), "n": Input("int", default=2)}
    what = graph(nodes, {"r": "$loop.zs"}, inputs)
    registry = Registry.of(*NODES, Find, PathOf)
    session = Session(cache=False, output_dir=tmp_path / "out", registry=registry)
    for path in ("here", "there"):
        assert session.run(what, {"path": path}).outputs["r"] == [path, path]


def test_what_a_loop_did_not_read_is_not_linked_for_it(session: Session) -> None:
    nodes: dict[str, Element] = {
        "counted": call("Count", n="$inputs.n"),
        "shown": If(ref("inputs.show"), ref("counted"), 0),
        "loop": Loop(
            over=2,
            carry={"x": 0},
            nodes={
                "other": If(ref("inputs.deep"), ref("counted"), ref("index")),
                "y": call("Pair", a="$carry.x", b="$other"),
            },
            next={"x": ref("y")},
        ),
        "end": call("Pair", a="$shown", b="$loop.x"),
    }
    flags = {name: Input("bool", default=False) for name in ("show", "deep")}
    what = graph(nodes, {"r": "$end"}, {**flags, "n": Input("int", default=2)})
    session.run(what, {"show": True})
    assert "Count 2" in calls
    session.run(what, {"n": 5})
    assert "Count 5" not in calls


def test_progress_is_told_of_the_loops_of_the_run_alone(session: Session) -> None:
    nodes: dict[str, Element] = {
        "first": summed("inputs.a"),
        "second": summed("inputs.a", ref("inputs.n")),  # its calls are those of the first
        "end": call("Add", a="$first.x", b="$second.x"),
    }
    given = {"a": Input("int", default=0), "n": Input("int", default=3)}
    what = graph(nodes, {"r": "$end"}, given)
    kept = LinkedRuns()
    for n in (3, 2, 5):
        runner = runner_of(what, {"n": n}, store=NoStore(), runs=kept)
        told = [e for e in runner.run().events if isinstance(e, LoopProgress)]
        alone = run(what, {"n": n}, store=NoStore()).events
        assert told == [e for e in alone if isinstance(e, LoopProgress)]
        kept.give(runner.program)

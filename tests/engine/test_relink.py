"""What the runs of a session take over from each other, and what they must not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphdiff.engine.errors import Interrupted, RunError
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.relink import LinkedRuns
from graphdiff.engine.run import Cancel
from graphdiff.engine.session import Session
from graphdiff.graph.spec import Element, If, Input, Loop, Part
from tests.engine.toys import REGISTRY, call, calls, graph, ran, ref, runner_of, statuses


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
        found.append(bool(runner.program.linker.adopted))
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

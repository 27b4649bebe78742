"""What users of workflow engines rely on, on toy nodes."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphdiff.engine.errors import Interrupted, OutOfMemory, RunError
from graphdiff.engine.events import LoopProgress, NodeFinished, NodeStarted
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.program import PointInputs
from graphdiff.engine.run import Cancel
from graphdiff.engine.session import Session
from graphdiff.engine.store import NoStore
from graphdiff.graph.node import Settings, node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Graph, If, Input, Loop, Part, Ref, Text, WorkflowError
from tests.engine.toys import (
    NODES,
    cached,
    call,
    calls,
    graph,
    planned,
    ran,
    ref,
    run,
    statuses,
    value,
)


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


CHAIN = graph(
    {
        "one": call("One"),
        "two": call("Add", a="$one", b=1),
        "three": call("Add", a="$two", b=1),
    },
    {"result": "$three"},
)


def count_to(passes: Any, **more: Any) -> Loop:
    """A loop that adds each item to what it carries."""
    return Loop(
        over=passes,
        carry={"x": 0},
        nodes={"y": call("Add", a="$carry.x", b="$item")},
        next={"x": ref("y")},
        **more,
    )


def test_a_chain_gives_its_result_and_a_second_run_computes_nothing() -> None:
    store = MemoryStore()
    first = run(CHAIN, store=store)
    assert first.outputs["result"] == 3
    assert ran(first) == ["one", "two", "three"]
    second = run(CHAIN, store=store)
    assert second.outputs["result"] == 3
    assert ran(second) == []
    assert sorted(cached(second)) == ["one", "three", "two"]
    assert (second.summary.ran, second.summary.cached) == (0, 3)


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


def test_a_failure_leaves_the_rest_working_and_a_corrected_rerun_reuses_it() -> None:
    store = MemoryStore()
    nodes = {
        "one": call("One"),
        "good": call("Add", a="$one", b=5),
        "bad": call("Fail", x="$one"),
        "after": call("Add", a="$bad"),
    }
    what = graph(nodes, {"good": "$good", "after": "$after"})
    with pytest.raises(RunError) as caught:
        run(what, store=store)
    results = caught.value.results
    assert results.outputs["good"] == 6
    assert "after" not in results.outputs
    assert statuses(results) == {"one": "run", "good": "run", "bad": "failed", "after": "skipped"}
    assert (results.summary.failed, results.summary.skipped) == (1, 1)
    assert caught.value.failures[0].node == "bad"
    fixed = graph(nodes | {"bad": call("Add", a="$one", b=7)}, {"good": "$good", "after": "$after"})
    again = run(fixed, store=store)
    assert ran(again) == ["bad", "after"]


def test_equal_calls_are_one_call_whatever_their_names() -> None:
    what = graph(
        {"a": call("Add", a=1, b=2), "b": call("Add", a=1, b=2), "c": call("Sum", xs=["$a", "$b"])},
        {"result": "$c"},
    )
    results = run(what)
    assert results.outputs["result"] == 6
    assert calls == ["Add 1 2", "Sum [3, 3]"]
    assert cached(results) == ["b"]


def test_an_int_feeds_a_float_and_arrives_as_one() -> None:
    what = graph({"s": call("Scale", x="$inputs.n", by=3)}, {"r": "$s"}, {"n": Input("int", 2)})
    assert run(what).outputs["r"] == 6.0
    assert calls == ["Scale 2.0 3.0"]


def test_an_input_outside_of_what_a_node_allows_is_told_before_the_run() -> None:
    what = graph(
        {"one": call("One"), "s": call("Scale", x=1.0, by="$inputs.by")},
        {"r": "$s", "o": "$one"},
        {"by": Input("float", -1.0)},
    )
    with pytest.raises(WorkflowError, match="out-of-bounds"):
        run(what)
    assert calls == []


def test_an_unknown_and_a_missing_input_are_told_together() -> None:
    what = graph({"a": call("Add", a="$inputs.steps")}, {"r": "$a"}, {"steps": Input("int")})
    with pytest.raises(WorkflowError) as caught:
        run(what, {"stpes": 3})
    assert [d.code for d in caught.value.diagnostics] == ["unknown-input", "missing-input"]
    assert caught.value.diagnostics[0].help == "did you mean steps?"


def test_a_loop_carries_from_pass_to_pass() -> None:
    what = graph(
        {"loop": count_to([1, 2, 3], collect={"ys": ref("y")})},
        {"x": "$loop.x", "ys": "$loop.ys"},
    )
    results = run(what)
    assert dict(results.outputs) == {"x": 6, "ys": [1, 3, 6]}
    assert ran(results) == ["loop[0].y", "loop[1].y", "loop[2].y"]
    steps = [e for e in results.events if isinstance(e, LoopProgress)]
    assert [(s.loop, s.done, s.total) for s in steps] == [("loop", k, 3) for k in (1, 2, 3)]


def test_a_loop_without_passes_gives_what_it_carries_first() -> None:
    assert run(graph({"loop": count_to([])}, {"x": "$loop.x"})).outputs["x"] == 0


def test_a_loop_goes_over_several_lists_at_once() -> None:
    loop = Loop(
        over={"a": [1, 2], "b": value(["$one", 10])},
        nodes={"y": call("Add", a="$item.a", b="$item.b")},
        collect={"ys": ref("y")},
    )
    assert run(graph({"one": call("One"), "l": loop}, {"r": "$l.ys"})).outputs["r"] == [2, 12]


def test_lists_of_unequal_length_are_an_error_that_gives_the_lengths() -> None:
    loop = Loop(over={"a": Ref(("count",)), "b": [1]}, nodes={"y": call("One")})
    what = graph({"count": call("Count", n=3), "l": loop}, None)
    with pytest.raises(WorkflowError, match="a has 3, b has 1"):
        run(
            graph(
                {
                    "count": call("Count", n=3),
                    "l": Loop(loop.over, loop.nodes, {}, {}, {"y": ref("y")}),
                },
                {"r": "$l.y"},
            )
        )
    assert what.nodes


def test_a_loop_goes_over_a_list_that_only_the_run_gives() -> None:
    what = graph({"list": call("Listed", x=5), "loop": count_to(ref("list"))}, {"x": "$loop.x"})
    assert run(what).outputs["x"] == 5
    assert not planned(what).complete


def test_nested_loops_run_each_body_once_a_pass_and_see_outer_items() -> None:
    inner = Loop(
        over=2,
        carry={"x": ref("carry.x")},
        nodes={"y": call("Pair", a="$carry.x", b="$outer.item")},
        next={"x": ref("y")},
    )
    outer = Loop(
        over=["p", "q"], carry={"x": 0}, nodes={"inner": inner}, next={"x": ref("inner.x")}
    )
    results = run(graph({"outer": outer}, {"x": "$outer.x"}))
    assert ran(results) == [f"outer[{i}].inner[{j}].y" for i in (0, 1) for j in (0, 1)]
    expected: Any = 0
    for item in "ppqq":
        expected = ("pair", expected, item)
    assert results.outputs["x"] == expected


def test_a_loop_over_a_prefix_reuses_the_passes_of_a_longer_one() -> None:
    store = MemoryStore()
    run(graph({"loop": count_to([1, 2, 3, 4])}, {"x": "$loop.x"}), store=store)
    shorter = run(graph({"loop": count_to([1, 2])}, {"x": "$loop.x"}), store=store)
    assert (ran(shorter), shorter.outputs["x"]) == ([], 3)
    changed = run(graph({"loop": count_to([1, 2, 9])}, {"x": "$loop.x"}), store=store)
    assert ran(changed) == ["loop[2].y"]


def test_with_one_stored_pass_dropped_only_what_is_needed_runs_again() -> None:
    store = MemoryStore()
    what = graph({"loop": count_to([1, 2, 3, 4])}, {"x": "$loop.x"})
    run(what, store=store)
    keys = {c.name: c.key for c in planned(what, store=store).calls}
    store.drop(keys["loop[1].y"])
    assert ran(run(what, store=store)) == []
    store.drop(keys["loop[3].y"])
    assert ran(run(what, store=store)) == ["loop[3].y"]


@pytest.mark.parametrize("limit", [0, 2, 100])
def test_until_ends_a_loop_after_the_first_pass_that_makes_it_true(limit: int) -> None:
    loop = Loop(
        over=[1, 2, 3, 4],
        carry={"x": 0},
        nodes={
            "y": call("Add", a="$carry.x", b="$item"),
            "done": call("Above", x="$y", limit=limit),
        },
        next={"x": ref("y")},
        until=ref("done"),
    )
    what = graph(
        {"start": call("One"), "loop": loop, "end": call("Add", a="$loop.x", b="$start")},
        {"x": "$end"},
    )
    store = MemoryStore()
    results = run(what, store=store)
    expected, passes = 0, 0
    for item in (1, 2, 3, 4):
        expected, passes = expected + item, passes + 1
        if expected > limit:
            break
    assert results.outputs["x"] == expected + 1
    assert len(calls) == len(set(calls))  # nothing ran twice
    assert sum(c.startswith("Above") for c in calls) == passes
    assert ran(run(what, store=store)) == []
    assert planned(what, store=store).complete


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


def test_a_node_that_changes_a_list_in_place_is_caught_and_named() -> None:
    what = graph({"list": call("Listed", x=1), "bad": call("Append", xs="$list")}, {"r": "$bad"})
    with pytest.raises(RunError, match=r"bad \(Append\): it changed xs in place"):
        run(what)


def test_a_node_that_changes_a_tensor_in_place_is_caught_and_named() -> None:
    torch = pytest.importorskip("torch")

    @node
    def Ones() -> Any:
        """Ones."""
        return torch.ones(3)

    @node
    def Double(x: Any) -> Any:
        """Double, the wrong way."""
        return x.mul_(2)

    @node
    def Total(x: Any) -> float:
        """The sum."""
        return float(x.sum())

    what = graph(
        {"ones": call("Ones"), "bad": call("Double", x="$ones"), "sum": call("Total", x="$ones")},
        {"bad": "$bad", "sum": "$sum"},
    )
    with pytest.raises(RunError) as caught:
        run(what, registry=Registry.of(Ones, Double, Total))
    assert "bad (Double): it changed x in place" in str(caught.value)


def test_nodes_run_without_gradients_and_the_mode_is_restored() -> None:
    torch = pytest.importorskip("torch")
    seen: list[bool] = []

    @node
    def Mode() -> int:
        """Look whether gradients are on."""
        seen.append(torch.is_grad_enabled())
        return 1

    run(graph({"a": call("Mode")}, {"r": "$a"}), registry=Registry.of(Mode))
    assert seen == [False]
    assert torch.is_grad_enabled()


@dataclass(frozen=True)
class Big:
    """Something that can be watched by a weak reference."""

    x: int


def test_values_are_released_when_the_last_reader_is_done() -> None:
    alive: list[weakref.ref[Big]] = []
    seen: list[list[int]] = []

    @node
    def Make(x: Any) -> Big:
        """Make something big of something big."""
        gc.collect()
        seen.append([big.x for r in alive if (big := r()) is not None])
        big = Big(0 if x is None else x.x + 1)
        alive.append(weakref.ref(big))
        return big

    nodes = {"a": call("Make", x=None)}
    for before, name in zip("abcd", "bcde", strict=True):
        nodes[name] = call("Make", x=f"${before}")
    results = run(graph(nodes, {"r": "$e"}), store=NoStore(), registry=Registry.of(Make))
    assert results.outputs["r"].x == 4
    assert seen == [[], [0], [1], [2], [3]]


def test_two_saves_of_one_value_write_two_files_and_a_rerun_writes_none(tmp_path: Path) -> None:
    store = MemoryStore()
    what = graph(
        {
            "one": call("One"),
            "a": call("Save", value="$one", path="x.txt"),
            "b": call("Save", value="$one", path="y.txt"),
            "c": call("Save", value="$one", path="y.txt"),
        }
    )
    first = run(what, store=store, output_dir=tmp_path)
    assert sorted(f.name for f in first.files) == ["x.txt", "y.txt"]
    assert sum(c.startswith("Save") for c in calls) == 3
    second = run(what, store=store, output_dir=tmp_path)
    assert ran(second) == []
    assert sorted(f.name for f in second.files) == ["x.txt", "y.txt"]
    (tmp_path / "x.txt").unlink()
    third = run(what, store=store, output_dir=tmp_path)
    assert ran(third) == ["a"]
    assert (tmp_path / "x.txt").read_text() == "1"
    (tmp_path / "x.txt").write_text("something else")
    fourth = run(what, store=store, output_dir=tmp_path)
    assert ran(fourth) == ["a"]
    assert (tmp_path / "x-2.txt").read_text() == "1"


def test_text_inserted_into_a_path_is_one_safe_component(tmp_path: Path) -> None:
    what = graph(
        {"s": call("Save", value=1)},
        None,
        {"prompt": Input("str", "../a/b")},
    )
    path = Text((Ref(("inputs", "prompt")), "-", Ref(("inputs", "seed")), ".txt"))
    what = graph(
        {"s": type(call("One"))("Save", {"value": 1, "path": path})},
        None,
        {"prompt": Input("str", "../a/b"), "seed": Input("int", 3)},
    )
    [file] = run(what, output_dir=tmp_path).files
    assert file.parent == tmp_path
    assert file.name.endswith("-3.txt")


def test_batchable_siblings_run_as_one_and_equal_what_each_gives_alone() -> None:
    nodes = {f"s{k}": call("Stack", x=k) for k in range(4)}
    nodes["other"] = call("Stack", x=1, salt=5)
    outputs = {name: f"${name}" for name in nodes}
    results = run(graph(nodes, outputs))
    assert calls == ["Stack 4", "Stack 1"]
    assert dict(results.outputs) == {"s0": 0, "s1": 10, "s2": 20, "s3": 30, "other": 15}
    assert {e.batch for e in results.events if isinstance(e, NodeStarted)} == {1, 4}
    calls.clear()
    exact = run(graph(nodes, outputs), exact=True)
    assert calls == ["Stack 1"] * 5
    assert dict(exact.outputs) == dict(results.outputs)


def test_exact_runs_have_keys_of_their_own_for_what_can_be_batched() -> None:
    what = graph({"a": call("Add", a=1), "s": call("Stack", x="$a")}, {"r": "$s"})
    loose = {c.name: c.key for c in planned(what).calls}
    exact = {c.name: c.key for c in planned(what, exact=True).calls}
    assert loose["a"] == exact["a"]
    assert loose["s"] != exact["s"]


def stacked_loop(passes: Any) -> Loop:
    """A loop whose body is batchable."""
    return Loop(
        over=passes,
        carry={"x": 1},
        nodes={"s": call("Stack", x="$carry.x"), "y": call("Add", a="$s", b="$item")},
        next={"x": ref("y")},
    )


def test_loops_of_unequal_length_fall_into_step() -> None:
    what = graph(
        {"a": stacked_loop([1, 2, 3]), "b": stacked_loop([4, 5]), "c": stacked_loop([6])},
        {"a": "$a.x", "b": "$b.x", "c": "$c.x"},
    )
    assert dict(run(what).outputs) == {"a": 1123, "b": 145, "c": 16}
    # The first pass is the same call in all three.
    assert [c for c in calls if c.startswith("Stack")] == ["Stack 1", "Stack 2", "Stack 1"]


def test_points_of_a_sweep_share_what_is_equal_and_batch_the_rest() -> None:
    what = graph(
        {
            "one": call("One"),
            "s": call("Stack", x="$inputs.seed"),
            "end": call("Add", a="$s", b="$one"),
        },
        {"r": "$end"},
        {"seed": Input("int", 0)},
    )
    points = [PointInputs({"seed": k}, f"seed={k}") for k in range(5)]
    results = run(what, points=points)
    assert [p.outputs["r"] for p in results.points] == [10 * k + 1 for k in range(5)]
    assert calls.count("One") == 1
    assert "Stack 5" in calls
    assert "seed=3/s" in ran(results)


def test_a_window_bounds_how_many_points_are_under_way() -> None:
    what = graph({"s": call("Stack", x="$inputs.seed")}, {"r": "$s"}, {"seed": Input("int", 0)})
    points = [PointInputs({"seed": k}, f"seed={k}") for k in range(7)]
    results = run(what, points=points, window=3)
    assert [p.outputs["r"] for p in results.points] == [10 * k for k in range(7)]
    assert max(int(c.split()[1]) for c in calls) <= 3


def test_out_of_memory_first_empties_the_cache_on_the_device_and_only_then_halves() -> None:
    class Device(MemoryStore):
        """A store that says it has something on a device, until it is dropped."""

        held = 100

        def drop_device(self) -> int:
            dropped, self.held = self.held, 0
            return dropped

    store, tried = Device(), list[tuple[int, int]]()

    @node
    def Fits(x: int, y: int) -> int:
        """A sum."""
        return x + y

    @Fits.batched(over=("x",))
    def _(x: list[int], y: int) -> list[int]:
        tried.append((len(x), store.held))
        if store.held or len(x) > 2:
            raise MemoryError
        return [v + y for v in x]

    nodes = {f"n{k}": call("Fits", x=k, y=1) for k in range(4)}
    results = run(graph(nodes), store=store, registry=Registry.of(Fits))
    assert [results.outputs[f"n{k}"] for k in range(4)] == [1, 2, 3, 4]
    assert tried == [(4, 100), (4, 0), (2, 0), (2, 0)]


def test_out_of_memory_halves_the_batch_and_ends_in_an_error_that_says_what_to_lower() -> None:
    tried: list[int] = []

    @node
    def Heavy(x: int) -> int:
        """Heavy."""
        tried.append(1)
        if x < 0:
            raise MemoryError
        return x

    @Heavy.batched(over=("x",))
    def _heavy(x: list[int]) -> list[int]:
        tried.append(len(x))
        if len(x) > 2:
            raise MemoryError
        return x

    registry = Registry.of(Heavy)
    nodes = {f"h{k}": call("Heavy", x=k) for k in range(6)}
    results = run(graph(nodes, {name: f"${name}" for name in nodes}), registry=registry)
    assert [results.outputs[f"h{k}"] for k in range(6)] == list(range(6))
    assert tried == [6, 3, 2, 2, 2] or tried == [6, 3, 1, 1, 1, 1, 1, 1]
    with pytest.raises(RunError) as caught:
        run(graph({"h": call("Heavy", x=-1)}, {"h": "$h"}), registry=registry)
    assert isinstance(caught.value.failures[0], OutOfMemory)
    assert "lower" in str(caught.value)


def test_one_bad_call_of_a_batch_fails_alone() -> None:
    @node
    def Picky(x: int) -> int:
        """Picky."""
        if x == 2:
            raise ValueError("not two")
        return x

    @Picky.batched(over=("x",))
    def _picky(x: list[int]) -> list[int]:
        return [Picky.fn(one) for one in x]

    nodes = {f"p{k}": call("Picky", x=k) for k in range(4)}
    with pytest.raises(RunError) as caught:
        run(graph(nodes, {n: f"${n}" for n in nodes}), registry=Registry.of(Picky))
    assert dict(caught.value.results.outputs) == {"p0": 0, "p1": 1, "p3": 3}


def test_what_is_never_cached_is_fresh_in_each_run_with_all_that_depends_on_it() -> None:
    store = MemoryStore()
    what = graph(
        {"dice": call("Dice"), "one": call("One"), "sum": call("Add", a="$dice", b="$one")},
        {"r": "$sum"},
    )
    run(what, store=store)
    assert sorted(ran(run(what, store=store))) == ["dice", "sum"]
    found = {c.name: c.status for c in planned(what, store=store).calls}
    assert found == {"dice": "run", "one": "cached", "sum": "run"}


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


def test_a_chain_of_ten_thousand_runs_under_the_default_recursion_limit() -> None:
    nodes = {"n0": call("One")}
    for k in range(1, 10_000):
        nodes[f"n{k}"] = call("Add", a=f"$n{k - 1}", b=1)
    results = run(graph(nodes, {"r": "$n9999"}))
    assert results.outputs["r"] == 10_000


def test_a_cancelled_run_keeps_what_was_computed_and_resumes() -> None:
    store = MemoryStore()
    cancel = Cancel()
    what = graph({"loop": count_to(list(range(10)))}, {"x": "$loop.x"})

    def stop(event: Any) -> None:
        if isinstance(event, NodeFinished) and event.node == "loop[4].y":
            cancel.set()

    with pytest.raises(Interrupted) as caught:
        run(what, store=store, cancel=cancel, on_event=stop)
    assert caught.value.results.summary.interrupted
    assert len(ran(caught.value.results)) == 5
    again = run(what, store=store)
    assert (len(ran(again)), again.outputs["x"]) == (5, 45)


def test_a_keyboard_interrupt_in_a_node_stops_the_run() -> None:
    @node
    def Stop(x: int) -> int:
        """Press Ctrl-C."""
        raise KeyboardInterrupt

    what = graph({"one": call("One"), "stop": call("Stop", x="$one")}, {"r": "$stop"})
    with pytest.raises(KeyboardInterrupt):
        run(what, registry=Registry.of(*NODES, Stop))


def test_several_runs_in_threads_share_a_store() -> None:
    store = MemoryStore()
    found: list[int] = []

    def work(base: int) -> None:
        for _ in range(5):
            what = graph({"loop": count_to([base, 1, 2, 3])}, {"x": "$loop.x"})
            found.append(run(what, store=store).outputs["x"] - base)

    threads = [threading.Thread(target=work, args=(k % 3,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6] * 30


def test_a_lost_entry_is_computed_again_though_the_plan_had_found_it() -> None:
    class Lossy(MemoryStore):
        """Has what it cannot give."""

        def get(self, key: str, ports: Any = None) -> Any:
            return None

    store = Lossy()
    run(CHAIN, store=store, targets=["two"])
    calls.clear()
    assert run(CHAIN, store=store).outputs["result"] == 3
    assert calls == ["One", "Add 1 1", "Add 2 1"]


def test_early_cutoff_stops_where_a_rerun_gives_an_equal_value() -> None:
    store = MemoryStore()

    def what(a: int, b: int) -> Any:
        return graph(
            {
                "sum": call("Add", a=a, b=b),
                "scaled": call("Add", a="$sum", b=100),
                "end": call("Add", a="$scaled", b=1000),
            },
            {"r": "$end"},
        )

    run(what(1, 5), store=store)
    again = run(what(2, 4), store=store)
    assert again.outputs["r"] == 1106
    assert statuses(again) == {"sum": "run", "scaled": "cached", "end": "cached"}


def test_early_cutoff_spares_a_loop_that_starts_from_an_equal_value() -> None:
    store = MemoryStore()

    def what(a: int, b: int) -> Any:
        loop = Loop(
            over=[1, 2, 3],
            carry={"x": ref("sum")},
            nodes={
                "half": call("Halve", x="$carry.x"),
                "y": call("Add", a="$half.low", b="$item"),
            },
            next={"x": ref("y")},
        )
        return graph(
            {"sum": call("Add", a=a, b=b), "loop": loop, "end": call("Add", a="$loop.x", b=7)},
            {"r": "$end"},
        )

    first = run(what(10, 50), store=store)
    again = run(what(20, 40), store=store)
    assert again.outputs["r"] == first.outputs["r"]
    assert ran(again) == ["sum"]
    assert len(cached(again)) == 7


def test_early_cutoff_goes_down_a_chain_of_any_length() -> None:
    store = MemoryStore()

    def what(a: int, b: int) -> Any:
        nodes = {"n0": call("Add", a=a, b=b)}
        for k in range(1, 3000):
            nodes[f"n{k}"] = call("Add", a=f"$n{k - 1}", b=1)
        return graph(nodes, {"r": "$n2999"})

    run(what(1, 5), store=store)
    assert ran(run(what(2, 4), store=store)) == ["n0"]


def test_wires_that_do_not_fit_are_found_each_time_that_the_graph_is_run() -> None:
    what = graph(
        {"d": call("Degrees", x=1.0), "sum": call("Distance", a="$d", b=1.0)}, {"r": "$sum"}
    )
    for _ in range(2):
        with pytest.raises(WorkflowError, match="wants metres, got deg"):
            run(what)


def test_a_value_that_has_no_content_is_refused_as_an_input() -> None:
    what = graph({"p": call("Pair", a="$inputs.x")}, {"r": "$p"}, {"x": Input("Big")})
    with pytest.raises(WorkflowError, match="input x"):
        run(what, {"x": object()}, registry=Registry.of(*NODES, MakeBig))


@node
def MakeBig() -> Big:
    """Make something big."""
    return Big(1)


def test_a_result_that_is_not_what_the_node_declares_fails_that_node() -> None:
    @node
    def Wrong(x: int) -> str:
        """Give what was not declared."""
        return x  # type: ignore[return-value]

    what = graph({"wrong": call("Wrong", x=1)}, {"r": "$wrong"})
    with pytest.raises(RunError, match=r"wrong \(Wrong\): .*it gave int, but declares str"):
        Session(cache=False, registry=Registry.of(Wrong)).run(what)


def test_a_node_that_exits_fails_alone() -> None:
    @node
    def Exits(x: int) -> int:
        """Leave."""
        raise SystemExit(3)

    what = graph({"exits": call("Exits", x=1), "one": call("One")}, {"r": "$exits", "s": "$one"})
    with pytest.raises(RunError, match="exits") as caught:
        Session(cache=False, registry=Registry.of(*NODES, Exits)).run(what)
    assert caught.value.results.outputs["s"] == 1

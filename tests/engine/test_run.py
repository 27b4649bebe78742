"""What users of workflow engines rely on, on toy nodes."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphdiff.engine.disk import DiskStore
from graphdiff.engine.errors import Interrupted, RunError
from graphdiff.engine.events import NodeFinished
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.run import Cancel
from graphdiff.engine.store import CacheWarning, NoStore
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Element, If, Input, Ref, Text, WorkflowError
from tests.engine.toys import (
    CHAIN,
    NODES,
    cached,
    call,
    calls,
    count_to,
    graph,
    planned,
    ran,
    run,
    statuses,
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


@node
def MakeBig() -> Big:
    """Make something big."""
    return Big(1)


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


def test_a_watcher_that_raises_again_while_effects_end_leaves_no_thread_and_loses_nothing(
    tmp_path: Path,
) -> None:
    nodes: dict[str, Element] = {
        "one": call("One"),
        "kept": call("Kept", x="$one"),
        "save": call("Save", value="$kept", path="a.txt"),
        "more": call("Save", value="$kept", path="b.txt"),
    }
    what, store = graph(nodes, {"r": "$kept"}), DiskStore(tmp_path / "cache")

    @node(cache="always")
    def Kept(x: int) -> int:
        """What is written down."""
        return x

    def watch(event: object) -> None:
        if isinstance(event, NodeFinished) and event.node in ("save", "more"):
            raise ValueError("no more")

    before = threading.enumerate()
    registry = Registry.of(*NODES, Kept)
    with pytest.raises(ValueError, match="no more"):
        run(what, store=store, output_dir=tmp_path, registry=registry, on_event=watch)
    assert threading.enumerate() == before
    again = run(what, store=DiskStore(tmp_path / "cache"), output_dir=tmp_path, registry=registry)
    assert statuses(again)["kept"] == "cached"


def test_a_value_that_another_run_gives_while_linking_asks_for_it_is_taken() -> None:
    class Late(MemoryStore):
        """A store in which each entry is seen from the second look on."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: set[str] = set()

        def has(self, key: str) -> bool:
            was_seen = key in self.seen
            self.seen.add(key)
            return was_seen and super().has(key)

    nodes: dict[str, Element] = {
        "x": call("One"),
        "test": call("Above", x="$x", limit=0),
        "chosen": If(Ref(("test",)), Ref(("x",)), 7),
    }
    what, store = graph(nodes, {"r": "$chosen"}), Late()
    run(what, store=store)
    store.seen.clear()
    assert dict(run(what, store=store).outputs) == {"r": 1}


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


def test_what_was_lost_is_counted_once_however_often_it_was_told(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    loop = count_to([1, 2, 3])
    what = graph({"loop": loop, "end": call("Pair", a="$loop.x")}, {"r": "$end", "x": "$loop.x"})
    expected = run(what, store=DiskStore(folder)).outputs["r"]
    for blob in folder.glob("blobs/*/*"):
        blob.write_bytes(b"damaged")
    planned_calls = planned(what, store=DiskStore(folder)).calls
    more = graph(dict(what.nodes) | {"more": call("Pair", a="$end", b="$loop.x")}, {"r": "$more"})
    with pytest.warns(CacheWarning, match="damaged"):
        results = run(more, store=DiskStore(folder))
    assert results.outputs["r"] == ("pair", expected, 6)
    summary = results.summary
    assert summary.ran + summary.cached == len(planned_calls) + 1
    assert summary.ran == len(set(ran(results)))


def test_a_value_that_has_no_content_is_refused_as_an_input() -> None:
    what = graph({"p": call("Pair", a="$inputs.x")}, {"r": "$p"}, {"x": Input("Big")})
    with pytest.raises(WorkflowError, match="input x"):
        run(what, {"x": object()}, registry=Registry.of(*NODES, MakeBig))

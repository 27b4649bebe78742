"""Sessions: workflows from files, the cache on disk, several processes, sweeps, interruption."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphdiff
from graphdiff.engine.disk import DiskStore
from graphdiff.engine.errors import RunError
from graphdiff.engine.events import NodeStarted, to_json
from graphdiff.engine.maintain import ls, remove, verify
from graphdiff.engine.run import Cancel
from graphdiff.engine.session import Session
from graphdiff.engine.store import CacheWarning
from graphdiff.engine.sweep import points_of
from graphdiff.engine.watch import watch
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Input, Loop, WorkflowError
from tests.engine.killed import SECONDS, slow_loop, slow_session
from tests.engine.toys import NODES, REGISTRY, cached, call, calls, graph, ran, ref

ROOT = Path(__file__).parents[2]

TEXT = """\
graphdiff: 1
name: toy
inputs:
  n: 3
nodes:
  one: {type: One}
  loop:
    type: Loop
    over: $inputs.n
    carry: {x: $one}
    nodes:
      y: {type: Add, a: $carry.x, b: $item}
    next: {x: $y}
  save: {type: Save, value: $loop.x, path: "${inputs.n}.txt"}
outputs:
  x: $loop.x
"""


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Open a session as a new process would: with nothing in memory."""

    def opened(**options: Any) -> Session:
        options.setdefault("cache", tmp_path / "cache")
        options.setdefault("output_dir", tmp_path / "out")
        options.setdefault("registry", REGISTRY)
        return Session(**options)

    return opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A workflow file."""
    path = tmp_path / "toy.yaml"
    path.write_text(TEXT)
    return path


def test_a_workflow_file_runs_and_a_new_process_finds_all_of_it(make: Any, file: Path) -> None:
    first = make().run(file)
    assert first.outputs["x"] == 4
    assert first.files[0].read_text() == "4"
    second = make().run(file)
    assert second.outputs["x"] == 4
    assert ran(second) == []
    assert len(cached(second)) == 5
    assert second.files == first.files


def test_a_run_is_a_call(file: Path, tmp_path: Path) -> None:
    results = graphdiff.run(
        str(file), {"n": 1}, cache=False, output_dir=tmp_path, registry=REGISTRY
    )
    assert results.outputs["x"] == 1


def test_mistakes_are_told_with_their_places_before_anything_runs(make: Any, file: Path) -> None:
    file.write_text(TEXT.replace("type: Add", "type: Ad"))
    with pytest.raises(WorkflowError, match=r"toy.yaml:\d+:\d+: unknown-node-type"):
        make().run(file)
    assert calls == []


def test_a_missing_file_is_told_with_its_place(make: Any, file: Path) -> None:
    file.write_text(
        "graphdiff: 1\nnodes:\n  text: {type: ReadText, path: gone.txt}\noutputs: {t: $text}\n"
    )
    with pytest.raises(WorkflowError, match=r"toy.yaml:3:\d+: missing-file: text.path: .*gone.txt"):
        make().run(file)


def test_one_stored_pass_deleted_runs_again_only_if_it_is_needed(make: Any, tmp_path: Path) -> None:
    loop = Loop(
        over=[1, 2, 3],
        carry={"x": 0},
        nodes={"step": call("Add", a="$carry.x", b="$item")},
        next={"x": ref("step")},
    )
    what = graph({"denoise": loop}, {"x": "$denoise.x"})
    make().run(what)
    folder = tmp_path / "cache"
    stored = {entry.name: entry.key for entry in ls(folder)}
    assert set(stored) == {f"denoise[{k}].step" for k in range(3)}
    remove(folder, [stored["denoise[1].step"]])
    assert ran(make().run(what)) == []
    remove(folder, [stored["denoise[2].step"]])
    assert ran(make().run(what)) == ["denoise[1].step", "denoise[2].step"]


def test_a_failed_output_leaves_the_others_and_the_next_process_goes_on(make: Any) -> None:
    nodes = {"one": call("One"), "good": call("Add", a="$one", b=1), "bad": call("Fail", x="$one")}
    what = graph(nodes, {"good": "$good", "bad": "$bad"})
    with pytest.raises(RunError, match="meant to fail"):
        make().run(what)
    again = graph({**nodes, "bad": call("Add", a="$one", b=7)}, {"good": "$good", "bad": "$bad"})
    assert ran(make().run(again)) == ["bad"]


def test_events_as_json_end_with_a_summary(make: Any, file: Path) -> None:
    found = [json.loads(json.dumps(to_json(e))) for e in make().run(file).events]
    assert found[0]["event"] == "start"
    started = next(e for e in found if e.get("node") == "loop[1].y")
    assert started == {
        "event": "node", "node": "loop[1].y", "type": "Add", "status": "started", "batch": 1
    }  # fmt: skip
    assert found[-1]["event"] == "summary"
    assert (found[-1]["ran"], found[-1]["cached"], found[-1]["failed"]) == (5, 0, 0)
    assert found[-1]["files"][0].endswith("3.txt")


def test_a_sweep_gives_the_results_of_each_point(make: Any, file: Path) -> None:
    results = make().run_many(file, points_of({"n": [1, 2, 3]}))
    assert [p.outputs["x"] for p in results.points] == [1, 2, 4]
    assert [p.files[0].name for p in results.points] == ["1.txt", "2.txt", "3.txt"]
    assert calls.count("One") == 1


def test_two_points_that_would_write_one_file_are_told_before_anything_runs(
    make: Any, file: Path
) -> None:
    file.write_text(TEXT.replace("${inputs.n}.txt", "same.txt"))
    with pytest.raises(WorkflowError, match=r"n=1 and n=2 would both write same.txt") as told:
        make().run_many(file, points_of({"n": [1, 2]}))
    assert (told.value.diagnostics[0].help or "").endswith('as in "${inputs.n}.png"')
    assert calls == []


def test_provenance_has_the_text_the_inputs_and_no_times(make: Any, file: Path) -> None:
    told: list[Any] = []

    @node(effect=True)
    def Tell(value: int, outputs: graphdiff.Outputs) -> int:
        """Note the provenance."""
        told.append(outputs.provenance())
        return value

    file.write_text(
        TEXT.replace("type: Save", "type: Tell").replace(', path: "${inputs.n}.txt"', "")
    )
    make(registry=Registry.of(*NODES, Tell)).run(file, {"n": 2})
    [data] = told
    assert data["workflow"]["sources"][data["workflow"]["main"]] == file.read_text()
    assert data["inputs"] == {"n": 2}
    assert json.loads(json.dumps(data)) == data


def test_a_plan_node_is_asked_again_when_the_settings_change(make: Any) -> None:
    what = graph({"d": call("Device"), "p": call("Pair", a="$d")}, {"r": "$p"})
    assert make(device="cpu").run(what).outputs["r"] == ("pair", "cpu", None)
    assert make(device="cuda").run(what).outputs["r"] == ("pair", "cuda", None)


KILLED = "from tests.engine.killed import main; main()"


def start_slow(folder: Path, passes: int) -> subprocess.Popen[str]:
    """Start a slow run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), str(passes)],
        cwd=ROOT,
        env={**os.environ, "GRAPHDIFF_CACHE": str(folder / "notes")},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("times", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_a_run_killed_again_and_again_loses_little_and_corrupts_nothing(
    tmp_path: Path, times: int
) -> None:
    chance, before, passes = random.Random(times), 0, 10 * times
    for _ in range(times):
        with start_slow(tmp_path, passes) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            time.sleep(chance.uniform(0, 10 * SECONDS))  # so at most 10 passes more each time
            process.send_signal(signal.SIGKILL)
        assert verify(tmp_path / "cache").damaged == ()
        stored = len(ls(tmp_path / "cache"))
        assert before <= stored < passes
        before = stored
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("end*"))
    assert before > times / 2, "the runs did not go on from where they were killed"
    results = slow_session(tmp_path).run(slow_loop(passes))
    assert results.files[0].read_text() == str(passes)
    assert len(ran(results)) <= passes + 1 - before


def test_two_processes_on_one_cache_give_right_results(tmp_path: Path) -> None:
    processes = [start_slow(tmp_path, 40) for _ in range(2)]
    assert [p.communicate()[0].strip().lstrip(".") for p in processes] == ["40", "40"]
    assert verify(tmp_path / "cache").damaged == ()
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["end.txt"]


def test_damage_in_the_cache_is_warned_of_and_computed_again(make: Any, tmp_path: Path) -> None:
    what = graph({"one": call("One"), "sum": call("Add", a="$one", b=1)}, {"r": "$sum"})
    make().run(what)
    for blob in (tmp_path / "cache" / "blobs").rglob("*.safetensors"):
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.write_bytes(bytes(data))
    changed = graph({**what.nodes, "end": call("Add", a="$sum", b=1)}, {"r": "$end"})
    with pytest.warns(UserWarning, match="damaged"):
        results = make().run(changed)
    assert results.outputs["r"] == 3


def test_watching_runs_again_on_each_save_and_survives_mistakes(make: Any, file: Path) -> None:
    cancel = Cancel()
    seen: list[Any] = []

    def on_results(results: Any) -> None:
        seen.append(results.outputs["x"])
        if len(seen) == 1:
            file.write_text(TEXT.replace("type: Add", "type: Nothing"))
        else:
            cancel.set()

    def on_error(error: Exception) -> None:
        seen.append(type(error).__name__)
        file.write_text(TEXT.replace("n: 3", "n: 4"))

    guard = threading.Timer(20, cancel.set)
    guard.start()
    watch(
        file, session=make(), on_results=on_results, on_error=on_error, cancel=cancel, interval=0.02
    )
    guard.cancel()
    assert seen == [4, "WorkflowError", 7]


def test_a_second_run_in_a_new_process_imports_nothing_heavy(make: Any, file: Path) -> None:
    make().run(file)
    program = (
        "import sys; from pathlib import Path\n"
        "from graphdiff.engine.session import Session\n"
        "from graphdiff.graph.registry import load_registry\n"
        "file = Path(sys.argv[1])\n"
        "session = Session(cache=file.parent / 'cache', output_dir=file.parent / 'out',\n"
        "                  registry=load_registry([Path('tests/engine/plain_toys.py')]))\n"
        "for _ in range(2): results = session.run(file)\n"
        "heavy = {'torch', 'numpy', 'transformers', 'huggingface_hub', 'networkx',\n"
        "         'graphdiff.graph.build', 'graphdiff.engine.maintain', 'graphdiff.engine.diff'}\n"
        "print(sorted(heavy & set(sys.modules)), results.summary.ran)\n"
    )
    file.write_text(
        TEXT.replace('  save: {type: Save, value: $loop.x, path: "${inputs.n}.txt"}\n', "")
        .replace("One", "PlainOne")
        .replace("Add", "PlainAdd")
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[] 0", found.stderr


def test_the_disk_alone_is_a_store_too(tmp_path: Path) -> None:
    what = graph({"s": call("Add", a="$inputs.a", b=1)}, {"r": "$s"}, {"a": Input("int", 1)})
    for expected in (["s"], []):
        session = Session(cache=DiskStore(tmp_path), registry=REGISTRY)
        assert ran(session.run(what)) == expected


def test_a_closed_session_says_so_and_may_be_closed_again(make: Any, file: Path) -> None:
    with make() as session:
        session.run(file)
    session.close()
    for use in (
        lambda: session.run(file),
        lambda: session.run_many(file, {"a": {"n": 1}}),
        lambda: session.plan(file),
        lambda: session.why(file, "one"),
        lambda: session.diff(file, file),
        session.__enter__,
    ):
        with pytest.raises(RuntimeError, match="this session was closed: open another one"):
            use()


def test_an_output_folder_that_cannot_be_made_is_told_before_anything_runs(
    make: Any, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    session = make(output_dir=tmp_path / "taken/below")
    with pytest.raises(WorkflowError, match=r"cannot be made: .*taken is no folder"):
        session.run(file)
    with pytest.raises(WorkflowError, match="cannot be made"):
        session.run_many(file, {"a": {"n": 1}})
    assert calls == []
    assert session.run(file, targets=["loop"]).summary.ran


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(NotADirectoryError, match="the cache is to be a folder"):
        Session(cache=tmp_path / "taken", registry=REGISTRY)


def test_a_run_is_not_lost_where_its_account_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("account")

    monkeypatch.setattr("graphdiff.engine.history.record", broken)
    session = Session(cache=tmp_path, registry=REGISTRY)
    with pytest.warns(CacheWarning, match="will not be told of this run"):
        results = session.run(graph({"s": call("Add", a=1, b=2)}, {"s": "$s"}))
    assert results.outputs["s"] == 3


def test_a_watcher_that_raises_loses_no_work(tmp_path: Path) -> None:
    @node
    def Slow(x: int) -> list[int]:
        """Take long enough to be worth keeping, for a run that ends early."""
        calls.append("Slow")
        time.sleep(0.03)
        return [x] * 300_000

    def watcher(event: object) -> None:
        if isinstance(event, NodeStarted) and event.node == "sum":
            raise OSError("nobody is watching")

    registry = Registry.of(*NODES, Slow)
    what = graph({"s": call("Slow", x=1), "sum": call("Sum", xs="$s")}, {"sum": "$sum"})
    for _ in range(2):
        with pytest.raises(OSError, match="nobody is watching"):
            Session(cache=tmp_path, registry=registry).run(what, on_event=watcher)
    assert calls.count("Slow") == 1


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_computed(
    make: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = make().run(file).files

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    assert make().run(file).files == written  # which takes no writing
    calls.clear()
    for targets in (None, ["save"]):
        with pytest.raises(WorkflowError, match=r"out cannot be written to: .*permission denied"):
            make().run(file, {"n": 2}, targets=targets)
    assert calls == []
    assert make().run(file, {"n": 2}, targets=["x"]).outputs["x"] == 2


def test_an_effect_that_writes_no_files_needs_no_folder(tmp_path: Path) -> None:
    @node(effect=True)
    def Ring(times: int) -> int:
        """Ring a bell."""
        return times

    (tmp_path / "taken").write_text("a file")
    session = Session(cache=None, output_dir=tmp_path / "taken", registry=Registry.of(Ring))
    assert ran(session.run(graph({"bell": call("Ring", times=3)}))) == ["bell"]

"""`graphdiff run`: exit codes, what goes where, sweeps, and errors without tracebacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphdiff.checkpoints.pool import pool
from tests.cli.conftest import NODES, Command


def test_a_run_prints_one_line_a_file_and_says_the_rest_on_stderr(graphdiff: Command) -> None:
    said = graphdiff("run", "toy.yaml")
    assert (said.code, said.lines) == (0, ["outputs/sum-1.txt"])
    assert "5 ran" in said.err
    assert Path("outputs/sum-1.txt").read_text() == "5"


def test_a_second_run_finds_everything_and_prints_the_same_files(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    said = graphdiff("run", "toy.yaml")
    assert (said.code, said.lines) == (0, ["outputs/sum-1.txt"])
    assert "5 cached" in said.err


def test_an_input_is_an_option(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml", "--start", "7", "--passes", "1", "--name", "total")
    assert Path("outputs/total-7.txt").read_text() == "9"


def test_options_may_stand_before_the_workflow(graphdiff: Command) -> None:
    assert graphdiff("run", "--start", "7", "toy.yaml").lines == ["outputs/sum-7.txt"]


def test_an_option_that_is_wrong_points_to_the_help_of_its_workflow(graphdiff: Command) -> None:
    assert "`graphdiff run toy.yaml --help`" in graphdiff("run", "toy.yaml", "--strat", "1").err
    assert "`graphdiff run --help`" in graphdiff("run").err


def test_help_shows_the_inputs_of_the_workflow(graphdiff: Command) -> None:
    said = graphdiff("run", "toy.yaml", "--help")
    assert said.code == 0
    inputs, options = said.out.split("Options:")
    assert "Inputs of toy" in inputs
    assert "--start INT" in inputs
    assert "Where to start [default: 1; min 0]" in inputs
    assert "--sweep" in options
    assert "--start" not in options


def test_a_file_of_another_content_is_kept_and_the_new_one_gets_a_number(
    graphdiff: Command,
) -> None:
    Path("outputs").mkdir()
    Path("outputs/sum-1.txt").write_text("mine")
    assert graphdiff("run", "toy.yaml").lines == ["outputs/sum-1-2.txt"]
    assert Path("outputs/sum-1.txt").read_text() == "mine"


def test_outputs_that_are_plain_data_are_printed_where_no_file_is_written(
    graphdiff: Command,
) -> None:
    said = graphdiff("run", "toy.yaml", "--target", "first")
    assert said.lines == ["first: 2"]


def test_json_events_are_lines_of_one_shape_and_the_summary_is_last(graphdiff: Command) -> None:
    said = graphdiff("run", "toy.yaml", "--json")
    events = [json.loads(line) for line in said.lines]
    *nodes, summary = events
    assert all(
        set(event) == {"event", "node", "type", "status", "seconds", "batch"} for event in nodes
    )
    assert {event["event"] for event in nodes} == {"node"}
    finished = [event["node"] for event in nodes if event["status"] == "finished"]
    assert finished == ["first", "loop[0].next", "loop[1].next", "loop[2].next", "write"]
    assert summary.pop("seconds") > 0
    assert summary == {
        "event": "summary",
        "ran": 5,
        "cached": 0,
        "failed": 0,
        "skipped": 0,
        "files": ["outputs/sum-1.txt"],
    }


def test_a_failure_is_exit_code_1_named_once_with_its_place_and_stops_nothing_else(
    graphdiff: Command,
) -> None:
    said = graphdiff("run", "failing.yaml")
    assert said.code == 1
    assert said.lines == ["outputs/good.txt"]
    assert said.err.count("cannot work with 2") == 1
    assert "failing.yaml:4:" in said.err
    assert "1 failed, 1 skipped" in said.err


def test_json_says_failures_too(graphdiff: Command) -> None:
    said = graphdiff("run", "failing.yaml", "--json")
    events = [json.loads(line) for line in said.lines]
    statuses = {event["node"]: event["status"] for event in events[:-1]}
    assert statuses == {
        "good": "finished",
        "bad": "failed",
        "after": "skipped",
        "write": "finished",
    }
    assert (said.code, events[-1]["failed"], events[-1]["skipped"]) == (1, 1, 1)


WRONG = {
    "a missing file": (["missing.yaml"], "no such file"),
    "a near miss": (["tois.yaml"], "did you mean toy.yaml?"),
    "a name without its ending": (["toy"], "did you mean toy.yaml?"),
    "a near shipped workflow": (
        ["text_to_imag"],
        "did you mean the shipped workflow text_to_image",
    ),
    "a near file that is none": (
        ["unconditiona"],
        "did you mean the shipped workflow unconditional?",
    ),
    "an input that is not given": (
        ["lora"],
        "help: give --lora STR: The LoRA: a .safetensors file",
    ),
    "a folder": (["."], "is a directory"),
    "a folder that is not there": (["no/where.yaml"], "there is no folder no"),
    "no workflow": ([], "Missing argument 'WORKFLOW'"),
    "one too many": (["toy.yaml", "other"], "unexpected extra argument (other)"),
    "an unknown option": (["toy.yaml", "--strat", "1"], "'--start'"),
    "a word for a number": (["toy.yaml", "--start", "one"], "--start: wants int, not 'one'"),
    "bytes of another encoding": (
        ["toy.yaml", "--text", "caf\udce9"],
        "--text: wants text in UTF-8",
    ),
    "a fraction for an int": (["toy.yaml", "--start", "1.5"], "--start"),
    "under the bound": (["toy.yaml", "--start", "-1"], "wants int at least 0"),
    "not among the choices": (["toy.yaml", "--name", "sun"], "--name"),
    "no bool": (["toy.yaml", "--flag", "yes"], "wants true or false"),
    "no list": (["toy.yaml", "--numbers", "[1,"], "JSON list"),
    "an unknown input": (["toy.yaml", "--set", "strat=1"], "did you mean 'start'?"),
    "no assignment": (["toy.yaml", "--set", "start"], "write NAME=VALUE"),
    "an unknown sweep": (["toy.yaml", "--sweep", "strat=1"], "did you mean 'start'?"),
    "no range": (["toy.yaml", "--sweep", "start=a..b"], "as in 0..7"),
    "swept and given": (
        ["toy.yaml", "--start", "7", "--sweep", "start=1,2"],
        "start is swept and given one value as well",
    ),
    "swept and set": (
        ["toy.yaml", "--set", "start=7", "--sweep", "start=1,2"],
        "start is swept and given one value as well",
    ),
    "no JSON": (["toy.yaml", "--sweep", "start=[1"], "no JSON list"),
    "no file of values": (["toy.yaml", "--sweep", "text=@none"], "none"),
    "two points, one file": (["toy.yaml", "--sweep", "passes=1..2"], "would both write sum-1.txt"),
    "an unknown target": (["toy.yaml", "--target", "frist"], "did you mean first"),
    "an unknown device": (["toy.yaml", "--device", "tpu"], "'tpu' is not one of"),
    "a grid of nothing": (["toy.yaml", "--grid", "a.png"], "--sweep"),
    "a grid of another kind": (
        ["toy.yaml", "--sweep", "start=1,2", "--grid", "a.jpg"],
        "name a .png file",
    ),
    "both caches": (["toy.yaml", "--no-cache", "--cache-dir", "x"], "exclude each other"),
    "nodes that are not there": (["toy.yaml", "--nodes", "none.py"], "does not exist"),
    "nodes that fail": (["toy.yaml", "--nodes", "broken.py"], "ZeroDivisionError"),
    "nodes that are no Python": (["toy.yaml", "--nodes", "no_python.py"], "SyntaxError"),
    "a foreign picture": (["foreign.png"], "carries no workflow"),
    "rubbish": (["rubbish.yaml"], "not-text"),
    "a missing model": (["text_to_image", "--checkpoint", "no/model"], "models pull no/model"),
    "half precision on a CPU": (
        ["text_to_image", "--dtype", "float16", "--device", "cpu"],
        "hundreds of times slower",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_line_is_exit_code_2_and_says_what_instead(
    case: str, graphdiff: Command
) -> None:
    Path("broken.py").write_text("1 / 0\n")
    Path("no_python.py").write_text("def (\n")
    Path("foreign.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 30)
    Path("unconditional.log").touch()
    Path("rubbish.yaml").write_bytes(b"\xed\x12\xff" * 40)
    arguments, expected = WRONG[case]
    said = graphdiff("run", *arguments)
    assert said.code == 2
    assert said.out == ""
    assert expected in said.err
    assert not Path("outputs").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_exit_code_2(graphdiff: Command) -> None:
    Path("toy.yaml").chmod(0)
    assert graphdiff("run", "toy.yaml").code == 2


def test_out_of_memory_names_the_node_and_what_to_lower(graphdiff: Command) -> None:
    Path("huge.yaml").write_text(
        "graphdiff: 1\nnodes:\n  big: {type: Huge, value: 1}\noutputs: {x: $big}\n"
    )
    said = graphdiff("run", "huge.yaml")
    assert said.code == 1
    assert "big (Huge): out of memory: lower" in said.err


def test_a_sweep_is_the_product_of_its_names_in_their_order(graphdiff: Command) -> None:
    said = graphdiff("run", "toy.yaml", "--sweep", "start=0..1", "--sweep", "name=sum,total")
    assert said.lines == [f"outputs/{n}-{i}.txt" for i in (0, 1) for n in ("sum", "total")]


def test_a_sweep_without_files_prints_each_points_outputs(graphdiff: Command) -> None:
    said = graphdiff("run", "toy.yaml", "--sweep", "start=2,5", "--target", "first")
    assert said.lines == ["start=2/first: 3", "start=5/first: 6"]


def test_a_grid_shows_a_sweep_and_is_named_last(graphdiff: Command) -> None:
    said = graphdiff("run", "painting.yaml", "--sweep", "start=0..3", "--grid", "sheet.png")
    assert said.lines == [*(f"outputs/{i}.png" for i in range(4)), "sheet.png"]
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_grid_of_a_sweep_without_pictures_is_an_error(graphdiff: Command) -> None:
    said = graphdiff("run", "toy.yaml", "--sweep", "start=0..1", "--grid", "sheet.png")
    assert said.code == 2
    assert "no point of the sweep gave a picture" in said.err


def test_without_a_cache_everything_runs_again(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    assert "5 ran" in graphdiff("run", "toy.yaml", "--no-cache").err


SLOW = """\
graphdiff: 1
nodes:
  loop:
    type: Loop
    over: 200
    carry: {value: 1}
    nodes:
      slow: {type: Slow, value: $carry.value, seconds: 0.1}
    next: {value: $slow}
outputs: {x: $loop.value}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_at_the_next_step_with_exit_code_130(
    number: signal.Signals, folder: Path
) -> None:
    Path("slow.yaml").write_text(SLOW)
    command = [sys.executable, "-m", "graphdiff", "run", "slow.yaml", "--nodes", str(NODES)]
    events = subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert events.stdout is not None
    assert '"started"' in events.stdout.readline()  # and so lines are flushed one by one
    time.sleep(0.25)
    events.send_signal(number)
    out, err = events.communicate(timeout=20)
    assert events.returncode == 130
    assert "Traceback" not in err
    summary = json.loads(out.splitlines()[-1])
    assert summary["interrupted"] is True
    assert 0 < summary["ran"] < 200


def test_a_run_outside_of_the_main_thread_needs_no_signals(graphdiff: Command) -> None:
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(graphdiff, "run", "toy.yaml").result()
    assert (said.code, said.lines) == (0, ["outputs/sum-1.txt"])


def test_text_on_the_command_line_is_never_a_reference(graphdiff: Command) -> None:
    Path("path.yaml").write_text(
        "graphdiff: 1\ninputs: {name: a}\nnodes:\n"
        '  write: {type: Write, value: 1, path: "${inputs.name}.txt"}\n'
    )
    assert graphdiff("run", "path.yaml", "--name", "$inputs").lines == ["outputs/$inputs.txt"]


@pytest.mark.parametrize("name", ["device", "sweep", "json", "help"])
def test_an_input_with_the_name_of_an_option_is_refused_with_a_hint(
    name: str, graphdiff: Command
) -> None:
    Path("taken.yaml").write_text(
        f"graphdiff: 1\ninputs: {{{name}: a}}\nnodes:\n"
        f"  write: {{type: Write, value: 1, path: $inputs.{name}}}\n"
    )
    said = graphdiff("run", "taken.yaml")
    assert said.code == 2
    assert f"rename it, for example to {name}_input" in said.err


@pytest.mark.parametrize("name", ["workflow", "targets", "assigned", "inputs", "as_json"])
def test_an_input_may_have_any_other_name(name: str, graphdiff: Command) -> None:
    Path("named.yaml").write_text(
        f"graphdiff: 1\ninputs: {{{name}: a}}\nnodes:\n"
        f"  write: {{type: Write, value: 1, path: $inputs.{name}}}\n"
    )
    said = graphdiff("run", "named.yaml", f"--{name}", "b.txt")
    assert (said.code, said.lines) == (0, ["outputs/b.txt"]), said.err


def test_max_vram_bounds_the_weights_that_stay_on_the_device(
    graphdiff: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool(), "budget", None)
    assert graphdiff("run", "toy.yaml", "--max-vram", "4GB").code == 0
    assert pool().budget == 4_000_000_000
    said = graphdiff("run", "toy.yaml", "--max-vram", "lots")
    assert said.code == 2
    assert "4GB" in said.err


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "sub/", "a\\\\b.txt"])
def test_a_path_outside_the_output_folder_is_refused_before_anything_runs(
    graphdiff: Command, path: str
) -> None:
    Path("outside.yaml").write_text(
        f'graphdiff: 1\nnodes:\n  write: {{type: Write, value: 1, path: "{path}"}}\n'
    )
    for verb in ("plan", "run"):
        said = graphdiff(verb, "outside.yaml")
        assert said.code == 2
        assert "outside.yaml:3:" in said.err
        assert "output-path" in said.err

"""`graphdiff plan`: what it prints is what the run then does."""

from __future__ import annotations

import json
from collections import Counter

from tests.cli.conftest import Command


def test_the_table_folds_passes_and_the_counts_are_on_stderr(graphdiff: Command) -> None:
    said = graphdiff("plan", "toy.yaml")
    assert said.lines == [
        "first            Add    run",
        "loop[0..2].next  Add    run x3",
        "write            Write  run",
    ]
    assert said.err == "5 to run, 0 cached\n"


def test_deep_lists_every_call(graphdiff: Command) -> None:
    said = graphdiff("plan", "toy.yaml", "--deep")
    assert [line.split()[0] for line in said.lines] == [
        "first",
        "loop[0].next",
        "loop[1].next",
        "loop[2].next",
        "write",
    ]


def test_a_longer_loop_reuses_the_passes_of_a_shorter_one(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    said = graphdiff("plan", "toy.yaml", "--passes", "5")
    assert "loop[0..2].next  Add    cached x3" in said.out
    assert "loop[3..4].next  Add    run x2" in said.out


def test_the_statuses_of_the_plan_are_the_events_of_the_run(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml", "--passes", "2")
    arguments = ("toy.yaml", "--sweep", "start=1..2", "--json")
    planned = [json.loads(line) for line in graphdiff("plan", *arguments).lines]
    ran = [json.loads(line) for line in graphdiff("run", *arguments).lines[:-1]]
    assert {(call["node"], call["status"]) for call in planned} == {
        (event["node"], "run" if event["status"] == "finished" else event["status"])
        for event in ran
        if event["status"] != "started"
    }
    assert set(planned[0]) == {"node", "type", "status"}


def test_what_no_target_needs_is_skipped(graphdiff: Command) -> None:
    said = graphdiff("plan", "toy.yaml", "--target", "first", "--json")
    calls = [json.loads(line) for line in said.lines]
    assert Counter(call["status"] for call in calls)["run"] == 1
    assert {call["node"]: call["status"] for call in calls}["write"] == "skip"


def test_why_says_which_argument_differs(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    said = graphdiff("plan", "toy.yaml", "--name", "total", "--why", "write")
    assert said.code == 0
    assert said.lines[0] == "write (Write): run"
    assert said.lines[1:] == ["  inputs.name: 'sum' -> 'total'"]


def test_why_of_a_cached_node_says_so(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    assert "write (Write): cached" in graphdiff("plan", "toy.yaml", "--why", "write").out


def test_why_of_an_unknown_node_names_those_there_are(graphdiff: Command) -> None:
    said = graphdiff("plan", "toy.yaml", "--why", "wriet")
    assert said.code == 2
    assert "it has first, loop.next, write" in said.err


def test_planning_writes_no_file(graphdiff: Command) -> None:
    graphdiff("plan", "toy.yaml")
    assert "5 ran" in graphdiff("run", "toy.yaml").err


def test_why_of_a_pass_names_what_was_changed_outside_of_the_loop(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    said = graphdiff("plan", "toy.yaml", "--start", "7", "--why", "loop[2].next")
    assert said.lines == ["loop[2].next (Add): run", "  inputs.start: 1 -> 7"]


def test_why_after_the_cache_was_cleared_knows_of_no_run(graphdiff: Command) -> None:
    graphdiff("run", "toy.yaml")
    graphdiff("cache", "clear")
    said = graphdiff("plan", "toy.yaml", "--why", "first")
    assert said.lines[1:] == ["  no earlier run of Add is in the cache"]

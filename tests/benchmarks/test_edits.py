"""The workflow that the benchmarks edit is valid, and is edited at places that it has."""

from __future__ import annotations

import graphdiff
from benchmarks.edits import EDITS
from benchmarks.pipelines import STEPS, WORKFLOW, inputs


def test_the_workflow_of_the_benchmarks_is_valid_and_has_every_edited_input() -> None:
    workflow = graphdiff.load(WORKFLOW)
    known = set(workflow.graph.inputs)
    assert inputs().keys() <= known
    assert all(edit.changed.keys() <= known for edit in EDITS)


def test_an_edit_costs_at_most_the_whole_loop() -> None:
    assert all(0 <= edit.passes <= STEPS for edit in EDITS)

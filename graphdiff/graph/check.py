"""Every mistake of a workflow that can be known without files and without running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from graphdiff.graph.checker import mistakes
from graphdiff.graph.parts import resolve
from graphdiff.graph.registry import Registry, load_registry
from graphdiff.graph.spec import (
    Diagnostic,
    Graph,
    WorkflowError,
)
from graphdiff.graph.workflow import Workflow
from graphdiff.graph.yaml import draft, in_file_order


def check(
    workflow: Workflow | Graph, registry: Registry, *, targets: Sequence[str] | None = None
) -> tuple[Diagnostic, ...]:
    """Every mistake of a workflow, those found while reading it among them, in the file's order.

    Args:
        workflow: The workflow; a bare graph has no places to show.
        registry: The nodes and parts there are.
        targets: What shall run, where that is not the whole.
    """
    whole = workflow if isinstance(workflow, Workflow) else Workflow(workflow)
    registry = registry.with_nodes(whole.nodes)
    found = list(whole.mistakes)
    try:
        whole = resolve(whole, registry)
    except WorkflowError as error:
        found += error.diagnostics
    found += mistakes(whole, registry, targets)
    main = str(whole.file) if whole.file is not None else None
    return in_file_order(found, first=main)


def checked(
    workflow: Workflow, registry: Registry, *, targets: Sequence[str] | None = None
) -> Workflow:
    """The workflow with its named parts resolved, if there is no mistake in it.

    Raises:
        WorkflowError: with every mistake.
    """
    errors = tuple(d for d in check(workflow, registry, targets=targets) if d.severity == "error")
    if errors:
        raise WorkflowError(errors)
    return resolve(workflow, registry.with_nodes(workflow.nodes))


def load(path: Path | str, registry: Registry | None = None) -> Workflow:
    """A workflow file, read, checked, and with its named parts resolved.

    Raises:
        WorkflowError: with every mistake.
    """
    return checked(draft(path), registry if registry is not None else load_registry())

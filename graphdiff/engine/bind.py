"""The inputs of a run: what is given, converted to what the workflow declares."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphdiff.engine.body import Body
from graphdiff.engine.keys import token_of
from graphdiff.engine.scope import Scope
from graphdiff.engine.task import Known
from graphdiff.engine.values import UnkeyableError
from graphdiff.graph.literals import LiteralError
from graphdiff.graph.spec import Diagnostic, WorkflowError


def bind(body: Body, inputs: Mapping[str, Any], *, label: str = "", point: int = 0) -> Scope:
    """The scope of a workflow, with its inputs in it.

    Args:
        body: The workflow.
        inputs: What is given: values of the declared types; paths relative to the working folder.
        label: What the names of calls begin with, where a run has several sets of inputs.
        point: The number of this set.

    Raises:
        WorkflowError: an input is unknown, missing or of the wrong type; all such mistakes.
    """
    scope = Scope(body, None, f"{label}/" if label else "", carried=False, point=point)
    mistakes: list[Diagnostic] = []
    here = Path(os.getcwd()) if inputs else None
    for name, value in inputs.items():
        if name not in body.inputs:
            near = difflib.get_close_matches(name, body.inputs, 1)
            known = ", ".join(body.inputs) or "none"
            mistakes.append(
                Diagnostic(
                    "unknown-input",
                    f"the workflow has no input {name!r}; it has {known}",
                    ("inputs", name),
                    help=f"did you mean {near[0]}?" if near else None,
                )
            )
            continue
        convert, _ = body.inputs[name]
        try:
            bound = convert(value)
            scope.values[f"$inputs.{name}"] = Known(bound, token_of(bound), here)
        except UnkeyableError as error:
            mistakes.append(Diagnostic("no-content", f"input {name}: {error}", ("inputs", name)))
        except LiteralError as error:
            mistakes.append(
                Diagnostic(error.code, f"input {name}: {error}", ("inputs", name), help=error.help)
            )
    for name, (_, default) in body.inputs.items():
        if name in inputs:
            continue
        if default is None:
            message = f"input {name} has no default and is not given"
            mistakes.append(Diagnostic("missing-input", message, ("inputs", name)))
        else:
            scope.values[f"$inputs.{name}"] = default
    if mistakes:
        raise WorkflowError(tuple(mistakes))
    return scope

"""What a picture says about where it came from: JSON data without clock times."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from graphdiff.engine.keys import token_of
from graphdiff.engine.program import Point, Program
from graphdiff.engine.scope import Scope
from graphdiff.engine.task import Known
from graphdiff.graph.installed import version_of
from graphdiff.graph.spec import WorkflowError


def provenance(program: Program, point: Point, settings: Mapping[str, str]) -> dict[str, Any]:
    """Everything that is needed to run a workflow again, and to tell later what differs.

    Args:
        program: The run.
        point: The set of inputs.
        settings: Device and dtype, as they were asked for.
    """
    return {
        "graphdiff": version_of("graphdiff"),
        "workflow": _texts(program),
        "inputs": _inputs(point.scope),
        "settings": dict(settings),
        "files": {_short(path): digest for path, digest in sorted(_files(program).items())},
        "versions": _versions(program),
    }


def _texts(program: Program) -> dict[str, Any]:
    """The original text with what it includes, or that of what was built in Python."""
    workflow = program.workflow
    if workflow.sources:
        main = next(iter(workflow.sources))
        return {"main": main, "sources": dict(workflow.sources)}
    from graphdiff.graph.dump import dump

    try:
        name = f"{workflow.graph.name or 'workflow'}.yaml"
        return {"main": name, "sources": {name: dump(workflow.graph)}}
    except WorkflowError:  # it holds values that no file can
        return {"main": "", "sources": {}}


def _inputs(scope: Scope) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for slot, form in scope.values.items():
        if slot.startswith("$inputs.") and isinstance(form, Known):
            found[slot.removeprefix("$inputs.")] = _json(form.value)
    return dict(sorted(found.items()))


def _json(value: Any) -> Any:  # noqa: ANN401 - JSON data
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_json(item) for item in cast(list[Any], value)]
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return {str(name): _json(item) for name, item in items}
    return f"<{type(value).__name__} {token_of(value).hex()[:16]}>"


def _files(program: Program) -> dict[str, str]:
    """The SHA-256 of every file that nodes read, and of those that plan nodes speak of."""
    found = dict(program.linker.calls.files)
    for outs in program.linker.calls.evaluated.values():
        for out in outs:
            found |= _fingerprints(out.value)
    return found


def _fingerprints(value: Any) -> dict[str, str]:  # noqa: ANN401 - any value
    """Of each record in a value that names a file and its hash, these two."""
    found: dict[str, str] = {}
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting += item
        elif dataclasses.is_dataclass(item) and not isinstance(item, type):
            digest, path = getattr(item, "sha256", None), getattr(item, "path", None)
            if isinstance(digest, str) and isinstance(path, Path):
                found[str(path)] = digest
            else:
                waiting += [getattr(item, field.name, None) for field in dataclasses.fields(item)]
    return found


def _short(path: str) -> str:
    """A path without what is this machine's own: its last three names."""
    return "/".join(Path(path).parts[-3:]).lstrip("/")


def _versions(program: Program) -> dict[str, str]:
    found = {"python": platform.python_version()}
    kinds = {id(task.kind): task.kind for task in program.linker.calls.linked}.values()
    for kind in kinds:
        found[kind.node.__module__.partition(".")[0]] = kind.identity.version
    if any(kind.torch for kind in kinds):
        found["torch"] = version_of("torch")
    return {name: version for name, version in sorted(found.items()) if version}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterable[str]:
    """What two provenances differ in, one line for each."""
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name), other.get(name)
        if a == b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping) and name != "workflow":
            old, new = cast(Mapping[str, Any], a), cast(Mapping[str, Any], b)
            for key in dict.fromkeys([*old, *new]):
                if old.get(key) != new.get(key):
                    yield f"{name}.{key}: {_said(old.get(key))} -> {_said(new.get(key))}"
        elif name == "workflow":
            yield "workflow: the text differs"
        else:
            yield f"{name}: {_said(a)} -> {_said(b)}"


def _said(value: Any) -> str:  # noqa: ANN401 - JSON data
    return "nothing" if value is None else str(value)

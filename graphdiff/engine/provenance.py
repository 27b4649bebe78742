"""What a picture says about where it came from: JSON data without clock times."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from graphdiff.engine.by_identity import ByIdentity
from graphdiff.engine.facts import short_path
from graphdiff.engine.keys import token_of
from graphdiff.engine.program import Point, Program
from graphdiff.engine.scope import Scope
from graphdiff.engine.task import Known
from graphdiff.graph.installed import version_of
from graphdiff.graph.spec import Graph, WorkflowError

_SCALARS = frozenset((type(None), bool, int, float, str))


def provenance(program: Program, point: Point, settings: Mapping[str, str]) -> dict[str, Any]:
    """Everything that is needed to run a workflow again, and to tell later what differs.

    Args:
        program: The run.
        point: The set of inputs.
        settings: Device and dtype, as they were asked for.
    """
    origins = program.linker.calls.origins[point.scope.point]
    said = [_SAID_BY(out.value) for outs in origins.evaluated.values() for out in outs]
    computed = {
        "device": {name for one in said for name in one.device},
        "dtype": {name for one in said for name in one.dtype},
    }
    files = dict(origins.files)
    for one in said:
        files |= one.files
    return {
        "graphdiff": _version("graphdiff"),
        "workflow": _texts(program),
        "inputs": _inputs(point.scope),
        "settings": dict(settings),
        "computed": {name: " and ".join(sorted(what)) for name, what in computed.items() if what},
        "files": {short_path(path): digest for path, digest in sorted(files.items())},
        "versions": _versions(program),
    }


def made_from(told: Mapping[str, Any]) -> bytes:
    """A token of the workflow and the inputs that provenance tells of."""
    return token_of({name: told.get(name) for name in ("workflow", "inputs")})


def _texts(program: Program) -> dict[str, Any]:
    """The original text with what it includes, or that of what was built in Python."""
    workflow = program.workflow
    if workflow.sources:
        main = next(iter(workflow.sources))
        return {"main": main, "sources": dict(workflow.sources)}
    name = f"{workflow.graph.name or 'workflow'}.yaml"
    text = _WRITTEN(workflow.graph)
    return {"main": name, "sources": {name: text}} if text else {"main": "", "sources": {}}


def _written(graph: Graph) -> str:
    """The text of what was built in Python; none of what holds values that no file can."""
    from graphdiff.graph.dump import dump

    try:
        return dump(graph)
    except WorkflowError:
        return ""


_WRITTEN = ByIdentity(_written, most=8)


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


@dataclass(frozen=True, slots=True)
class _Said:
    """What the records in a value say.

    Args:
        device: On what is computed.
        dtype: In what is computed.
        files: The SHA-256 of each file by its path.
    """

    device: frozenset[str]
    dtype: frozenset[str]
    files: Mapping[str, str]


def _said_by(value: Any) -> _Said:  # noqa: ANN401 - any value
    device: set[str] = set()
    dtype: set[str] = set()
    files: dict[str, str] = {}
    for item in _records(value):
        names = _fields_of(item.__class__)
        for name, said in (("device", device), ("dtype", dtype)):
            if name in names and isinstance(found := getattr(item, name), str):
                said.add(found)
        if "sha256" in names and "path" in names and isinstance(item.path, Path):
            files[str(item.path)] = item.sha256
    return _Said(frozenset(device), frozenset(dtype), files)


_SAID_BY = ByIdentity(_said_by, most=256)


def _records(value: Any) -> Iterator[Any]:  # noqa: ANN401 - any value
    """The records in a value, as far as it is made of lists and dataclasses."""
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        kind = item.__class__
        if kind in _SCALARS:
            continue
        if isinstance(item, list | tuple):
            waiting += item
        elif names := _fields_of(kind):
            yield item
            waiting += [getattr(item, name, None) for name in names]


@lru_cache(maxsize=1024)
def _fields_of(kind: type) -> tuple[str, ...]:
    """The names of a dataclass's fields; none of any other class."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def _versions(program: Program) -> dict[str, str]:
    found = {"python": platform.python_version()}
    kinds = program.linker.calls.kinds
    for kind in kinds:
        found[kind.node.__module__.partition(".")[0]] = kind.identity.version
    if any(kind.torch for kind in kinds):
        found["torch"] = _version("torch")
    return {name: version for name, version in sorted(found.items()) if version}


@lru_cache(maxsize=8)
def _version(distribution: str) -> str:
    """The version of what this process runs: another may be installed while it does."""
    return version_of(distribution)


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], *, but: Collection[str] = ()
) -> Iterable[str]:
    """What two provenances differ in, one line for each.

    Args:
        one: What a picture says of where it came from.
        other: What another one says.
        but: What to leave out, such as `inputs`.
    """
    if _resolves(one, "device", "dtype") and _resolves(other, "device", "dtype"):
        but = {*but, "settings.device", "settings.dtype"}  # only what they came to matters
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name), other.get(name)
        if a == b or name in but:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping) and name != "workflow":
            old, new = cast(Mapping[str, Any], a), cast(Mapping[str, Any], b)
            for key in dict.fromkeys([*old, *new]):
                a, b = old.get(key), new.get(key)
                if a == b or f"{name}.{key}" in but:
                    continue
                if name == "files":
                    yield f"file {key}: {_read(a)} -> {_read(b)}"
                else:
                    yield f"{name}.{key}: {_said(a)} -> {_said(b)}"
        elif name == "workflow":
            yield "workflow: the text differs"
        else:
            yield f"{name}: {_said(a)} -> {_said(b)}"


def _resolves(told: Mapping[str, Any], *names: str) -> bool:
    computed = told.get("computed")
    return isinstance(computed, Mapping) and all(name in computed for name in names)


def _read(digest: Any) -> str:  # noqa: ANN401 - JSON data
    return "not read" if digest is None else str(digest)[:12]


def _said(value: Any) -> str:  # noqa: ANN401 - JSON data
    return "nothing" if value is None else str(value)

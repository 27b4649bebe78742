"""Pictures as workflows: what a picture was made by, and what differs here from there."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import click

from graphdiff.engine.plan import Finder
from graphdiff.engine.program import PointInputs, Program
from graphdiff.engine.provenance import provenance
from graphdiff.engine.session import Session
from graphdiff.graph.spec import MISSING, Element, Graph, Loop, Part, WorkflowError
from graphdiff.graph.workflow import Workflow
from graphdiff.graph.yaml import draft, draft_text
from graphdiff.picture import extract
from graphdiff.shipped import shipped_workflows


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture says of where it came from.

    Args:
        workflow: The workflow that made it.
        inputs: The inputs that it was made with, as far as they are not the workflow's defaults.
        settings: Device, dtype and the like, as they were asked for.
        computed: The device and dtype that these came to, where it says so.
        files: The SHA-256 of each file that was read, by the end of its path.
        versions: The versions of what computed it.
    """

    workflow: Workflow
    inputs: Mapping[str, Any]
    settings: Mapping[str, str]
    computed: Mapping[str, str]
    files: Mapping[str, str]
    versions: Mapping[str, str]


def open_picture(path: Path) -> Picture:
    """The workflow and inputs that a picture was made by.

    Raises:
        OSError: the file cannot be read.
        ValueError: the picture does not say where it came from.
    """
    told = extract(path)
    if told is None:
        raise ValueError(
            f"{path}: the picture carries no workflow: graphdiff did not write it, or it was "
            "written with --no-metadata or saved again by a program that drops such notes"
        )
    main, sources = _texts(told, path)
    workflow = _workflow(main, sources, path.absolute().parent)
    inputs = {
        name: _given(name, value, path)
        for name, value in _mapping(told, "inputs").items()
        if name in workflow.graph.inputs
        and not _is_default(value, workflow.graph.inputs[name].default)
    }
    versions = {"graphdiff": str(told.get("graphdiff", ""))}
    versions |= {name: str(value) for name, value in _mapping(told, "versions").items()}
    settings, computed, files = (_strings(told, n) for n in ("settings", "computed", "files"))
    return Picture(workflow, inputs, settings, computed, files, versions)


def settings_here(picture: Picture) -> dict[str, Any]:
    """The picture's device, dtype and the like, as far as this machine can compute so."""
    from graphdiff.checkpoints.devices import resolve_device, resolve_dtype
    from graphdiff.checkpoints.errors import CheckpointError

    device, dtype = (picture.settings.get(name, "auto") for name in ("device", "dtype"))
    best = resolve_device()
    if device not in ("cpu", best):
        device = "auto"
    try:
        resolve_dtype(dtype, best if device == "auto" else resolve_device(device))
    except CheckpointError:
        dtype = "auto"
    return {"device": device, "dtype": dtype, "compile": "compile" in picture.settings}


def say_differences(picture: Picture, session: Session, inputs: Mapping[str, Any]) -> None:
    """Say on stderr what differs here from where a picture was made."""
    try:
        here = _here(picture.workflow, session, inputs)
    except WorkflowError:
        return  # the run, which comes next, says what is wrong
    for line in differences(picture, here):
        click.echo(f"differs here: {line}", err=True)


def differences(picture: Picture, here: Mapping[str, Any]) -> Iterator[str]:
    """What differs here from where a picture was made, one line for each.

    Args:
        picture: The picture.
        here: What a picture that is made here would say.
    """
    versions = {"graphdiff": here["graphdiff"], **here["versions"]}
    for name, there in picture.versions.items():
        if there != (now := versions.get(name, "")):
            yield f"{name} is {now or 'not used'}, and was {there or 'not used'}"
    computed: Mapping[str, str] = here["computed"]
    asked: Mapping[str, str] = here["settings"]
    for name in dict.fromkeys([*picture.settings, *picture.computed]):
        resolved = name in picture.computed and name in computed
        was = picture.computed if resolved else picture.settings
        is_now = computed if resolved else asked
        if name in was and was[name] != is_now.get(name):
            yield f"{name} is {is_now.get(name, 'not set')}, and was {was[name]}"
    files: Mapping[str, str] = here["files"]
    for name, there in picture.files.items():
        if name in files and files[name] != there:
            yield f"{name} holds other bytes ({files[name][:12]}, and was {there[:12]})"
        elif there not in files.values():
            yield f"{name} ({there[:12]}) is not read"
    known = picture.files.values()
    for name, now in files.items():
        if name not in picture.files and now not in known:
            yield f"{name} ({now[:12]}) is read, and was not"


def _here(workflow: Workflow, session: Session, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a picture that is made here would say."""
    whole, registry = session.load(workflow)
    program = Program(
        whole,
        [PointInputs(inputs)],
        registry=registry,
        settings=session.settings,
        value_of=Finder(session.store, None).value_of,
    )
    program.advance()
    return provenance(program, program.points[0], session.settings.told())


def _texts(told: Mapping[str, Any], path: Path) -> tuple[str, Mapping[str, str]]:
    workflow = _mapping(told, "workflow")
    sources = {str(name): str(text) for name, text in _mapping(workflow, "sources").items()}
    main = str(workflow.get("main", ""))
    if main not in sources:
        raise ValueError(
            f"{path}: the picture was made by a workflow that was built in Python and holds values "
            "that no file can: run that program again"
        )
    return main, sources


def _workflow(main: str, sources: Mapping[str, str], beside: Path) -> Workflow:
    """The workflow of these texts; its paths are relative to where the same texts lie here."""
    here = Path.cwd()
    shipped = {path.parent for path in shipped_workflows().values()}
    for folder in (here, beside, beside.parent, *shipped):
        if all(_holds(folder / name, text) for name, text in sources.items()):
            return draft(folder / main)
    if len(sources) == 1:
        return draft_text(sources[main], file=main, folder=here)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve().joinpath(*["in"] * _depth(sources))
        for name, text in sources.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        read = draft_text(sources[main], file=main, folder=folder)
    return replace(read, graph=_moved(read.graph, folder, here))


def _holds(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8").removeprefix("\ufeff") == text
    except (OSError, UnicodeDecodeError):
        return False


def _depth(sources: Mapping[str, str]) -> int:
    """How deep the main file must lie so that all others have a place, `../` in their names."""
    for name in sources:
        if PurePosixPath(name).is_absolute():
            raise ValueError(f"the picture's workflow includes a file by its whole path: {name}")
    return max(PurePosixPath(name).parts.count("..") for name in sources)


def _moved(graph: Graph, old: Path, new: Path) -> Graph:
    """A graph whose paths are relative to `new` where they were to `old`."""

    def element(item: Element) -> Element:
        if isinstance(item, Loop):
            return replace(item, nodes={name: element(inner) for name, inner in item.nodes.items()})
        return replace(item, graph=_moved(item.graph, old, new)) if isinstance(item, Part) else item

    folder = graph.folder and Path(os.path.normpath(new / os.path.relpath(graph.folder, old)))
    nodes = {name: element(item) for name, item in graph.nodes.items()}
    return replace(graph, nodes=nodes, folder=folder)


def _given(name: str, value: Any, path: Path) -> Any:  # noqa: ANN401 - JSON data
    if isinstance(value, str) and re.fullmatch(r"<\w+ [0-9a-f]{16}>", value):
        raise ValueError(
            f"{path}: the input {name} was {value}, a value that a program gave and no picture can "
            "hold: run that program again"
        )
    return value


def _is_default(value: Any, default: Any) -> bool:  # noqa: ANN401 - JSON data
    """A default is left to the workflow, which knows the folder that a path in it starts from."""
    return default is not MISSING and type(value) is type(default) and value == default


def _mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _strings(told: Mapping[str, Any], name: str) -> dict[str, str]:
    return {key: str(value) for key, value in _mapping(told, name).items()}

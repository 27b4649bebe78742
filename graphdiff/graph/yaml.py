"""Workflow files: text to a graph, with every mistake in its writing and where it stands."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from graphdiff.graph.dump import dump
from graphdiff.graph.places import FilePlaces
from graphdiff.graph.reader import read_source
from graphdiff.graph.source import Source, read_text
from graphdiff.graph.spec import Diagnostic, Graph, WorkflowError
from graphdiff.graph.workflow import Workflow

__all__ = ["draft", "draft_text", "dump", "parse", "read"]

_MAX_INCLUDES: Final = 30


def read(path: Path | str) -> Workflow:
    """A workflow file, with the parts it includes by path.

    Raises:
        WorkflowError: with every mistake in how it is written.
    """
    return _sound(draft(path))


def parse(text: str, *, file: str = "<text>", folder: Path | None = None) -> Workflow:
    """The text of a workflow file.

    Args:
        text: The text.
        file: What to call it in messages.
        folder: What its paths are relative to.

    Raises:
        WorkflowError: with every mistake in how it is written.
    """
    return _sound(draft_text(text, file=file, folder=folder))


def draft(path: Path | str) -> Workflow:
    """What could be read of a file, with the mistakes in it, for a report that has all of them.

    Raises:
        WorkflowError: it is no text file.
    """
    path = Path(path)
    workflow = draft_text(read_text(path), file=str(path), folder=path.absolute().parent)
    return replace(workflow, file=path)


def draft_text(text: str, *, file: str = "<text>", folder: Path | None = None) -> Workflow:
    """What could be read of a text, with the mistakes in it."""
    name = Path(file).name
    files = _Files(folder or Path(), Path(file).parent)
    main = (folder / name).resolve() if folder is not None else None
    loaded = files.load(Source(text.removeprefix("\ufeff"), file), folder, main, name)
    mistakes = in_file_order(files.mistakes, file)
    return Workflow(loaded[0], loaded[1], files.sources, None, mistakes)


def in_file_order(
    mistakes: Iterable[Diagnostic], first: str | None = None
) -> tuple[Diagnostic, ...]:
    """The mistakes of each file from top to end; the file `first` is the first."""
    files: dict[str | None, int] = {first: 0}

    def position(mistake: Diagnostic) -> tuple[int, int, int]:
        place = mistake.place
        if place is None:
            return -1, 0, 0
        return files.setdefault(place.file, len(files)), place.line, place.column

    return tuple(sorted(mistakes, key=position))


def _sound(workflow: Workflow) -> Workflow:
    if workflow.mistakes:
        raise WorkflowError(workflow.mistakes)
    return workflow


class _Files:
    """The files of one workflow, each read once."""

    def __init__(self, folder: Path, shown: Path) -> None:
        self.folder = folder
        self.shown = shown
        self.sources: dict[str, str] = {}
        self.mistakes: list[Diagnostic] = []
        self.known: dict[Path, tuple[Graph, FilePlaces]] = {}
        self.chain: list[tuple[Path, str]] = []

    def load(
        self, source: Source, folder: Path | None, path: Path | None, name: str
    ) -> tuple[Graph, FilePlaces]:
        self.sources[name] = source.text
        if path is not None:
            self.chain.append((path, source.file))
        try:
            graph, places, mistakes = read_source(source, folder, self.include)
        finally:
            if path is not None:
                self.chain.pop()
        self.mistakes += mistakes
        loaded = graph, places
        if path is not None:
            self.known[path] = loaded
        return loaded

    def include(self, written: str, folder: Path | None) -> tuple[Graph, FilePlaces]:
        """The part at a path that is written in a file in `folder`.

        Raises:
            WorkflowError: it cannot be read, or includes itself; without places.
        """
        path = ((folder or self.folder) / Path(written).expanduser()).resolve()
        if path in self.known:
            return self.known[path]
        files = [known for known, _ in self.chain]
        if path in files:
            names = [file for _, file in self.chain[files.index(path) :]]
            message = f"a workflow includes itself: {' -> '.join([*names, names[0]])}"
            raise WorkflowError((Diagnostic("recursive-part", message),))
        if len(self.chain) >= _MAX_INCLUDES:
            message = f"workflows include each other more than {_MAX_INCLUDES} deep"
            raise WorkflowError((Diagnostic("too-deep", message),))
        relative = os.path.relpath(path, self.folder.resolve())
        text = read_text(path)
        source = Source(text, os.path.normpath(self.shown / relative))
        return self.load(source, path.parent, path, Path(relative).as_posix())

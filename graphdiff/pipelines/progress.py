"""The bar that a call of a pipeline shows, where somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from graphdiff.engine.events import Event, LoopProgress, NodeFinished, Watcher

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class BarConfig:
    """How a pipeline shows how far it is, in tqdm's words.

    Args:
        disable: Whether there is no bar; None for none where there is no terminal.
        desc: What stands before it.
        leave: Whether it stays when the call is over.
        file: Where it is written; stderr where None.
        ncols: How many columns the line has; as many as the terminal where None.
    """

    disable: bool | None = None
    desc: str | None = None
    leave: bool = True
    file: TextIO | None = None
    ncols: int | None = None


@contextmanager
def shown(config: BarConfig, count: Callable[[], int]) -> Generator[Watcher]:
    """A bar while a block lasts, and what is to be told of a run's events.

    Without a terminal, or a notebook, nothing is written.

    Args:
        config: How it looks.
        count: Says how many steps there are, once a callback has been called: a loop that may end
            early tells nothing of its passes.
    """
    bar = _Bar(config, count)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """Watches the denoising loop; the bar is there from its first step on."""

    def __init__(self, config: BarConfig, count: Callable[[], int]) -> None:
        self._config = config
        self._count = count
        self._called = 0
        self._bar: Progress | None = None
        self._task: Any = None
        self._is_off = bool(config.disable)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case LoopProgress(done=done, total=total):
                self._show(done, total)
            case NodeFinished(type="CallbackOnStepEnd"):
                self._called += 1
                self._show(self._called, self._count())
            case _:
                pass

    def _show(self, done: int, total: int | None) -> None:
        if self._is_off:
            return
        if self._bar is None:
            self._bar = _bar(self._config)
            if self._bar is None:
                self._is_off = True
                return
            self._task = self._bar.add_task(self._config.desc or "", total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar away, or leave it as it is."""
        if self._bar is not None:
            self._bar.stop()


def _bar(config: BarConfig) -> Progress | None:
    """A bar, or None where nobody looks."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=config.file is None, file=config.file, width=config.ncols)
    if not console.is_terminal and not console.is_jupyter:
        return None
    return Progress(
        *([TextColumn("{task.description}")] if config.desc else []),
        TaskProgressColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=not config.leave,
    )

"""Progress for people, on stderr: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import click

from graphdiff.cli.pace import Pace
from graphdiff.engine.events import (
    Event,
    LoopProgress,
    NodeFailed,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_SECONDS = 5.0  # between two plain lines about one loop
_WORTH_A_LINE = 0.1  # seconds: quicker calls are not reported one by one
_MOST_BARS = 8  # with more loops than that, those that are done make room
_PASS = re.compile(r"\[\d+\]")


class Reporter(Protocol):
    """Something that shows a run's events while a `with` block lasts."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def __call__(self, event: Event) -> None:
        """Show an event."""
        ...

    def tell(self, text: str) -> None:
        """Show a line between what events show."""
        ...


def reporter() -> Reporter:
    """Bars where stderr is a terminal, else lines."""
    return Bars() if sys.stderr.isatty() else Lines()


class Lines:
    """One line for each call that took time, and now and then one for a loop."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}
        self._paces: dict[str, Pace] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case LoopProgress(loop, done, total):
                self._loop(loop, done, total)
            case NodeFinished(node, kind, seconds) if seconds >= _WORTH_A_LINE and "[" not in node:
                self.tell(f"{node} ({kind}) {seconds:.2f} s")
            case NodeFailed(error=error):
                self.tell(f"error: {error}")
            case _:
                pass

    def tell(self, text: str) -> None:
        """Show a line."""
        click.echo(text, err=True)

    def _loop(self, loop: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        rate = self._paces.setdefault(loop, Pace()).passed(now)
        shown = self._shown.setdefault(loop, now)
        if done == total or now - shown >= _LINE_SECONDS:
            self._shown[loop] = now
            said = f", {rate:.1f} a second" if rate else ""
            self.tell(f"{loop} {done}{f'/{total}' if total else ''} steps{said}")


class Bars:
    """A bar for each loop, with steps, rate and time left, and a line for what else runs now."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, Pace] = {}
        self._free: dict[str, TaskID] = {}  # bars of loops that ended, by name without passes
        self._now: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            if self._now is not None:
                self._bars.remove_task(self._now)
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case RunStarted(run=run) if run:
                self._start()
            case NodeStarted(node, kind) if "[" not in node:
                self._show(f"{node} ({kind})")
            case LoopProgress(loop, done, total):
                self._loop(loop, done, total)
            case NodeFailed(error=error):
                self.tell(f"error: {error}", style="red")
            case RunFinished():
                self._show("")
            case _:
                pass

    def tell(self, text: str, style: str = "") -> None:
        """Show a line above the bars."""
        if self._bars is not None:
            self._bars.console.print(text, style=style, markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def _start(self) -> Progress:
        if self._bars is None:
            from graphdiff.cli.bars import bars

            self._bars = bars()
            self._bars.start()
        return self._bars

    def _loop(self, loop: str, done: int, total: int | None) -> None:
        bars = self._start()
        self._show("")
        kind = _PASS.sub("[]", loop)
        if loop not in self._tasks:
            free = self._free.pop(kind, None)
            if free is None:
                self._tasks[loop] = bars.add_task(loop, total=total, counted=True, rate=None)
            else:
                self._tasks[loop] = free
                bars.reset(free, total=total, description=loop)
        task = self._tasks[loop]
        rate = self._paces.setdefault(loop, Pace()).passed(time.monotonic())
        bars.update(task, completed=done, total=total, rate=rate)
        if done == total:
            if kind != loop:  # the same loop in the next pass of an outer one takes the bar over
                self._free[kind] = task
            bars.update(task, visible=len(self._tasks) <= _MOST_BARS or kind != loop)

    def _show(self, text: str) -> None:
        if self._bars is None:
            return
        if self._now is None:
            self._now = self._bars.add_task(text, total=None, counted=False, rate=None)
        self._bars.update(self._now, description=text, visible=bool(text))

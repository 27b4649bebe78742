"""Progress for people, on stderr: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import click

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


def reporter() -> Reporter:
    """Bars where stderr is a terminal, else lines."""
    return Bars() if sys.stderr.isatty() else Lines()


class Lines:
    """One line for each call that took time, and now and then one for a loop."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case LoopProgress(loop, done, total):
                self._loop(loop, done, total)
            case NodeFinished(node, kind, seconds) if seconds >= _WORTH_A_LINE and "[" not in node:
                self._say(f"{node} ({kind}) {seconds:.2f} s")
            case NodeFailed(node, kind, error):
                self._say(f"{node} ({kind}) failed: {error}")
            case _:
                pass

    def _loop(self, loop: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        began = self._began.setdefault(loop, now)
        shown = self._shown.setdefault(loop, now)
        if done == total or now - shown >= _LINE_SECONDS:
            self._shown[loop] = now
            rate = (
                f", {(done - 1) / (now - began):.1f} a second" if done > 1 and now > began else ""
            )
            self._say(f"{loop} {done}{f'/{total}' if total else ''} steps{rate}")

    @staticmethod
    def _say(text: str) -> None:
        click.echo(text, err=True)


class Bars:
    """A bar for each loop, with steps, rate and time left, and a line for what else runs now."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._now: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
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
            case NodeFailed(node, kind, error):
                self._say(f"{node} ({kind}) failed: {error}")
            case RunFinished():
                self._show("")
            case _:
                pass

    def _start(self) -> Progress:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                ProgressColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.text import Text

            class Rate(ProgressColumn):
                """Steps a second, or seconds a step where that reads better."""

                def render(self, task: Any) -> Text:  # noqa: ANN401 - rich's own task
                    speed = task.finished_speed or task.speed
                    if not speed:
                        return Text("")
                    return Text(f"{speed:.1f} it/s" if speed >= 1 else f"{1 / speed:.1f} s/it")

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=False,
            )
            self._bars.start()
        return self._bars

    def _loop(self, loop: str, done: int, total: int | None) -> None:
        bars = self._start()
        if loop not in self._tasks:
            self._tasks[loop] = bars.add_task(loop, total=total)
        bars.update(self._tasks[loop], completed=done, total=total)

    def _show(self, text: str) -> None:
        if self._bars is None:
            return
        if self._now is None:
            self._now = self._bars.add_task(text, total=None)
        self._bars.update(self._now, description=text, visible=bool(text))

    def _say(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(text, style="red", markup=False, highlight=False)
        else:
            click.echo(text, err=True)

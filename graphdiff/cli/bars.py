"""How a bar looks: its name, how far it is, its rate, and the time gone and left."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text


def bars() -> Progress:
    """Bars on stderr; a task whose field `counted` is false is a line without a bar."""
    return Progress(
        TextColumn("{task.description}"),
        Counted(BarColumn()),
        Counted(MofNCompleteColumn()),
        Counted(Rate()),
        Times(),
        console=Console(stderr=True),
    )


class Counted(ProgressColumn):
    """A column that only tasks with steps have."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        """The column, or nothing."""
        return self._column(task) if task.fields["counted"] else Text("")


class Rate(ProgressColumn):
    """Steps a second, or seconds a step where that reads better."""

    def render(self, task: Task) -> Text:
        """The rate."""
        speed: float | None = task.fields["rate"]
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} it/s" if speed >= 1 else f"{1 / speed:.1f} s/it")


class Times(ProgressColumn):
    """The time gone, and the time left."""

    def render(self, task: Task) -> Text:
        """Both as minutes and seconds."""
        gone = task.finished_time if task.finished else task.elapsed
        text = Text(_clock(gone or 0), style="progress.elapsed")
        rate: float | None = task.fields["rate"]
        if not task.finished and rate and task.remaining is not None:
            text.append(f" < {_clock(task.remaining / rate)} left", style="progress.remaining")
        return text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

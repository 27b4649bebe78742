"""Toy nodes of every kind, for tests that know nothing of diffusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from annotated_types import Ge, Le

from graphdiff.graph.check import check
from graphdiff.graph.node import InputFile, OutputFile, node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Diagnostic
from graphdiff.graph.yaml import draft_text

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class Photo(Picture):
    """A picture of another class."""


@dataclass(frozen=True)
class Sound:
    samples: tuple[float, ...]


@dataclass(frozen=True)
class Tick:
    number: int


@dataclass(frozen=True)
class Plan:
    ticks: tuple[Tick, ...]

    def __iter__(self) -> Iterator[Tick]:
        return iter(self.ticks)


class Mode(Enum):
    SOFT = "soft"
    HARD = "hard"


class Pair(NamedTuple):
    picture: Picture
    sound: Sound


class Walked(NamedTuple):
    total: int
    history: Picture | None


class Checked(NamedTuple):
    total: int
    done: bool


@node
def One() -> int:
    """Give 1."""
    return 1


@node
def Half() -> float:
    """Give a half."""
    return 0.5


@node
def Add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


@node
def Scale(value: float, factor: Annotated[float, Ge(0), Le(10)] = 1.0) -> float:
    """Multiply."""
    return value * factor


@node(renamed={"colour": "color"})
def Paint(size: Annotated[int, Ge(1)], color: Literal["red", "green"] = "red") -> Picture:
    """Paint a picture.

    Args:
        size: How large, in pixels.
        color: With what.
    """
    return Picture((size, len(color)))


@node
def TakePhoto(size: int = 1) -> Photo:
    """Take a photo."""
    return Photo((size,))


@node
def Hear(length: int = 1) -> Sound:
    """Make a sound."""
    return Sound((0.0,) * length)


@node
def Film(picture: Picture, mode: Mode = Mode.SOFT) -> Pair:
    """A picture and a sound."""
    return Pair(picture, Sound(()))


@node
def Mix(pictures: Sequence[Picture], weights: Mapping[str, float] | None = None) -> Picture:
    """One picture of several."""
    return pictures[0]


@node(at="plan")
def MakePlan(steps: int) -> Plan:
    """So many ticks."""
    return Plan(tuple(Tick(i) for i in range(steps)))


@node
def Walk(tick: Tick, total: int, history: Picture | None = None) -> Walked:
    """A step."""
    return Walked(total + tick.number, history)


@node
def Far(total: int, limit: int = 10) -> Checked:
    """Whether it is far enough."""
    return Checked(total + 1, total >= limit)


@node
def Same(value: T) -> T:
    """What it is given."""
    return value


@node
def First(items: list[T]) -> T:
    """The first of a list."""
    return items[0]


@node
def Read(path: InputFile) -> str:
    """Read a file."""
    return path.read_text()


@node(effect=True)
def Save(picture: Picture, path: OutputFile = "picture.txt") -> Path:
    """Write a picture."""
    return Path(path)


@node
def Anything(value: Any) -> str:
    """The value as text."""
    return str(value)


NODES = (
    One,
    Half,
    Add,
    Scale,
    Paint,
    TakePhoto,
    Hear,
    Film,
    Mix,
    MakePlan,
    Walk,
    Far,
    Same,
    First,
    Read,
    Save,
    Anything,
)
REGISTRY = Registry.of(*NODES)


def mistakes(text: str, registry: Registry = REGISTRY) -> list[Diagnostic]:
    """Every mistake of a file."""
    return list(check(draft_text("graphdiff: 1\n" + text, file="w.yaml"), registry))


def codes(text: str, registry: Registry = REGISTRY) -> list[str]:
    """The codes of every mistake of a file."""
    return [mistake.code for mistake in mistakes(text, registry)]

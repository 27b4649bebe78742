"""Handles: what stands for a result while a graph is built, and refuses what only values can."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, Protocol

from graphdiff.graph.names import did_you_mean


class HandleError(TypeError):
    """A handle was used as if it were the value, which exists only when the graph runs."""


class Origin(Protocol):
    """What a handle is the result of: a call, a loop, an input, ..."""

    def outputs(self, tail: tuple[str, ...]) -> Iterable[str]:
        """The names that may follow."""
        ...

    def describe(self) -> str:
        """How messages call it."""
        ...


class Handle:
    """Stands for a value of the graph that is being built; type checkers see the value's type."""

    __slots__ = ("_origin", "_tail")

    def __init__(self, origin: Any, tail: tuple[str, ...] = ()) -> None:  # noqa: ANN401
        self._origin = origin
        self._tail = tail

    def __getattr__(self, name: str) -> Handle:
        if name.startswith("__"):
            raise AttributeError(name)
        names = list(self._origin.outputs(self._tail))
        if name in names:
            return Handle(self._origin, (*self._tail, name))
        what = describe(self)
        if not names:
            raise AttributeError(
                f"{what} has no .{name} while the graph is built: use its parts inside of a node"
            )
        hint = did_you_mean(name, names)
        raise AttributeError(f"{what} has no output {name}" + (f": {hint}" if hint else ""))

    def __repr__(self) -> str:
        return f"<{describe(self)}>"

    __hash__ = object.__hash__


def describe(handle: Handle) -> str:
    """How messages call a handle: `the result of TextEncode`."""
    origin, tail = handle._origin, handle._tail  # pyright: ignore[reportPrivateUsage]
    name: str = origin.describe()
    return name + "".join(f".{part}" for part in tail)


def parts(handle: Handle) -> tuple[Any, tuple[str, ...]]:
    """What a handle is made of."""
    return handle._origin, handle._tail  # pyright: ignore[reportPrivateUsage]


_REFUSED: Final = {
    "tested for truth": (("__bool__",), "use If(test, then, otherwise), or do it in a node"),
    "iterated over": (("__iter__", "__next__", "__reversed__"), "use Loop(over=...)"),
    "measured": (("__len__",), "do it in a node"),
    "compared": (
        ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__"),
        "do it in a node",
    ),
    "indexed": (("__getitem__", "__setitem__"), "do it in a node"),
    "made into text": (
        ("__str__", "__format__"),
        'use text("{}.png", value), which inserts it when the graph runs',
    ),
    "made into a number": (
        ("__int__", "__float__", "__index__", "__complex__", "__round__"),
        "do it in a node",
    ),
    "computed with": (
        (
            *(
                f"__{side}{name}__"
                for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
                for side in ("", "r")
            ),
            *("__neg__", "__pos__", "__abs__", "__and__", "__or__", "__invert__"),
        ),
        "do it in a node",
    ),
    "called": (("__call__",), "do it in a node"),
}


def _refusal(done: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: Handle, *_: object) -> NoReturn:
        raise HandleError(f"{describe(self)} cannot be {done} while the graph is built: {instead}")

    return refuse


for _done, (_names, _instead) in _REFUSED.items():
    for _name in _names:
        setattr(Handle, _name, _refusal(_done, _instead))

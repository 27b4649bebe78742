"""A placed frame -> where the names of outputs stand beside their wires, clear of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from graphdiff.drawing.layout import Placed, Point, Wire

CHARACTER = 5.6  # mean width of a character of a label, in pixels
HEIGHT = 12.0
_BESIDE = 5.0
_PLACES = (0.72, 0.6, 0.48, 0.84, 0.36, 0.24, 0.12)  # along a curve, the best first
_CELL = 24.0
_OVER_BOX = 100.0  # to cover a box or another label is as bad as to cover this many points of wires

Rect = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Label:
    """A label's text, and the left end of its baseline."""

    text: str
    x: float
    y: float


def labels(frame: Placed) -> list[Label]:
    """The labels of a frame's wires, each near its wire's end if there is room."""
    taken = [_rect(inner) for inner in frame.inside]
    taken += [(x - 5, y - 9, x + 5, y) for x, y in (wire.points[-1] for wire in frame.wires)]
    ink = _Ink(frame.wires)
    found: list[Label] = []
    for wire in frame.wires:
        text = wire.edge.label
        if not text:
            continue
        width = len(text) * CHARACTER

        def cost(rect: Rect) -> float:
            left, _, right, _ = rect
            outside = max(frame.x + 3 - left, 0) + max(right - frame.x - frame.width + 3, 0)
            covered = sum(_overlap(rect, other) for other in taken)
            return ink.within(rect) + covered * _OVER_BOX + outside

        best = min(_candidates(wire, width), key=cost)
        taken.append(best)
        found.append(Label(text, best[0], best[3] - 3))
    return found


def _candidates(wire: Wire, width: float) -> Iterator[Rect]:
    """Places beside a wire, from its end to its beginning, right of it and left."""
    for start, end in reversed(list(pairwise(wire.points))):
        for place in _PLACES:
            x, y = _on_curve(start, end, place)
            top, bottom = y - HEIGHT / 2, y + HEIGHT / 2
            yield x + _BESIDE, top, x + _BESIDE + width, bottom
            yield x - _BESIDE - width, top, x - _BESIDE, bottom


def _on_curve(start: Point, end: Point, t: float) -> Point:
    """A point of the curve that is drawn between two points: it leaves and arrives upright."""
    (x0, y0), (x1, y1) = start, end
    ease = t * t * (3 - 2 * t)
    bend = 3 * t * (1 - t) * 0.5 + t * t * t  # of a Bézier curve whose handles are half its height
    return x0 + (x1 - x0) * ease, y0 + (y1 - y0) * bend


class _Ink:
    """Where wires run, as points in cells, so that those in a rectangle are found quickly."""

    def __init__(self, wires: tuple[Wire, ...]) -> None:
        self._cells: dict[tuple[int, int], list[Point]] = {}
        for wire in wires:
            for start, end in pairwise(wire.points):
                length = abs(end[0] - start[0]) + abs(end[1] - start[1])
                count = max(int(length / 5), 1)
                for i in range(count + 1):
                    x, y = _on_curve(start, end, i / count)
                    self._cells.setdefault((int(x // _CELL), int(y // _CELL)), []).append((x, y))

    def within(self, rect: Rect) -> int:
        """How many points of wires a rectangle covers."""
        left, top, right, bottom = rect
        return sum(
            left - 2 <= x <= right + 2 and top <= y <= bottom
            for column in range(int((left - 2) // _CELL), int((right + 2) // _CELL) + 1)
            for row in range(int(top // _CELL), int(bottom // _CELL) + 1)
            for x, y in self._cells.get((column, row), ())
        )


def _rect(placed: Placed) -> Rect:
    return placed.x - 2, placed.y - 2, placed.x + placed.width + 2, placed.y + placed.height + 2


def _overlap(one: Rect, other: Rect) -> bool:
    apart_x = one[2] <= other[0] or other[2] <= one[0]
    return not apart_x and one[1] < other[3] and other[1] < one[3]

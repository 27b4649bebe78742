"""A placed scene -> SVG."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from html import escape

from graphdiff.drawing.labels import labels
from graphdiff.drawing.layout import LINE, PADDING, Placed, Point

_FILLS = {
    "": "#ffffff",
    "run": "#fff1d6",
    "mixed": "#fff8ea",
    "cached": "#e3f2e5",
    "skip": "#f2f2f2",
    "changed": "#fde0dc",
}
_FRAME_FILLS = {
    "": "#fafbfc",
    "run": "#fffbf3",
    "mixed": "#fffbf3",
    "cached": "#f5fbf6",
    "skip": "#fafafa",
    "changed": "#fff7f6",
}
_STROKES = {
    "mixed": "#c77d0a",
    "skip": "#b5b5b5",
    "changed": "#c0392b",
    "run": "#c77d0a",
    "cached": "#3f8f4f",
}
_LEGEND = {
    "run": "runs",
    "mixed": "runs in part",
    "cached": "cached",
    "skip": "not needed",
    "changed": "changed",
}
_STYLE = (
    "text{font-family:ui-sans-serif,system-ui,'DejaVu Sans',sans-serif;font-size:12px;"
    "fill:#1f2430}"
    ".t{font-weight:600}.s{fill:#5b6270;font-size:11px}"
    ".w{fill:none;stroke:#8a93a3;stroke-width:1.3}"
    ".l{fill:#6b7382;font-size:10px;stroke:#fafbfc;stroke-width:3px;paint-order:stroke}"
)


def svg(placed: Placed) -> str:
    """The drawing as one SVG document."""
    statuses = [s for s in _LEGEND if s in set(_statuses(placed))]
    margin = 12.0
    height = placed.height + 2 * margin + (26 if statuses else 0)
    width = placed.width + 2 * margin
    body = "\n".join(_elements(placed.moved(margin, margin), outermost=True))
    legend = "\n".join(_legend(statuses, margin, placed.height + 2 * margin))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">\n<style>{_STYLE}</style>\n'
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#8a93a3"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n{legend}\n</svg>\n'
    )


def _statuses(placed: Placed) -> Iterator[str]:
    yield placed.box.status
    for inner in placed.inside:
        yield from _statuses(inner)


def _legend(statuses: list[str], x: float, y: float) -> Iterator[str]:
    for status in statuses:
        stroke = _STROKES.get(status, "#8a93a3")
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="14" height="14" rx="3" '
            f'fill="{_FILLS[status]}" stroke="{stroke}"/>'
            f'<text class="s" x="{x + 20:.1f}" y="{y + 11:.1f}">{_LEGEND[status]}</text>'
        )
        x += 40 + 7 * len(_LEGEND[status])


def _elements(placed: Placed, *, outermost: bool = False) -> Iterator[str]:
    box = placed.box
    frame = bool(placed.inside)
    fill = (_FRAME_FILLS if frame else _FILLS)[box.status]
    stroke = _STROKES.get(box.status, "#8a93a3")
    dash = ' stroke-dasharray="5 3"' if box.kind == "loop" or box.status == "skip" else ""
    radius = 14 if box.kind == "port" else 7
    border = "none" if outermost else stroke
    yield (
        f'<g><title>{escape(box.title)}</title><rect x="{placed.x:.1f}" y="{placed.y:.1f}" '
        f'width="{placed.width:.1f}" height="{placed.height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{border}" stroke-width="1.3"{dash}/></g>'
    )
    if frame:
        yield _text(placed.x + PADDING, placed.y + 19, box.title, "t")
        for number, line in enumerate(box.lines, 1):
            yield _text(placed.x + PADDING, placed.y + 19 + number * LINE, line, "s")
        for wire in placed.wires:
            yield f'<path class="w" d="{_curve(wire.points)}" marker-end="url(#a)"/>'
        for label in labels(placed):
            yield _text(label.x, label.y, label.text, "l")
        for inner in placed.inside:
            yield from _elements(inner)
        return
    middle = placed.x + placed.width / 2
    y = placed.y + PADDING + 12
    yield _text(middle, y, box.title, "t", anchor="middle")
    for line in box.lines:
        y += LINE
        yield _text(middle, y, line, "s", anchor="middle")


def _curve(points: tuple[Point, ...]) -> str:
    parts = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        bend = (y1 - y0) / 2
        parts.append(f"C{x0:.1f},{y0 + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1:.1f}")
    return " ".join(parts)


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )

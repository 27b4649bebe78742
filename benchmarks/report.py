"""What was measured, as a table, as JSON and as a plot."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.rounds import Row

_LAST = ("floor", "goal", "")
_ROW, _LABEL, _BARS = 22, 380, 420  # heights and widths in the plot, in pixels


def table(rows: Sequence[Row]) -> str:
    """The rows as text in columns; that of floors where there are any."""
    head = ("benchmark", "case", "unit", "graphdiff", "diffusers", "ratio", "range", *_LAST)
    lines = [head, *(_cells(row) for row in rows)]
    if all(row.floor is None for row in rows):
        floors = head.index("floor")
        lines = [line[:floors] + line[floors + 1 :] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    ranged = "" if row.low is None or row.high is None else f"{row.low:.2f}..{row.high:.2f}"
    verdict = {None: "", True: "met", False: "missed"}[row.met]
    return (
        row.benchmark,
        row.case,
        row.unit,
        f"{row.ours:.4g}",
        "" if row.theirs is None else f"{row.theirs:.4g}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        ranged,
        "" if row.share is None else f"{row.floor:.4g} ({row.share:.0%})",
        "" if row.goal is None else f"{row.goal[0]} {row.goal[1]} {row.goal[2]:g}",
        " ".join(filter(None, (verdict, row.note))),
    )


def document(
    rows: Sequence[Row], *, threads: int = 1, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The rows as JSON data, with the machine that they were measured on.

    Args:
        rows: The rows.
        threads: How many threads computed.
        facts: What else is to be said.
    """
    import torch
    from diffusers import __version__ as diffusers_version

    return {
        "machine": {
            "processor": _processor(),
            "system": platform.system(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers_version,
            "threads": threads,
        },
        **(facts or {}),
        "rows": [row.to_json() for row in rows],
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def plot(rows: Sequence[Row]) -> str:
    """The ratios as an SVG picture: bars of how many times faster, a line at equal."""
    shown = [row for row in rows if row.ratio is not None]
    longest = max([2.0, *(row.ratio or 0 for row in shown)])
    scale = _BARS / longest
    height = _ROW * (len(shown) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _BARS + 80}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="15" font-weight="bold">{escape("diffusers / graphdiff")}</text>',
    ]
    for i, row in enumerate(shown):
        ratio = row.ratio or 0.0
        y = _ROW * (i + 1)
        colour = "#3b7a57" if ratio >= 1 else "#b5523b"
        parts += [
            f'<text x="8" y="{y + 15}">{escape(f"{row.benchmark}: {row.case}")}</text>',
            f'<rect x="{_LABEL}" y="{y + 3}" width="{ratio * scale:.1f}" height="{_ROW - 6}" '
            f'fill="{colour}"/>',
            f'<text x="{_LABEL + ratio * scale + 5:.1f}" y="{y + 15}">{ratio:.2f}</text>',
        ]
    x = _LABEL + scale
    parts += [
        f'<line x1="{x:.1f}" y1="{_ROW}" x2="{x:.1f}" y2="{height - _ROW}" stroke="black" '
        'stroke-dasharray="3 3"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def write(rows: Sequence[Row], folder: Path, name: str) -> tuple[Path, Path]:
    """Write JSON and plot; gives their files."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = folder / f"{name}.json", folder / f"{name}.svg"
    data.write_text(json.dumps(document(rows), indent=2) + "\n", encoding="utf-8")
    picture.write_text(plot(rows), encoding="utf-8")
    return data, picture

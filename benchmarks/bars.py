"""The rows as a PNG: for each, bars of ours and theirs, and a line where the floor is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.rounds import Row

if TYPE_CHECKING:
    from PIL.Image import Image

_ROW, _LABEL, _BARS, _FIGURES = 40, 520, 420, 150  # in pixels
_OURS, _THEIRS, _FLOOR = "#3b7a57", "#b5523b", "#222222"


def bars(rows: Sequence[Row], title: str) -> Image:
    """Draw rows, each on a scale of its own.

    Args:
        rows: The rows.
        title: What stands above.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (_LABEL + _BARS + _FIGURES, _ROW * (len(rows) + 1)), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    draw.text((8, 12), title, fill="black", font=font)
    draw.text((_LABEL, 4), "graphdiff", fill=_OURS, font=font)
    draw.text((_LABEL + 80, 4), "diffusers", fill=_THEIRS, font=font)
    draw.text((_LABEL + 160, 4), "| floor", fill=_FLOOR, font=font)
    for i, row in enumerate(rows, 1):
        top = _ROW * i
        draw.text((8, top + 4), f"{row.benchmark}: {row.case}", fill="black", font=font)
        draw.text((8, top + 20), f"{row.unit}  {row.note}"[:80], fill="#777777", font=font)
        longest = max(row.ours, row.theirs or 0.0, row.floor or 0.0) or 1.0
        for value, colour, offset in ((row.ours, _OURS, 4), (row.theirs, _THEIRS, 20)):
            if value is None:
                continue
            end = _LABEL + max(value, 0.0) / longest * _BARS
            draw.rectangle((_LABEL, top + offset, end, top + offset + 12), fill=colour)
            draw.text((end + 5, top + offset), f"{value:.4g}", fill="black", font=font)
        if row.floor is not None:
            x = _LABEL + row.floor / longest * _BARS
            draw.line((x, top + 2, x, top + _ROW - 4), fill=_FLOOR, width=2)
    return picture

"""A labelled contact sheet of a sweep's pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.paths import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_MARGIN = 8
_FONT_SIZE = 13
_LABEL_LINES = 5
_NARROWEST_CELL = 150  # so that labels of small pictures can be read
_WIDEST_CELL = 512

Cell = tuple[Mapping[str, Any], Path | None]


def write_contact_sheet(cells: Sequence[Cell], target: Path) -> None:
    """Write the pictures of a sweep as one PNG, each under what made it differ.

    With two swept names the second runs from left to right and the first from top to bottom; with
    one, or more than two, pictures follow each other in rows of about a square's width.

    Args:
        cells: For each point its values and its first picture, or None where it failed.
        target: The file; replaced if it is there.

    Raises:
        ValueError: no point gave a picture.
    """
    import io

    from PIL import Image, ImageDraw, ImageFont

    pictures = [_thumbnail(path) if path else None for _, path in cells]
    made = [picture for picture in pictures if picture is not None]
    if not made:
        raise ValueError(f"{target}: no point of the sweep gave a picture to show")
    width = max(_NARROWEST_CELL, *(picture.width for picture in made))
    height = max(picture.height for picture in made)
    font = ImageFont.load_default(_FONT_SIZE)
    labels = [_label(values, width, font) for values, _ in cells]
    label_height = max(map(len, labels)) * (_FONT_SIZE + 4)
    columns = _columns([values for values, _ in cells])
    rows = math.ceil(len(cells) / columns)
    step_x, step_y = width + _MARGIN, height + label_height + _MARGIN
    sheet = Image.new("RGB", (columns * step_x + _MARGIN, rows * step_y + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, lines) in enumerate(zip(pictures, labels, strict=True)):
        x = _MARGIN + number % columns * step_x
        y = _MARGIN + number // columns * step_y
        if picture is not None:
            sheet.paste(picture, (x + (width - picture.width) // 2, y + height - picture.height))
        else:
            draw.rectangle((x, y, x + width - 1, y + height - 1), outline="#bbbbbb")
            draw.text((x + 6, y + 6), "failed", fill="#c0392b", font=font)
        for line, text in enumerate(lines):
            draw.text((x, y + height + 2 + line * (_FONT_SIZE + 4)), text, fill="black", font=font)
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_atomically(target, data.getvalue())


def _columns(points: Sequence[Mapping[str, Any]]) -> int:
    names = list(points[0])
    if len(names) == 2:
        return len({repr(point[names[1]]) for point in points})
    return math.ceil(math.sqrt(len(points)))


def _thumbnail(path: Path) -> Image:
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_WIDEST_CELL, _WIDEST_CELL))
    return small


def _label(values: Mapping[str, Any], width: int, font: FreeTypeFont | ImageFont) -> list[str]:
    """`name: value` for each name, broken into lines as wide as a cell, the last one cut."""
    lines: list[str] = []
    for name, value in values.items():
        rest = " ".join(f"{name}: {value}".split())
        while rest:
            fits = len(rest)
            while fits > 1 and font.getlength(rest[:fits]) > width:
                fits -= 1
            if fits < len(rest) and (space := rest.rfind(" ", 0, fits + 1)) > 0:
                fits = space
            lines.append(rest[:fits])
            rest = rest[fits:].lstrip()
    if len(lines) > _LABEL_LINES:
        lines = [*lines[: _LABEL_LINES - 1], lines[_LABEL_LINES - 1][:-1] + "…"]
    return lines

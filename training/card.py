"""The pictures of the model card: how the loss fell, drawn without a plotting library."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 320, 56, 16, 40, 36


def read_log(path: Path) -> list[tuple[float, float]]:
    """(samples, loss) of each line of a run's log.jsonl."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(float(row["samples"]), float(row["loss"])) for row in rows]


def smoothed(values: Sequence[float], keep: float = 0.8) -> list[float]:
    """A running mean that starts at the first value."""
    mean, out = values[0], []
    for value in values:
        mean = keep * mean + (1 - keep) * value
        out.append(mean)
    return out


def loss_curve(log: Path, out: Path) -> None:
    """Draw a log's losses, each and smoothed, over the samples seen, on a logarithmic scale.

    Args:
        log: The log.jsonl of a run.
        out: The picture to write.

    Raises:
        ValueError: The log is empty.
    """
    points = read_log(log)
    if not points:
        raise ValueError(f"{log}: no line here, so nothing to draw")
    samples = [x for x, _ in points]
    losses = [y for _, y in points]
    low, high = min(losses) * 0.95, max(losses) * 1.05
    most = max(samples)

    def at(x: float, y: float) -> tuple[float, float]:
        across = x / most * (_WIDTH - _LEFT - _RIGHT)
        down = math.log(high / y) / math.log(high / low) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _TOP + down

    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    for i in range(5):
        value = low * (high / low) ** (i / 4)
        left, height = at(0, value)
        pen.line([(left, height), at(most, value)], fill="#dddddd")
        pen.text((left - 8, height), f"{value:.2f}", fill="black", anchor="rm")
        place = at(most * i / 4, low)
        pen.text((place[0], place[1] + 8), f"{most * i / 4:,.0f}", fill="black", anchor="mt")
    pen.text((_WIDTH / 2, _HEIGHT - 4), "samples seen", fill="black", anchor="mb")
    pen.line([at(x, y) for x, y in points], fill="#b8cdf0")
    pen.line(
        [at(x, y) for x, y in zip(samples, smoothed(losses), strict=True)], fill="#1f4fa3", width=2
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    image.save(out, optimize=True)

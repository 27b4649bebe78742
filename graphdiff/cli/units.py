"""Sizes and ages, from text and for people."""

from __future__ import annotations

import re

import click

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def shown_bytes(count: float) -> str:
    """A size for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def shown_age(seconds: float) -> str:
    """A time ago for people."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def read_bytes(text: str, option: str) -> int:
    """The bytes that `4GB`, `500M` or `1000` state.

    Raises:
        click.BadParameter: the text states no size.
    """
    match = re.fullmatch(rf"{_NUMBER}\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match:
        raise click.BadParameter(f"{text!r}: write a size such as 500M or 4GB", param_hint=option)
    return int(float(match[1]) * _UNITS[match[2].upper()])


def read_age(text: str, option: str) -> float:
    """The seconds that `12h` or `30d` state.

    Raises:
        click.BadParameter: the text states no age.
    """
    match = re.fullmatch(rf"{_NUMBER}\s*([smhd])", text.strip())
    if not match:
        raise click.BadParameter(f"{text!r}: write an age such as 12h or 30d", param_hint=option)
    return float(match[1]) * _AGES[match[2]]

"""What a scalar without quotes means: the core schema of YAML 1.2."""

from __future__ import annotations

import re
from typing import Final

_INT: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NAMED: Final[dict[str, float | bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_STARTS: Final = frozenset("0123456789+-.~tTfFnN")
MAX_DIGITS: Final = 300


def plain_scalar(text: str) -> str | float | bool | None:
    """The value of a scalar without quotes: `1e-4` is a number, `no` and `12:30` are text.

    Raises:
        ValueError: it is a whole number with more than `MAX_DIGITS` digits, or too large a float.
    """
    if text and text[0] not in _STARTS:
        return text
    if text in _NAMED:
        return _NAMED[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number of {len(text)} digits")
        return int(text)
    if _FLOAT.fullmatch(text):
        if abs(number := float(text)) == float("inf"):
            raise ValueError(f"{text} is more than any number can be")
        return number
    if _BASED.fullmatch(text) and len(text) <= MAX_DIGITS:
        return int(text, 0)
    return text

"""Names and references in text: what is one, which are taken, which is nearest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from graphdiff.graph.spec import Ref, Text

RESERVED: Final = ("inputs", "item", "index", "carry")
"""What the first name of a reference may be beside a node's."""

UNREAD: Final = ""
"""Stands in a draft, as a name, for names that could not be read: what refers to them is right."""

_NAME: Final = re.compile(r"[^\W\d]\w*")
_PATH: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_INSERTION: Final = re.compile(r"\$(?:\$|\{([^{}]*)\}|\{)")
_MEANT: Final = re.compile(r"^\$|\$(?=[${])")


class DollarError(ValueError):
    """A `$` in text that is neither a reference nor escaped; its help says what to write."""

    def __init__(self, message: str, help: str) -> None:
        self.help = help
        super().__init__(message)


def is_name(text: str) -> bool:
    """Whether a node, an input or an output can be called so."""
    return _NAME.fullmatch(text) is not None


def is_reference(text: str) -> bool:
    """Whether a text is `$` and names."""
    return text[:1] == "$" and _PATH.fullmatch(text, 1) is not None


def near(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    candidates = [candidate for candidate in names if candidate != UNREAD]
    lowered = {candidate.lower(): candidate for candidate in candidates}
    if name.lower() in lowered:
        return lowered[name.lower()]
    found = difflib.get_close_matches(name, candidates, 1)
    return found[0] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str | None:
    """The help for a name that does not exist: the nearest, or all where they are few."""
    candidates = [candidate for candidate in names if candidate != UNREAD]
    nearest = near(name, candidates)
    if nearest is not None:
        return f"did you mean {nearest}?"
    if 0 < len(candidates) <= 12:
        return f"there is {', '.join(candidates)}"
    return None


def parse_text(text: str) -> str | Ref | Text:
    """What a text in a file means: itself, a reference, or text with values inserted.

    Raises:
        DollarError: a `$` that is no reference and should be `$$`.
    """
    if "$" not in text:
        return text
    if text[0] == "$" and text[1:2] not in ("$", "{"):
        if not is_reference(text):
            raise DollarError(
                f"{_shown(text)} starts with $ and is no reference",
                f"write ${_shown(text)} for a literal $, or $name or $name.output for a reference",
            )
        return Ref(tuple(text[1:].split(".")))
    parts: list[str | Ref] = []
    literal = ""
    end = 0
    for match in _INSERTION.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match[0] == "$$":
            literal += "$"
            continue
        inner = match[1]
        if inner is None or _PATH.fullmatch(inner) is None:
            said = match[0] if inner is not None else text[match.start() : match.start() + 20]
            raise DollarError(
                f"{said} inserts nothing: in the braces stands a reference such as inputs.prompt",
                "write $${ for a literal ${",
            )
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(Ref(tuple(inner.split("."))))
    literal += text[end:]
    if not parts:
        return literal
    return Text((*parts, literal) if literal else tuple(parts))


def escape(text: str) -> str:
    """The text that `parse_text` reads as this text."""
    return _MEANT.sub("$$", text) if "$" in text else text


def write_text(value: Ref | Text) -> str:
    """The text that `parse_text` reads as this reference, or text with insertions."""
    if isinstance(value, Ref):
        return str(value)
    return "".join(
        p.replace("$", "$$") if isinstance(p, str) else f"${{{str(p)[1:]}}}" for p in value.parts
    )


def text_of(value: object) -> str:
    """A value as text that is inserted into other text: as it would be written in a file."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."

"""What a Google-style docstring says of a function's arguments."""

from __future__ import annotations

import inspect


def argument_help(docstring: str) -> dict[str, str]:
    """The Args section of a Google-style docstring, by name."""
    helps: dict[str, str] = {}
    lines = inspect.cleandoc(docstring).splitlines()
    if "Args:" not in lines:
        return helps
    current = ""
    for line in lines[lines.index("Args:") + 1 :]:
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            current, _, text = line.strip().partition(":")
            helps[current] = text.strip()
        elif line.strip() and current:
            helps[current] += " " + line.strip()
    return helps

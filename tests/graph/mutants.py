"""Single mistakes in workflow files: what slips of the hand make of a text that is right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_REFERENCE = re.compile(r"\$[a-z]\w*(?:\.\w+)*")
_LITERAL = re.compile(r'(?<=: )(?:-?\d[\d.e-]*|true|false|null|"[^"]*"|[a-z]\w*)(?=[,}\]]|$)')
_OTHERS = ("3", '"x"', "null", "true", "[]", "{a: 1}", "1.5")


class Mutant(NamedTuple):
    """A text with one mistake, which may happen to be none.

    Attributes:
        what: What was done.
        line: Where, from 1.
        text: The text.
        exact: Whether nothing but this line can be told to be wrong.
    """

    what: str
    line: int
    text: str
    exact: bool = False


def mutants(text: str) -> Iterator[Mutant]:
    """Every text that is one slip away."""
    lines = text.split("\n")
    references = list(dict.fromkeys(_REFERENCE.findall(text)))
    for i, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        for what, changed, exact in _slips(line, references):
            yield Mutant(what, i + 1, "\n".join([*lines[:i], *changed, *lines[i + 1 :]]), exact)


def _slips(line: str, references: list[str]) -> Iterator[tuple[str, list[str], bool]]:
    yield "delete the line", [], False
    yield "write the line twice", [line, line], False
    yield "indent the line", ["  " + line], False
    if line.startswith("  "):
        yield "outdent the line", [line[2:]], False
    code = re.split(r" #|(?<=help: )", line)[0]  # nothing in comments and help can be wrong
    for found in re.finditer(r"[A-Za-z_]{2,}", code):
        for word in (_misspelt(found[0]), "zzqx"):
            yield f"{found[0]} to {word}", [_put(line, found, word)], False
    for found in _REFERENCE.finditer(code):
        # What a loop gives where it is read elsewhere, so a wrong collect or next may show there.
        exact = not re.match(r"\s+(over|next|collect|carry):", line)
        yield f"{found[0]} without $", [_put(line, found, found[0][1:])], False
        yield f"{found[0]} to $zzqx", [_put(line, found, "$zzqx")], exact
        at = references.index(found[0])
        for step in (1, 5, 11):
            other = references[(at + step) % len(references)]
            if other != found[0]:
                yield f"{found[0]} to {other}", [_put(line, found, other)], False
    for pattern in (_REFERENCE, _LITERAL):
        for found in pattern.finditer(code):
            for other in _OTHERS:
                yield f"{found[0]} to {other}", [_put(line, found, other)], False
    for found in re.finditer(r'[{}\[\],:"$]', code):
        yield f"{found[0]} left out", [_put(line, found, "")], False
    for found in re.finditer(r", \w+: [$\w.]+(?=[,}])|(?<={)\w+: [$\w.]+, ", code):
        yield f"{found[0]} left out", [_put(line, found, "")], False
    for found in re.finditer(r": (?:\{.*\}|\$\S+)$", line):
        for other in (":", ": null", ": [1, 2]", ": some text"):
            yield f"{found[0]} to {other}", [line[: found.start()] + other], False


def _put(line: str, found: re.Match[str], other: str) -> str:
    return line[: found.start()] + other + line[found.end() :]


def _misspelt(word: str) -> str:
    middle = len(word) // 2
    if len(word) > 2 and word[middle] != word[middle - 1]:
        return word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
    return word + "q"

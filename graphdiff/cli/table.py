"""Planned calls -> rows for people: the passes of a loop, and the points of a sweep, as one row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Row:
    """Calls that differ in their passes and points alone.

    Args:
        name: Their name, passes as ranges: `denoise[0..29].cond`.
        type: The node's type.
        status: What a run would do with them.
        count: How many they are.
        points: How many points of a sweep they belong to; 0 where they belong to all.
    """

    name: str
    type: str
    status: str
    count: int
    points: int = 0


def rows(calls: Iterable[tuple[str, str, str]], labels: Sequence[str] = ()) -> list[Row]:
    """Calls as rows, in the order in which each row's first call comes.

    Args:
        calls: Name, type and status of each.
        labels: What names begin with in a sweep, one for each point.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, tuple[int, ...]]]] = {}
    prefixes = [f"{label}/" for label in labels]
    for name, kind, status in calls:
        prefix = next((p for p in prefixes if name.startswith(p)), "")
        inner = name[len(prefix) :]
        passes = tuple(map(int, _INDEX.findall(inner)))
        groups.setdefault((_INDEX.sub("[]", inner), kind, status), []).append((prefix, passes))
    return [
        _row(pattern, kind, status, members, len(labels))
        for (pattern, kind, status), members in groups.items()
    ]


def _row(
    pattern: str, kind: str, status: str, members: list[tuple[str, tuple[int, ...]]], points: int
) -> Row:
    within = {prefix for prefix, _ in members}
    columns = [sorted(set(column)) for column in zip(*(p for _, p in members), strict=True)]
    shown = iter(ranges(column) for column in columns)
    name = re.sub(r"\[\]", lambda _: f"[{next(shown)}]", pattern)
    if len(members) < prod(map(len, columns)) * len(within):
        name += " (some)"
    if points > 1 and len(within) == 1:
        name = next(iter(within)) + name
    return Row(name, kind, status, len(members), len(within) if 1 < len(within) < points else 0)


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `0..4,7,9..11`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1] = [found[-1][0], number]
        else:
            found.append([number])
    return ",".join("..".join(map(str, part)) for part in found)


def lines(table: Sequence[Row]) -> list[tuple[str, str]]:
    """Rows as text in columns, each with its status."""
    name = max((len(row.name) for row in table), default=0)
    kind = max((len(row.type) for row in table), default=0)
    found: list[tuple[str, str]] = []
    for row in table:
        times = f" x{row.count}" if row.count > 1 else ""
        points = f" ({row.points} points)" if row.points else ""
        text = f"{row.name:<{name}}  {row.type:<{kind}}  {row.status}{times}{points}"
        found.append((text, row.status))
    return found

"""The kinds of mistakes: their page is up to date, and every code in the source is on it."""

from __future__ import annotations

import ast
from pathlib import Path

from graphdiff.graph.codes import CODES, GROUPS, page

ROOT = Path(__file__).parents[2]


def test_the_page_of_errors_is_up_to_date() -> None:
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == page(), "write page() of graphdiff/graph/codes.py to docs/errors.md"


def test_every_code_has_a_line_that_says_what_it_is() -> None:
    assert all(line.endswith(".") and len(line) < 100 for line in CODES.values())


def test_no_code_stands_in_two_groups() -> None:
    assert len(CODES) == sum(map(len, GROUPS.values()))


def test_every_code_that_is_listed_is_used_somewhere() -> None:
    used: set[object] = set()
    for file in (
        *(ROOT / "graphdiff/graph").glob("*.py"),
        *(ROOT / "graphdiff/engine").glob("*.py"),
    ):
        if file.name != "codes.py":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            used |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert set(CODES) <= used

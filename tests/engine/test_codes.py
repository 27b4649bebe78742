"""The codes of what the engine finds wrong: all of them are in the table of codes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from graphdiff.graph.codes import CODES

ENGINE = Path(__file__).parents[2] / "graphdiff" / "engine"
CODE_AT = {"Diagnostic": 0, "_mistake": 0, "report": 1}
"""Where the code stands among the arguments of what makes a diagnostic."""


def codes_given() -> Iterator[tuple[str, str]]:
    """Every code that stands in the engine's source, with the file."""
    for file in sorted(ENGINE.glob("*.py")):
        for item in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(item, ast.Call):
                name = getattr(item.func, "attr", getattr(item.func, "id", ""))
                code = item.args[CODE_AT[name]] if name in CODE_AT else None
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    yield file.name, code.value


def test_every_code_that_the_engine_gives_is_explained() -> None:
    given = list(codes_given())
    assert {"missing-file", "plan-failed", "unknown-target"} <= {code for _, code in given}
    assert [pair for pair in given if pair[1] not in CODES] == []

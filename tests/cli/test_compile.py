"""`--compile`: told to nodes, kept in pictures, and without a trace where it was not asked for."""

from __future__ import annotations

import json
from pathlib import Path

from graphdiff.picture import extract
from tests.cli.conftest import Command


def test_a_picture_says_that_it_was_compiled_and_is_compiled_again(graphdiff: Command) -> None:
    assert graphdiff("run", "painting.yaml", "--compile", "--no-cache").code == 0
    told = extract(Path("outputs/1.png")) or {}
    assert told["settings"] == {"device": "auto", "dtype": "auto", "compile": "true"}
    said = graphdiff("run", "outputs/1.png", "--no-cache", "--output-dir", "again")
    assert (said.code, said.lines) == (0, ["again/1.png"])
    assert "differs here" not in said.err
    assert extract(Path("again/1.png")) == told


def test_a_picture_that_was_not_compiled_does_not_speak_of_it(graphdiff: Command) -> None:
    graphdiff("run", "painting.yaml")
    assert "compile" not in (extract(Path("outputs/1.png")) or {})["settings"]


def test_the_plan_of_a_compiled_run_computes_what_a_plain_one_left(graphdiff: Command) -> None:
    graphdiff("run", "text_to_image", "--steps", "1", "--no-metadata", "--target", "positive")

    def status(*options: str) -> dict[str, str]:
        said = graphdiff("plan", "text_to_image", "--steps", "1", "--json", *options)
        return {call["node"]: call["status"] for call in map(json.loads, said.lines)}

    assert status()["positive"] == status("--compile")["positive"] == "cached"
    assert status("--compile")["image"] == "run"

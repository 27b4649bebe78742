"""Shells complete commands, workflows, inputs and their values."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from graphdiff.cli.main import COMMANDS, cli
from tests.cli.conftest import Command


def offered(line: str) -> list[str]:
    """What a shell offers for the last word of a line."""
    *words, incomplete = line.split(" ")
    completer = ShellComplete(cli, {}, "graphdiff", "_GRAPHDIFF_COMPLETE")
    return [item.value for item in completer.get_completions(words[1:], incomplete)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("graphdiff ru", ["run"]),
        ("graphdiff run text_to", ["text_to_image"]),
        ("graphdiff run to", ["toy.yaml"]),
        ("graphdiff run toy.yaml --st", ["--start"]),
        ("graphdiff run toy.yaml --name ", ["sum", "total"]),
        ("graphdiff run toy.yaml --flag t", ["true"]),
        ("graphdiff run toy.yaml --sweep na", ["name="]),
        ("graphdiff plan toy.yaml --why wr", ["write"]),
        ("graphdiff run nothing --gr", ["--grid"]),
        ("graphdiff init text", ["text_to_image"]),
        ("graphdiff nodes UNetP", ["UNetPredict"]),
    ],
)
def test_a_shell_is_offered(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_files_in_folders_are_offered_with_their_folder(folder: Path) -> None:
    (folder / "flows").mkdir()
    (folder / "flows/mine.yaml").touch()
    (folder / "flows/notes.txt").touch()
    assert offered("graphdiff run fl") == ["flows/"]
    assert offered("graphdiff run flows/") == ["flows/mine.yaml"]


def test_every_command_is_offered_and_says_what_it_does() -> None:
    assert offered("graphdiff ") == list(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_calls_graphdiff(shell: str, graphdiff: Command) -> None:
    said = graphdiff("completion", shell)
    assert said.code == 0
    assert f"_GRAPHDIFF_COMPLETE={shell}_complete" in said.out

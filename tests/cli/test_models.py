"""`graphdiff models`: what is here, what is in it, and pickles made safe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_ls_names_the_bundled_model(graphdiff: Command) -> None:
    listed = [json.loads(line) for line in graphdiff("models", "ls", "--json").lines]
    emoji = next(item for item in listed if item["name"] == "emoji")
    assert emoji["origin"] == "bundled"
    assert emoji["size"] > 1_000_000
    assert re.search(r"^emoji +bundled", graphdiff("models", "ls").out, re.MULTILINE)


def test_info_counts_parameters_from_headers(graphdiff: Command) -> None:
    said = graphdiff("models", "info", "emoji")
    assert said.code == 0
    assert "kind        pipeline" in said.out
    found = json.loads(graphdiff("models", "info", "emoji", "--json").out)
    assert {part["name"] for part in found["parts"]} == {"text_encoder", "unet", "vae"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("info", "no/model"), "graphdiff models pull no/model"),
        (("info", "emoij"), "did you mean 'emoji'"),
        (("pull", "two words"), "no hub id"),
        (("convert", "nowhere"), "no such file or folder"),
    ],
)
def test_what_is_not_there_is_exit_code_2(
    arguments: tuple[str, ...], expected: str, graphdiff: Command
) -> None:
    said = graphdiff("models", *arguments)
    assert (said.code, said.out) == (2, "")
    assert expected in said.err


def test_convert_writes_safetensors_beside_a_pickle_and_replaces_nothing(
    graphdiff: Command,
) -> None:
    import torch

    torch.save({"weight": torch.ones(2, 3), "step": 7}, "model.ckpt")
    said = graphdiff("models", "convert", "model.ckpt")
    assert (said.code, said.lines) == (0, ["model.safetensors"])
    assert "left out, no tensors: step" in said.err
    again = graphdiff("models", "convert", "model.ckpt")
    assert again.code == 2
    assert graphdiff("models", "convert", "model.ckpt", "--overwrite").code == 0
    assert Path("model.ckpt").exists()

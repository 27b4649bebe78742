"""What a picture is told about where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphdiff.engine import provenance as module
from graphdiff.engine.session import Session
from graphdiff.graph.node import Outputs, node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Input
from tests.engine.toys import ReadText, call, graph

told: list[Mapping[str, Any]] = []


@dataclass(frozen=True)
class Weights:
    """A file of a model."""

    sha256: str
    path: Path


@dataclass(frozen=True)
class Model:
    """A handle as plan nodes give them."""

    name: str
    shards: tuple[Weights, ...]
    dtype: str
    device: str = "cpu"


@node(at="plan")
def Load(folder: str, dtype: str = "float32") -> list[Model]:
    """A model in one form, and in another."""
    shards = tuple(Weights(f"hash {n}", Path(folder) / f"{n}.safetensors") for n in (1, 2))
    return [Model("a", shards, dtype), Model("b", (), "bfloat16")]


@node(effect=True)
def Tell(models: list[Model], outputs: Outputs, text: str = "") -> int:
    """Note the provenance."""
    told.append(outputs.provenance())
    return len(models)


def provenances(tmp_path: Path, *folders: str) -> list[Mapping[str, Any]]:
    """What runs on models in these folders, in one session, are told."""
    told.clear()
    nodes = {"m": call("Load", folder="$inputs.folder"), "t": call("Tell", models="$m")}
    what = graph(nodes, {}, {"folder": Input("str")})
    session = Session(cache=None, output_dir=tmp_path, registry=Registry.of(Load, Tell))
    for folder in folders:
        session.run(what, {"folder": folder})
    return list(told)


def test_what_plan_nodes_gave_says_files_devices_and_dtypes(tmp_path: Path) -> None:
    (one,) = provenances(tmp_path, "/models/a")
    assert one["computed"] == {"device": "cpu", "dtype": "bfloat16 and float32"}
    assert one["files"] == {
        "models/a/1.safetensors": "hash 1",
        "models/a/2.safetensors": "hash 2",
    }


def test_each_run_of_a_session_is_told_its_own_files(tmp_path: Path) -> None:
    found = provenances(tmp_path, "/models/a", "/models/b", "/models/a")
    assert [{name[:8] for name in each["files"]} for each in found] == [
        {"models/a"},
        {"models/b"},
        {"models/a"},
    ]


def test_the_version_of_a_package_is_looked_up_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def version_of(distribution: str) -> str:
        asked.append(distribution)
        return "7.5"

    monkeypatch.setattr(module, "version_of", version_of)
    looked_up: Any = vars(module)["_version"]
    looked_up.cache_clear()
    try:
        found = provenances(tmp_path, "/models/a", "/models/b")
    finally:
        looked_up.cache_clear()
    assert [each["graphdiff"] for each in found] == ["7.5", "7.5"]
    assert asked.count("graphdiff") == 1


def test_a_file_that_one_alone_read_is_told_in_words() -> None:
    one = {"files": {"base.safetensors": "a" * 64}}
    other = {"files": {"base.safetensors": "b" * 64, "style.safetensors": "c" * 64}}
    assert list(module.differences(one, other)) == [
        "file base.safetensors: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "file style.safetensors: not read -> cccccccccccc",
    ]


def test_each_picture_of_a_sweep_is_told_its_own_files_and_inputs(tmp_path: Path) -> None:
    told.clear()
    nodes = {
        "m": call("Load", folder="$inputs.folder"),
        "text": call("ReadText", path="$inputs.file"),
        "t": call("Tell", models="$m", text="$text"),
    }
    what = graph(nodes, {}, {"folder": Input("str"), "file": Input("path")})
    files = [tmp_path / name for name in ("a.txt", "b.txt")]
    for file in files:
        file.write_text(file.name)
    session = Session(cache=None, output_dir=tmp_path, registry=Registry.of(Load, Tell, ReadText))
    points = {f.stem: {"folder": f"/models/{f.stem}", "file": f} for f in files}
    session.run_many(what, points)
    for file, one in zip(files, told, strict=True):
        assert one["inputs"] == {"folder": f"/models/{file.stem}", "file": str(file)}
        text, *models = sorted(one["files"], key=lambda name: name.endswith(".safetensors"))
        assert text.endswith(file.name)
        assert models == [f"models/{file.stem}/{n}.safetensors" for n in (1, 2)]

"""What is installed, as seen by a quick look: the same as importlib.metadata says."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from graphdiff.graph.installed import entry_points_of, file_of, version_of


def install(place: Path, name: str, version: str, entry_points: str = "") -> Path:
    """Lay down what an installer writes about a distribution."""
    folder = place / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entry_points:
        (folder / "entry_points.txt").write_text(entry_points)
    return folder


def test_it_agrees_with_importlib_metadata_on_all_that_is_installed_here() -> None:
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        assert version_of(name) == metadata.version(name)
    for group in ("console_scripts", "graphdiff.nodes", "pytest11"):
        every = metadata.entry_points(group=group)
        assert sorted(entry_points_of(group)) == sorted(point.value for point in every)


def test_what_is_not_installed_has_no_version() -> None:
    assert version_of("no-such-distribution") == ""
    assert file_of("no-such-distribution", "top_level.txt") == ""


def test_the_first_folder_of_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, version in (("first", "2.0"), ("second", "1.0")):
        points = f"[other]\nx = y\n\n[toy.nodes]\n# why\ntoys = toys_{place}\n"
        install(tmp_path / place, "Toy_Nodes", version, points)
    install(tmp_path / "second", "more", "3.0", "[toy.nodes]\nmore = more.nodes:all\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second")])
    assert version_of("toy-nodes") == "2.0"
    assert entry_points_of("toy.nodes") == ("toys_first", "more.nodes:all")


def test_a_changed_installation_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    old = install(tmp_path, "toy", "1.0", "[toy.nodes]\ntoys = toys\n")
    assert (version_of("toy"), entry_points_of("toy.nodes")) == ("1.0", ("toys",))
    (old / "entry_points.txt").unlink()
    old.rename(tmp_path / "toy-1.1.dist-info")
    assert (version_of("toy"), entry_points_of("toy.nodes")) == ("1.1", ())


def test_an_egg_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    egg = tmp_path / "old.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old\nVersion: 0.9\n")
    (egg / "entry_points.txt").write_text("[toy.nodes]\nold = old_nodes\n")
    (egg / "top_level.txt").write_text("old_nodes\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert version_of("old") == "0.9"
    assert file_of("old", "top_level.txt") == "old_nodes\n"
    assert entry_points_of("toy.nodes") == ("old_nodes",)

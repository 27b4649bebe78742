"""Sources: what a module is made of, noted on disk so that no file is parsed twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphdiff.engine import sources
from graphdiff.engine.sources import Source, sources_of

LONG_AGO = 1_000_000_000


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three modules, old enough to be noted, and a cache folder of its own."""
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "toys"
    write(folder / "__init__.py", "")
    write(folder / "nodes.py", "from toys.helper import double\nimport json\n")
    write(folder / "helper.py", "from . import deep\n\ndef double(x):\n    return 2 * x\n")
    write(folder / "deep.py", "import torch.nn\n")
    write(folder / "other.py", "x = 1\n")
    return folder


def write(file: Path, text: str) -> None:
    """Write a file that looks as if it had been there for long."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    os.utime(file, (LONG_AGO, LONG_AGO))


def walk(folder: Path) -> dict[str, Source]:
    """The sources of the package, as a new process finds them."""
    sources._notes.clear()
    return sources_of("toys.nodes", folder / "nodes.py", frozenset({"toys"}))


def test_a_module_is_made_of_what_it_imports_of_its_own_distribution(package: Path) -> None:
    found = walk(package)
    assert set(found) == {"toys.nodes", "toys.helper", "toys", "toys.deep"}
    assert [name for name, source in found.items() if source.torch] == ["toys.deep"]


def test_a_package_goes_before_a_module_of_its_name_as_when_importing(package: Path) -> None:
    first = walk(package)["toys.helper"]
    write(package / "helper" / "__init__.py", "")
    sources._source_in.cache_clear()
    sources._imported.cache_clear()
    assert walk(package)["toys.helper"] != first


def test_what_is_noted_is_not_parsed_again(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_FRESH_NS", 0)
    first = walk(package)

    def parsed(path: str, module: str) -> Source:
        raise AssertionError(f"{path} was parsed again")

    monkeypatch.setattr(sources, "_summarised", parsed)
    assert walk(package) == first


def test_a_file_that_has_just_been_written_is_not_noted(package: Path) -> None:
    walk(package)  # the change time is now, whatever the modification time says
    assert not (package.parent / "cache" / "sources").exists()


def test_a_changed_file_is_parsed_again_though_the_rest_is_noted(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_FRESH_NS", 0)
    first = walk(package)
    write(package / "helper.py", "def double(x):\n    return 3 * x\n")
    second = walk(package)
    assert second["toys.helper"] != first["toys.helper"]
    assert second["toys.nodes"] == first["toys.nodes"]


@pytest.mark.parametrize("damage", ["", "[1]", '{"toys.nodes X": 3}', "{"])
def test_a_damaged_note_costs_time_alone(
    package: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(sources, "_FRESH_NS", 0)
    first = walk(package)
    [note] = (package.parent / "cache" / "sources").iterdir()
    note.write_text(damage.replace("X", str(package / "nodes.py")))
    assert walk(package) == first


def test_notes_about_files_that_are_gone_are_dropped(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_FRESH_NS", 0)
    walk(package)
    (package / "deep.py").unlink()
    write(package / "helper.py", "")
    sources._source_in.cache_clear()
    sources._imported.cache_clear()
    walk(package)
    [note] = (package.parent / "cache" / "sources").iterdir()
    assert not [at for at in json.loads(note.read_text()) if at.endswith("deep.py")]


def test_processes_that_note_at_once_leave_a_whole_note(package: Path) -> None:
    program = (
        "from pathlib import Path; import sys\n"
        "from graphdiff.engine import sources\n"
        "sources._FRESH_NS = 0\n"
        "for _ in range(50):\n"
        "    sources._notes.clear()\n"
        "    for note in (Path(sys.argv[2]) / 'sources').glob('*.json'):\n"
        "        note.unlink(missing_ok=True)\n"
        "    folder = Path(sys.argv[1])\n"
        "    found = sources.sources_of('toys.nodes', folder / 'nodes.py', frozenset({'toys'}))\n"
        "    assert len(found) == 4\n"
    )
    cache = package.parent / "cache"
    command = [sys.executable, "-c", program, str(package), str(cache)]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    for note in (cache / "sources").glob("*"):
        assert len(json.loads(note.read_text())) == 4

"""What was read of files is read again when they have changed, however well that is hidden."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from graphdiff.checkpoints import unchanged as module
from graphdiff.checkpoints.unchanged import unchanged


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, as if they had been written long ago."""
    monkeypatch.setattr(module, "_SETTLED_NS", -(10**12))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a part, as checkpoints have them."""
    (tmp_path / "model" / "unet").mkdir(parents=True)
    (tmp_path / "model" / "index.json").write_text("one")
    (tmp_path / "model" / "unet" / "config.json").write_text("two")
    return tmp_path / "model"


def times_read(place: Path, *between: Callable[[], object]) -> int:
    """How often is read, asking once before and once after each change."""
    read: list[int] = []

    def ask() -> None:
        unchanged(("question", str(place)), [place], lambda: read.append(1))

    ask()
    for change in between:
        time.sleep(0.02)  # past one tick of the file system's clock
        change()
        ask()
    return len(read)


def nothing() -> None:
    """No change."""


@pytest.mark.usefixtures("settled")
def test_what_stays_is_read_once(folder: Path) -> None:
    assert times_read(folder, nothing, nothing) == 1


@pytest.mark.usefixtures("settled")
def test_a_change_of_equal_size_with_its_mtime_set_back_is_seen(folder: Path) -> None:
    file = folder / "unet" / "config.json"

    def change() -> None:
        before = file.stat()
        with file.open("r+") as opened:
            opened.write("six")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.stat().st_size == before.st_size
        assert file.stat().st_mtime_ns == before.st_mtime_ns

    assert times_read(folder, change, nothing) == 2


@pytest.mark.usefixtures("settled")
def test_files_that_come_and_go_are_seen(folder: Path) -> None:
    new = folder / "unet" / "more.json"
    assert times_read(folder, new.touch, new.unlink, (folder / "index.json").unlink) == 4


@pytest.mark.usefixtures("settled")
def test_a_link_to_another_file_is_seen(folder: Path, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text("of one size")
        os.utime(tmp_path / name, ns=(1, 1))
    link = folder / "unet" / "weights"
    link.symlink_to(tmp_path / "old")

    def change() -> None:
        (tmp_path / "other").symlink_to(tmp_path / "new")
        os.replace(tmp_path / "other", link)

    assert times_read(folder, nothing, change) == 2


@pytest.mark.usefixtures("settled")
def test_a_change_of_what_a_link_leads_to_is_seen(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "blob"
    target.write_text("old")
    (folder / "unet" / "weights").symlink_to(target)
    assert times_read(folder, nothing, lambda: target.write_text("new")) == 2


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_while_it_is_read_is_read_again(folder: Path) -> None:
    read: list[str] = []
    file = folder / "index.json"

    def slowly() -> None:
        read.append(file.read_text())
        time.sleep(0.02)
        file.write_text("another")

    unchanged("slowly", [file], slowly)
    unchanged("slowly", [file], lambda: read.append(file.read_text()))
    assert read == ["one", "another"]


def test_what_was_written_just_now_is_not_relied_upon(folder: Path) -> None:
    assert times_read(folder, nothing) == 2


@pytest.mark.usefixtures("settled")
def test_what_is_not_there_is_asked_for_each_time(tmp_path: Path) -> None:
    assert times_read(tmp_path / "missing", nothing) == 2


@pytest.mark.usefixtures("settled")
def test_a_failure_is_not_remembered(folder: Path) -> None:
    def fail() -> int:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        unchanged("failing", [folder], fail)
    assert unchanged("failing", [folder], lambda: 3) == 3


@pytest.mark.usefixtures("settled")
def test_a_folder_of_very_many_files_is_read_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 3)
    assert times_read(folder, nothing) == 2


@pytest.mark.usefixtures("settled")
def test_other_questions_have_other_answers(folder: Path) -> None:
    found = [unchanged(("number", n), [folder], partial(int, n)) for n in (1, 2, 1)]
    assert found == [1, 2, 1]


@pytest.mark.usefixtures("settled")
def test_only_the_last_answers_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    read: list[int] = []
    for n in (1, 2, 1, 3, 1, 2):
        unchanged(("bounded", n), [folder], partial(read.append, n))
    assert read == [1, 2, 3, 2]

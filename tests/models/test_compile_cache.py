"""What killed processes leave in the folder of compiled code goes, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphdiff.models.compile_cache import mend, use

OTHER = """
import sys
from pathlib import Path
from graphdiff.models.compile_cache import use
folder = Path(sys.argv[1])
mark = use(folder)
for word in sys.stdin:
    if word == "write\\n":
        (folder / "unfinished.so").write_bytes(b"half")
    if word == "whole\\n":
        mark.whole()
    print("done", flush=True)
"""


class Other:
    """A process that uses the folder too."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(folder)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.tell("hello")

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self, *, kill: bool) -> None:
        if kill:
            self.process.kill()
        self.process.communicate()


def marks(folder: Path) -> int:
    return len(list(folder.glob(".running-*")))


def test_empty_files_are_removed_but_for_locks_and_what_is_being_written(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    broken, whole = tmp_path / "ab" / "kernel.cpp", tmp_path / "ab" / "kernel.so"
    lock, writing = tmp_path / "ab" / "kernel.lock", tmp_path / ".1.2.tmp"
    for path in (broken, lock, writing):
        path.touch()
    whole.write_bytes(b"code")
    assert mend(tmp_path) == 1
    assert not broken.exists()
    assert whole.exists()
    assert lock.exists()
    assert writing.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there the living are not told from the dead")
def test_what_a_killed_process_had_not_finished_is_removed(tmp_path: Path) -> None:
    old = tmp_path / "old.so"
    old.write_bytes(b"code")
    os.utime(old, (1, 1))
    other = Other(tmp_path)
    other.tell("write")
    assert mend(tmp_path) == 0  # it lives: it may be using this
    other.end(kill=True)
    assert mend(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["old.so"]


@pytest.mark.skipif(sys.platform == "win32", reason="there the living are not told from the dead")
def test_what_a_killed_process_had_finished_stays(tmp_path: Path) -> None:
    other = Other(tmp_path)
    other.tell("write")
    os.utime(tmp_path / "unfinished.so", ns=(1, 1))
    other.tell("whole")
    other.end(kill=True)
    assert mend(tmp_path) == 0
    assert (tmp_path / "unfinished.so").exists()
    assert marks(tmp_path) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there the living are not told from the dead")
def test_while_others_work_only_empty_files_go(tmp_path: Path) -> None:
    dead, living = Other(tmp_path), Other(tmp_path)
    dead.tell("write")
    dead.end(kill=True)
    assert mend(tmp_path) == 0
    living.end(kill=False)
    assert mend(tmp_path) == 1


def test_a_process_that_ends_leaves_no_mark_and_all_it_wrote(tmp_path: Path) -> None:
    other = Other(tmp_path)
    other.tell("write")
    other.end(kill=False)
    assert marks(tmp_path) == 0
    assert mend(tmp_path) == 0


def test_a_folder_is_marked_once_and_again_when_it_was_emptied(tmp_path: Path) -> None:
    mark = use(tmp_path)
    assert use(tmp_path) is mark
    assert marks(tmp_path) == 1
    mark.path.unlink()
    mark.whole()
    assert use(tmp_path) is not mark
    assert marks(tmp_path) == 1
    use(tmp_path).remove()

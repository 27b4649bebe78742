"""A disk store can be looked at, thinned out, emptied and checked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphdiff.engine import maintain
from graphdiff.engine.disk import DiskStore
from graphdiff.engine.shelf import Shelf
from graphdiff.engine.store import Meta

KEYS = tuple(letter * 32 for letter in "abcd")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> DiskStore:
    """Three passes of a loop, the first used last, and a picture with the content of pass 2."""
    store = DiskStore(folder)
    for number, key in enumerate(KEYS[:3]):
        meta = Meta("SchedulerStep", f"denoise[{number}].step", 0.25, "text-to-image")
        store.put(key, {"": bytes([number]) * 10_000}, meta)
        age(folder, key, 1000 * (number + 1))
    store.put(KEYS[3], {"": bytes([2]) * 10_000}, Meta("VAEDecode", "image", 1.5, "other"))
    return store


def age(folder: Path, key: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(Shelf(folder).path("recipes", key), (then, then))


def test_info_says_how_much_there_is(store: DiskStore, folder: Path) -> None:
    info = maintain.info(folder, 12345)
    assert (info.folder, info.entries, info.contents, info.limit_bytes) == (folder, 4, 3, 12345)
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name != "growth"]
    assert info.bytes == sum(path.stat().st_size for path in kept)


def test_a_store_that_is_not_there_is_empty(folder: Path) -> None:
    assert maintain.info(folder).entries == 0
    assert maintain.ls(folder) == ()
    assert maintain.prune(folder) == maintain.Pruned(0, 0)
    assert maintain.clear(folder) == maintain.Pruned(0, 0)
    assert maintain.verify(folder) == maintain.Verified(0, (), 0)
    assert not folder.exists()


def test_ls_shows_passes_by_name_the_last_used_first(store: DiskStore, folder: Path) -> None:
    listed = maintain.ls(folder)
    assert [entry.name for entry in listed] == [
        "image",
        "denoise[0].step",
        "denoise[1].step",
        "denoise[2].step",
    ]
    image = listed[0]
    assert (image.key, image.node, image.workflow) == (KEYS[3], "VAEDecode", "other")
    assert image.seconds == 1.5
    assert 10_000 <= image.bytes < 11_000
    assert abs(image.used - time.time()) < 60


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("denoise[1].step", 1),
        ("denoise*", 3),
        ("VAEDecode", 1),
        ("text-to-image", 3),
        ("aaaa*", 1),
        ("nothing", 0),
        ("*", 4),
    ],
)
def test_ls_takes_patterns_in_which_brackets_are_themselves(
    store: DiskStore, folder: Path, pattern: str, count: int
) -> None:
    assert len(maintain.ls(folder, pattern)) == count


def test_one_pass_can_be_removed_alone(store: DiskStore, folder: Path) -> None:
    maintain.remove(folder, [entry.key for entry in maintain.ls(folder, "denoise[1].step")])
    assert [store.has(key) for key in KEYS] == [True, False, True, True]


def test_pruning_frees_room_from_the_least_recently_used_on(store: DiskStore, folder: Path) -> None:
    pruned = maintain.prune(folder, 27_000)
    assert pruned.entries == 2  # the oldest alone frees nothing: the picture has its content too
    assert [store.has(key) for key in KEYS] == [True, False, False, True]
    assert store.get(KEYS[3]) is not None
    assert pruned.bytes > 10_000
    assert maintain.info(folder).bytes < 27_000


def test_pruning_what_is_not_full_throws_nothing_out(store: DiskStore, folder: Path) -> None:
    assert maintain.prune(folder) == maintain.Pruned(0, 0)


def test_pruning_by_age(store: DiskStore, folder: Path) -> None:
    assert maintain.prune(folder, older_than_seconds=1500).entries == 2
    assert [store.has(key) for key in KEYS] == [True, False, False, True]


def test_contents_that_no_call_gives_go_once_they_are_old(store: DiskStore, folder: Path) -> None:
    store.drop(KEYS[0])
    assert maintain.prune(folder).bytes == 0
    for blob in folder.glob("blobs/*/*"):
        os.utime(blob, (1, 1))
    assert maintain.prune(folder).bytes >= 10_000
    assert maintain.info(folder).contents == 2
    assert store.get(KEYS[3]) is not None


def test_the_content_index_goes_with_its_calls(store: DiskStore, folder: Path) -> None:
    store.content_put("e" * 32, KEYS[2])
    store.content_put("f" * 32, KEYS[3])
    maintain.prune(folder, older_than_seconds=2500)
    assert [path.stem for path in folder.glob("contents/*/*")] == ["f" * 32]


def test_clearing_leaves_nothing(store: DiskStore, folder: Path) -> None:
    (folder / "fingerprints").mkdir()
    cleared = maintain.clear(folder)
    assert cleared.entries == 4
    assert cleared.bytes > 30_000
    assert maintain.info(folder).bytes == 0
    assert [path.name for path in folder.iterdir()] == ["fingerprints"]  # notes are not values
    store.put(KEYS[0], {"": 1}, Meta("Add", "sum"))
    assert store.get(KEYS[0]) is not None


def test_verifying_a_whole_store_finds_nothing(store: DiskStore, folder: Path) -> None:
    assert maintain.verify(folder) == maintain.Verified(7, (), 0)


def test_verifying_finds_and_throws_out_what_is_damaged(store: DiskStore, folder: Path) -> None:
    digests = store.digests(KEYS[1])
    assert digests is not None
    shelf = Shelf(folder)
    blob = Path(shelf.path("blobs", digests[""]))
    blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
    recipe = Path(shelf.path("recipes", KEYS[0]))
    recipe.write_bytes(recipe.read_bytes()[:-5])
    store.content_put("e" * 32, KEYS[3])
    content = Path(shelf.path("contents", "e" * 32))
    content.write_bytes(b"")
    verified = maintain.verify(folder)
    assert {damage.path for damage in verified.damaged} == {blob, recipe, content}
    assert verified.dangling == 1
    assert [store.has(key) for key in KEYS] == [False, False, True, True]
    again = maintain.verify(folder)
    assert (again.damaged, again.dangling) == ((), 0)


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be asked for there")
def test_files_of_dead_processes_are_swept_and_those_of_living_ones_are_not(
    store: DiskStore, folder: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = os.uname().nodename
    temporary = folder / "temporary"
    names = [f"{host}-{dead.pid}-x", f"{host}-{os.getpid()}-x", "elsewhere-1-x", "elsewhere-2-x"]
    for name in names:
        (temporary / name).write_bytes(b"half")
    os.utime(temporary / "elsewhere-2-x", (1, 1))
    maintain.prune(folder)
    assert {path.name for path in temporary.iterdir()} == set(names[1:3])

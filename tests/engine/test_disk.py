"""What is on disk outlives the process, is shared without locks, and is never wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from hashlib import blake2b
from pathlib import Path

import pytest
import torch

from graphdiff.engine import maintain
from graphdiff.engine.codec import DamagedError, UnkeyableError, UnreadableError
from graphdiff.engine.disk import DiskStore
from graphdiff.engine.shelf import Shelf, seal, unseal
from graphdiff.engine.store import CacheWarning, Meta

META = Meta("Add", "denoise[3].step", 0.5, "sums")
ROOT = Path(__file__).parents[2]


def key_of(name: object) -> str:
    return blake2b(str(name).encode(), digest_size=16).hexdigest()


A, B, C = map(key_of, "abc")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def blobs(folder: Path) -> list[Path]:
    return sorted(folder.glob("blobs/*/*"))


def value(store: DiskStore, key: str) -> object:
    entry = store.get(key)
    assert entry is not None
    return entry.values[""]


def test_another_process_finds_what_this_one_put(folder: Path) -> None:
    DiskStore(folder).put(A, {"": {"x": [1, 2.5]}}, META)
    program = (
        "import sys; from pathlib import Path; from graphdiff.engine.disk import DiskStore\n"
        "entry = DiskStore(Path(sys.argv[1])).get(sys.argv[2])\n"
        "assert entry.values == {'': {'x': [1, 2.5]}}, entry\n"
        "assert entry.meta.name == 'denoise[3].step'\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, folder, A], check=True, cwd=ROOT)


def test_the_cache_folder_is_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "here"))
    assert DiskStore().folder == tmp_path / "here"


def test_opening_and_asking_write_nothing(folder: Path) -> None:
    store = DiskStore(folder)
    assert not store.has(A)
    assert store.get(A) is None
    assert store.content_lookup(A) is None
    assert not folder.exists()


def test_equal_content_is_there_once(folder: Path) -> None:
    store = DiskStore(folder)
    store.put(A, {"": torch.ones(100)}, META)
    store.put(B, {"x": torch.ones(100), "y": torch.ones(100)}, META)
    assert len(blobs(folder)) == 1


def test_only_the_ports_asked_for_are_read(folder: Path) -> None:
    store = DiskStore(folder)
    digests = store.put(A, {"x": [1], "y": [2]}, META)
    Path(Shelf(folder).path("blobs", digests["y"])).write_bytes(b"damaged")
    entry = store.get(A, ["x"])
    assert entry is not None
    assert entry.values == {"x": [1]}
    assert set(entry.digests) == {"x", "y"}


def test_digests_are_known_without_reading_values(folder: Path) -> None:
    store = DiskStore(folder)
    digests = store.put(A, {"": [1]}, META)
    for blob in blobs(folder):
        blob.write_bytes(b"damaged")
    assert store.digests(A) == digests
    for blob in blobs(folder):
        blob.unlink()
    assert store.digests(A) is None


def test_what_cannot_be_written_down_leaves_no_entry(folder: Path) -> None:
    store = DiskStore(folder)
    with pytest.raises(UnkeyableError, match="builtins:object"):
        store.put(A, {"x": 1, "y": object()}, META)
    assert not store.has(A)


def test_any_damaged_byte_of_any_file_makes_an_entry_missing_never_wrong(folder: Path) -> None:
    chance = random.Random(1)
    store = DiskStore(folder)
    whole = {"": {"t": [1.5, "text", b"bytes"] * 5}}
    for _ in range(150):
        store.put(A, whole, META)
        path = chance.choice([f for f in files(folder) if f.name != "growth"])
        data = bytearray(path.read_bytes())
        place = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place:]
            case _:
                data[place : place + 8] = chance.randbytes(8)
        path.write_bytes(data)
        with pytest.warns(CacheWarning, match="damaged"):
            assert store.get(A) is None
        assert not store.has(A)
        store.put(A, whole, META)
        assert store.get(A) is not None


def test_a_content_that_was_thrown_out_makes_its_calls_missing_without_a_warning(
    folder: Path,
) -> None:
    store = DiskStore(folder)
    store.put(A, {"": 1}, META)
    blobs(folder)[0].unlink()
    assert store.get(A) is None
    assert not store.has(A)
    store.put(A, {"": 1}, META)
    assert value(store, A) == 1


def test_a_call_whose_content_is_gone_is_replaced_by_putting_it_again(folder: Path) -> None:
    store = DiskStore(folder)
    store.put(A, {"": 1}, META)
    blobs(folder)[0].unlink()
    store.put(A, {"": 2}, META)
    assert value(store, A) == 2


def test_an_entry_of_which_all_is_damaged_is_whole_when_it_was_put_again(folder: Path) -> None:
    values = {"x": [1.5], "y": [2.5], "z": [3.5]}
    DiskStore(folder).put(A, values, META)
    for blob in blobs(folder):
        blob.write_bytes(b"damaged")
    with pytest.warns(CacheWarning, match="damaged"):
        assert DiskStore(folder).get(A) is None
    DiskStore(folder).put(A, values, META)
    entry = DiskStore(folder).get(A)
    assert entry is not None
    assert entry.values == values
    assert maintain.verify(folder).damaged == ()


def test_a_damaged_content_index_is_no_answer(folder: Path) -> None:
    store = DiskStore(folder)
    store.put(A, {"": 1}, META)
    store.content_put(C, A)
    path = Path(Shelf(folder).path("contents", C))
    path.write_bytes(path.read_bytes().replace(A.encode(), B.encode()))
    assert store.content_lookup(C) is None
    store.content_put(C, A)
    assert store.content_lookup(C) == A


def test_a_value_of_a_class_that_is_not_here_is_missing_but_stays(folder: Path) -> None:
    def unknown(module: str, qualname: str) -> type:
        raise LookupError(f"there is no {module}:{qualname}")

    DiskStore(folder).put(A, {"": META}, META)
    with pytest.warns(CacheWarning, match=r"there is no .*store:Meta"):
        assert DiskStore(folder, types=unknown).get(A) is None
    assert value(DiskStore(folder), A) == META


def test_an_entry_moved_to_another_key_is_not_taken_for_it(folder: Path) -> None:
    store = DiskStore(folder)
    store.put(A, {"": 1}, META)
    shelf = Shelf(folder)
    target = Path(shelf.path("recipes", B))
    target.parent.mkdir(parents=True, exist_ok=True)
    Path(shelf.path("recipes", A)).rename(target)
    with pytest.warns(CacheWarning, match="damaged"):
        assert store.get(B) is None


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_that_cannot_be_written_costs_a_warning(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o500)
    with pytest.warns(CacheWarning, match="cannot be written"):
        DiskStore(folder).put(A, {"": 1}, META)


def test_a_file_in_place_of_the_folder_costs_a_warning(folder: Path) -> None:
    folder.write_text("in the way")
    store = DiskStore(folder)
    assert not store.has(A)
    with pytest.warns(CacheWarning):
        store.put(A, {"": 1}, META)
    with pytest.warns(CacheWarning):
        assert store.get(A) is None


def test_a_full_disk_costs_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    store = DiskStore(folder)
    monkeypatch.setattr(Shelf, "write", full)
    with pytest.warns(CacheWarning, match="No space left"):
        assert set(store.put(A, {"": 1}, META)) == {""}
    assert not store.has(A)


def test_a_file_system_without_links_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = DiskStore(folder)
    store.put(A, {"": 1}, META)
    store.put(A, {"": 2}, META)
    assert value(store, A) == 1


def test_the_store_stays_within_its_bounds_and_keeps_what_was_used_last(folder: Path) -> None:
    limit = 400_000
    store = DiskStore(folder, limit)
    for number in range(100):
        store.put(key_of(number), {"": bytes([number]) * 20_000}, META)
        store.content_put(key_of(f"content {number}"), key_of(number))
        os.utime(Shelf(folder).path("recipes", key_of(number)), (number, number))
        assert store.get(key_of(0)) is not None
        assert sum(path.stat().st_size for path in files(folder)) <= limit
    assert value(store, key_of(99)) == bytes([99]) * 20_000
    assert not store.has(key_of(1))
    assert len(list(folder.glob("contents/*/*"))) <= len(list(folder.glob("recipes/*/*"))) + 1


def test_what_is_larger_than_half_the_room_is_not_kept(folder: Path) -> None:
    store = DiskStore(folder, 100_000)
    store.put(A, {"": 1}, META)
    store.put(B, {"": bytes(80_000)}, META)
    assert store.has(A)
    assert not store.has(B)


def test_a_store_that_is_not_full_is_not_scanned(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan(*_: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr(Shelf, "listing", scan)
    store = DiskStore(folder)
    for number in range(200):
        store.put(key_of(number), {"": number}, META)
        store.get(key_of(number))


def test_several_processes_count_what_they_write_together(folder: Path) -> None:
    for _ in range(3):
        Shelf(folder).write_record("recipes", A, {})
        grown = Shelf(folder).grow(10_000)
    assert grown == 3 * 12_288
    Shelf(folder).counted()
    assert Shelf(folder).grow(1) == 4096


def test_a_sealed_record_is_opened_only_under_its_own_name() -> None:
    sealed = seal("name", {"a": [1, "ü"]})
    assert unseal("name", sealed) == {"a": [1, "ü"]}
    for name, data in (("other", sealed), ("name", sealed[:-1]), ("name", b""), ("name", b"[]\n")):
        with pytest.raises(DamagedError):
            unseal(name, data)


def test_unreadable_is_not_damaged() -> None:
    assert not issubclass(UnreadableError, DamagedError)


WRITER = """
import random, sys
from hashlib import blake2b
from pathlib import Path
from graphdiff.engine.disk import DiskStore
from graphdiff.engine.store import Meta

store = DiskStore(Path(sys.argv[1]))
count = int(sys.argv[2])
numbers = random.Random(sys.argv[3]).sample(range(count), min(count, 2000))
print("ready", flush=True)
for number in numbers:
    key = blake2b(str(number).encode(), digest_size=16).hexdigest()
    values = {"": number, "many": [str(number)] * 200, "bytes": bytes([number % 256]) * 40_000}
    store.put(key, values, Meta("Add", f"add[{number}]"))
    store.content_put(key[::-1], key)
"""


def start_writer(folder: Path, count: int, seed: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(folder), str(count), str(seed)]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def check_numbers(folder: Path) -> int:
    """Every entry that is there is whole and right; how many there are."""
    store, found = DiskStore(folder), 0
    for listed in maintain.ls(folder):
        number = int(listed.name.removeprefix("add[").removesuffix("]"))
        entry = store.get(key_of(number))
        assert entry is not None
        expected = [number, [str(number)] * 200, bytes([number % 256]) * 40_000]
        assert list(entry.values.values()) == expected
        found += 1
    return found


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("times", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_a_writer_killed_at_any_moment_leaves_a_whole_store(folder: Path, times: int) -> None:
    chance, found, killed_with_work = random.Random(times), 0, 0
    for seed in range(times):
        with start_writer(folder, 1_000_000, seed) as process:
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        verified = maintain.verify(folder)
        assert verified.damaged == ()
        assert verified.dangling == 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            before, found = found, check_numbers(folder)
        killed_with_work += found > before
        if found > 150:
            maintain.clear(folder)
            found = 0
    assert killed_with_work > times // 2
    DiskStore(folder).put(A, {"": 1}, META)
    assert not list(folder.glob("temporary/*"))


def test_processes_that_write_the_same_keys_get_along(folder: Path) -> None:
    count = 150
    writers = [start_writer(folder, count, seed) for seed in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while any(writer.poll() is None for writer in writers):
            check_numbers(folder)
    for writer in writers:
        with writer:
            assert writer.wait() == 0
    assert check_numbers(folder) == count
    assert maintain.verify(folder).damaged == ()
    assert not list(folder.glob("temporary/*"))


def test_a_process_that_prunes_all_the_time_makes_no_other_fail(folder: Path) -> None:
    count = 100
    writer = start_writer(folder, count, 0)
    while writer.poll() is None:
        maintain.prune(folder, 200_000)
        check = DiskStore(folder)
        for number in range(0, count, 9):
            entry = check.get(key_of(number))
            assert entry is None or entry.values[""] == number
    with writer:
        assert writer.returncode == 0
    maintain.prune(folder, 200_000)
    assert maintain.info(folder).bytes <= 200_000

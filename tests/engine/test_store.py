"""Two stores behave as one, and no store as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphdiff.engine.disk import DiskStore
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.store import Meta, NoStore, Store, Tiered

META = Meta("Add", "sum", 0.5, "sums")
A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def disk(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture(params=["memory", "disk", "tiered"])
def store(request: pytest.FixtureRequest, disk: DiskStore) -> Store:
    stores: dict[str, Store] = {
        "memory": MemoryStore(),
        "disk": disk,
        "tiered": Tiered(MemoryStore(), disk),
    }
    return stores[request.param]


def test_what_was_put_is_found(store: Store) -> None:
    assert not store.has(A)
    assert store.get(A) is None
    assert store.meta(A) is None
    assert store.digests(A) is None
    store.put(A, {"": [1, 2]}, META)
    entry = store.get(A)
    assert store.has(A)
    assert entry is not None
    assert entry.values == {"": [1, 2]}
    assert entry.meta == store.meta(A) == META


def test_the_first_to_be_put_stays(store: Store) -> None:
    store.put(A, {"": 1}, META)
    store.put(A, {"": 2}, META)
    entry = store.get(A)
    assert entry is not None
    assert entry.values == {"": 1}


def test_what_was_dropped_is_gone_and_can_be_put_again(store: Store) -> None:
    store.put(A, {"": 1}, META)
    store.drop(A)
    store.drop(B)
    assert not store.has(A)
    assert store.get(A) is None
    store.put(A, {"": 1}, META)
    assert store.get(A) is not None


def test_a_call_is_linked_to_content_that_is_there_and_to_no_other(store: Store) -> None:
    store.put(A, {"x": 1, "y": [2]}, META)
    digests = store.digests(A)
    assert digests is not None
    assert set(digests) == {"x", "y"}
    assert store.link(B, digests, Meta("Add", "other"))
    entry = store.get(B)
    assert entry is not None
    assert entry.values == {"x": 1, "y": [2]}
    assert entry.meta.name == "other"
    assert not store.link(C, {"x": "0" * 32}, META)
    assert not store.has(C)


def test_content_leads_to_a_call_as_long_as_that_is_there(store: Store) -> None:
    assert store.content_lookup(C) is None
    store.put(A, {"": 1}, META)
    store.content_put(C, A)
    assert store.content_lookup(C) == A
    store.drop(A)
    assert store.content_lookup(C) is None
    store.put(B, {"": 1}, META)
    store.content_put(C, B)
    assert store.content_lookup(C) == B


def test_what_is_not_durable_stays_in_memory(disk: DiskStore) -> None:
    tiered = Tiered(MemoryStore(), disk)
    unwritable = object()
    assert tiered.put(A, {"": unwritable}, META, durable=False) == {}
    entry = tiered.get(A)
    assert entry is not None
    assert entry.values[""] is unwritable
    assert tiered.digests(A) is None
    assert not disk.has(A)


def test_what_is_read_from_disk_is_in_memory_then(disk: DiskStore) -> None:
    disk.put(A, {"x": [1], "y": [2]}, META)
    memory = MemoryStore()
    tiered = Tiered(memory, disk)
    part = tiered.get(A, ["x"])
    assert part is not None
    assert part.values == {"x": [1]}
    assert not memory.has(A)
    whole, again = tiered.get(A), tiered.get(A)
    assert whole is not None
    assert again is not None
    assert whole.values["x"] is again.values["x"]


def test_no_store_keeps_nothing() -> None:
    store: Store = NoStore()
    assert store.put(A, {"": 1}, META) == {}
    store.content_put(C, A)
    store.drop(A)
    assert not store.link(B, {}, META)
    assert not store.has(A)
    nothing = (store.get(A), store.digests(A), store.meta(A), store.content_lookup(C))
    assert nothing == (None, None, None, None)

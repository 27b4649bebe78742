"""Memory holds values by reference, within bounds."""

from __future__ import annotations

import threading
import weakref

import pytest
import torch

from graphdiff.engine import memory as memory_module
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.store import Meta

META = Meta("Add", "sum")


def kilobytes(count: int) -> torch.Tensor:
    return torch.zeros(count * 256)


def test_values_are_held_by_reference() -> None:
    store, value = MemoryStore(), [1, 2]
    store.put("a", {"": value}, META)
    entry = store.get("a")
    assert entry is not None
    assert entry.values[""] is value


def test_the_least_recently_used_goes_first() -> None:
    store = MemoryStore(host_bytes=10_000)
    for name in "ab":
        store.put(name, {"": kilobytes(4)}, META)
    store.get("a")
    store.put("c", {"": kilobytes(4)}, META)
    assert [store.has(name) for name in "abc"] == [True, False, True]
    assert store.used[0] <= 10_000


def test_what_is_larger_than_all_the_room_is_not_kept_and_pushes_nothing_out() -> None:
    store = MemoryStore(host_bytes=10_000)
    store.put("a", {"": kilobytes(4)}, META)
    store.put("b", {"": kilobytes(40)}, META)
    assert store.has("a")
    assert not store.has("b")


def test_the_device_is_bounded_apart_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def size(values: dict[str, tuple[int, int]]) -> tuple[int, int]:
        return values[""]

    monkeypatch.setattr(memory_module, "size", size)
    store = MemoryStore(host_bytes=100, device_bytes=10)
    store.put("host", {"": (60, 0)}, META)
    for number in range(3):
        store.put(f"device{number}", {"": (1, 5)}, META)
    assert store.has("host")
    assert not store.has("device0")
    assert store.used == (62, 10)
    store.put("more", {"": (60, 0)}, META)
    assert not store.has("host")
    assert store.has("device1")
    assert store.drop_device() == 10
    assert not store.has("device1")
    assert (store.used, store.drop_device()) == ((60, 0), 0)


def test_dropped_values_are_released() -> None:
    store, tensor = MemoryStore(), kilobytes(1)
    gone = weakref.ref(tensor)
    store.put("a", {"": tensor}, META)
    store.digests("a")
    del tensor
    assert gone() is not None
    store.drop("a")
    assert gone() is None
    assert store.used == (0, 0)


def test_clearing_forgets_everything() -> None:
    store = MemoryStore()
    store.put("a", {"": 1}, META)
    store.content_put("c", "a")
    store.clear()
    assert (len(store), store.used, store.content_lookup("c")) == (0, (0, 0), None)


def test_the_content_index_does_not_outgrow_the_store() -> None:
    store = MemoryStore(host_bytes=20_000)
    for number in range(5000):
        store.put(str(number), {"": number}, META)
        store.content_put(f"c{number}", str(number))
    assert len(store._contents) < 2000  # pyright: ignore[reportPrivateUsage]
    assert store.content_lookup("c4999") == "4999"


def test_threads_may_use_one_store() -> None:
    store = MemoryStore(host_bytes=50_000)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(400):
                key = str((number * seed) % 97)
                store.put(key, {"": [key] * 50}, META)
                entry = store.get(key)
                if entry is not None and entry.values[""] != [key] * 50:
                    raise ValueError(key)
                if number % 7 == 0:
                    store.drop(key)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for number in range(97):
        store.drop(str(number))
    assert store.used == (0, 0)

"""A store in memory: values by reference, bounded in bytes, the least recently used out first."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from graphdiff.engine.content import digest
from graphdiff.engine.guard import SCALARS, Guard, changed, guards_of
from graphdiff.engine.store import Digests, Entry, Meta
from graphdiff.engine.values import UnkeyableError, size

HOST_BYTES = 4 << 30
DEVICE_BYTES = 1 << 30

_UNASKED: Final[Digests] = MappingProxyType({})
_ENTRY_BYTES: Final = 400  # what holding something takes, beside what is held


class _Held:
    """Outputs of one call, as a row: a map for each call would take up most of the room."""

    __slots__ = ("device", "digests", "guards", "host", "meta", "outputs", "ports")

    def __init__(
        self, ports: tuple[str, ...], values: Mapping[str, object], digests: Digests, meta: Meta
    ) -> None:
        self.ports, self.digests, self.meta = ports, digests, meta
        self.outputs = tuple(values.values())
        if len(ports) == 1 and self.outputs[0].__class__ in SCALARS:
            self.host, self.device = _ENTRY_BYTES + sys.getsizeof(self.outputs[0]), 0
            self.guards: tuple[Guard, ...] = ()
        else:
            self.host, self.device = size(values)
            self.guards = guards_of(self.outputs)

    @property
    def values(self) -> dict[str, object]:
        """The outputs by port."""
        return dict(zip(self.ports, self.outputs, strict=True))


class MemoryStore:
    """Values that live as long as the store, unless room is needed.

    Whoever was given a value may change it in place; then it is not here any more.

    Args:
        host_bytes: The most bytes to keep on the host.
        device_bytes: The most bytes to keep on devices.
    """

    def __init__(self, host_bytes: int = HOST_BYTES, device_bytes: int = DEVICE_BYTES) -> None:
        self._host_limit, self._device_limit = host_bytes, device_bytes
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._host = self._device = 0
        self._on_device: OrderedDict[str, None] = OrderedDict()
        self._contents: dict[str, str] = {}
        self._contents_limit = 1000
        self._by_digests: dict[frozenset[tuple[str, str]], str] = {}
        self._ports: dict[tuple[str, ...], tuple[str, ...]] = {}  # each row of names once
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def used(self) -> tuple[int, int]:
        """Bytes kept on the host and on devices."""
        return self._host, self._device

    def has(self, key: str) -> bool:
        """Whether the outputs of the call `key` are here."""
        held = self._held.get(key)
        return held is not None and (not held.guards or self._unchanged(key) is not None)

    def get(self, key: str, ports: Collection[str] | None = None) -> Entry | None:
        """The outputs of a call: all of them, since they cost nothing."""
        with self._lock:
            held = self._unchanged(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            if held.device:
                self._on_device.move_to_end(key)
        return Entry(held.values, held.digests, held.meta)

    def digests(self, key: str) -> Digests | None:
        """The content digests of a call's outputs, computed when first asked for.

        None as well where an output has no content to be known by.
        """
        held = self._unchanged(key)
        if held is None:
            return None
        if not held.digests and held.ports:
            try:
                digests = {port: digest(value) for port, value in held.values.items()}
            except UnkeyableError:
                return None
            with self._lock:
                held.digests = digests
                if key in self._held:
                    self._by_digests.setdefault(frozenset(digests.items()), key)
        return held.digests

    def meta(self, key: str) -> Meta | None:
        """Where the outputs of a call came from."""
        held = self._held.get(key)
        return held.meta if held is not None else None

    def put(
        self, key: str, values: Mapping[str, object], meta: Meta, *, durable: bool = True
    ) -> Digests:
        """Keep the outputs of a call, by reference; without digests until somebody asks."""
        if key not in self._held:
            self._hold(key, self._row(values, _UNASKED, meta))
        return {}

    def link(self, key: str, digests: Digests, meta: Meta) -> bool:
        """Keep under `key` the outputs of a call whose digests were asked for."""
        with self._lock:
            source = self._unchanged(self._by_digests.get(frozenset(digests.items()), ""))
            if source is None:
                return False
            if key not in self._held:
                self._hold(key, self._row(source.values, dict(digests), meta))
            return True

    def content_lookup(self, content_key: str) -> str | None:
        """The key of a call on equal content, while its outputs are here."""
        key = self._contents.get(content_key)
        return key if key in self._held else None

    def content_put(self, content_key: str, key: str) -> None:
        """Remember that the call `key` was made of `content_key`."""
        with self._lock:
            if len(self._contents) > self._contents_limit:  # much of it may point nowhere
                self._contents = {c: k for c, k in self._contents.items() if k in self._held}
                self._contents_limit = 1000 + 2 * len(self._contents)
            self._contents[content_key] = key

    def drop(self, key: str) -> None:
        """Forget a call."""
        with self._lock:
            held = self._held.pop(key, None)
            if held is None:
                return
            self._on_device.pop(key, None)
            self._host -= held.host
            self._device -= held.device
            shared = frozenset(held.digests.items())
            if self._by_digests.get(shared) == key:
                del self._by_digests[shared]

    def drop_device(self) -> int:
        """Forget the calls that hold memory of devices; how many bytes that was."""
        with self._lock:
            before = self._device
            for key in list(self._on_device):
                self.drop(key)
            return before

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._on_device.clear()
            self._contents.clear()
            self._by_digests.clear()
            self._host = self._device = 0

    def _unchanged(self, key: str) -> _Held | None:
        """What is held under a key, unless it was changed in place."""
        held = self._held.get(key)
        if held is not None and held.guards and changed(held.guards, closely=True):
            self.drop(key)
            return None
        return held

    def _row(self, values: Mapping[str, object], digests: Digests, meta: Meta) -> _Held:
        ports = tuple(values)
        return _Held(self._ports.setdefault(ports, ports), values, digests, meta)

    def _hold(self, key: str, held: _Held) -> None:
        if held.host > self._host_limit or held.device > self._device_limit:
            return  # it would push everything else out and then go itself
        with self._lock:
            if key in self._held:
                return
            self._held[key] = held
            self._host += held.host
            self._device += held.device
            if held.device:
                self._on_device[key] = None
            while self._host > self._host_limit:
                self.drop(next(iter(self._held)))
            while self._device > self._device_limit:
                self.drop(next(iter(self._on_device)))

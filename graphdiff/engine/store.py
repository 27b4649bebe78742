"""What a store of computed values is; storing nothing; and a memory in front of a disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Digests = Mapping[str, str]
"""The content digest of each output of a call, by port."""


class CacheWarning(UserWarning):
    """Something in the cache could not be used and will be computed again."""


class Meta(NamedTuple):
    """Where a stored value came from.

    Attributes:
        node: The node's type.
        name: The call that computed it, such as `denoise[3].step`.
        seconds: What computing it took.
        workflow: The workflow it was computed for.
    """

    node: str
    name: str
    seconds: float = 0.0
    workflow: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store holds under one key: the outputs of one call.

    Args:
        values: The outputs by port.
        digests: Their content digests by port; a memory store knows them once somebody asked.
        meta: Where they came from.
    """

    values: Mapping[str, object]
    digests: Digests
    meta: Meta


class Store(Protocol):
    """Values by key, each the outputs of one call. Every method may be called from any thread.

    What a store said a moment ago may be gone now, since other processes share it and damage shows
    only on reading: `get` may give None for a key that it `has`.
    """

    def has(self, key: str) -> bool:
        """Whether the outputs of the call `key` are here: cheap, and without reading them."""
        ...

    def get(self, key: str, ports: Collection[str] | None = None) -> Entry | None:
        """The outputs of a call, all or those in `ports`; None where they are not to be had."""
        ...

    def digests(self, key: str) -> Digests | None:
        """The content digests of a call's outputs, without reading these."""
        ...

    def meta(self, key: str) -> Meta | None:
        """Where the outputs of a call came from."""
        ...

    def put(
        self, key: str, values: Mapping[str, object], meta: Meta, *, durable: bool = True
    ) -> Digests:
        """Keep the outputs of a call; what is kept under a key already stays.

        Args:
            key: The call.
            values: Its outputs by port.
            meta: Where they come from.
            durable: Whether they shall outlive the process; else they are kept in memory, where
                there is one. Hashing and writing happen in this call: make it from a writer thread.

        Returns:
            The digests of `values`, empty if they were not needed (nothing durable was written).

        Raises:
            UnkeyableError: durable values hold something that cannot be written down.
        """
        ...

    def link(self, key: str, digests: Digests, meta: Meta) -> bool:
        """Keep under `key` outputs whose content is here already; whether it is."""
        ...

    def content_lookup(self, content_key: str) -> str | None:
        """The key of a call of the same node on equal content, if one was computed."""
        ...

    def content_put(self, content_key: str, key: str) -> None:
        """Remember that the call `key` was made of `content_key`."""
        ...

    def drop(self, key: str) -> None:
        """Forget a call; what other calls share with it stays."""
        ...

    def drop_device(self) -> int:
        """Forget what takes up memory of devices; how many bytes that was."""
        ...


class NoStore:
    """A store that keeps nothing, for runs without a cache."""

    def has(self, key: str) -> bool:
        """Never."""
        return False

    def get(self, key: str, ports: Collection[str] | None = None) -> Entry | None:
        """Nothing."""
        return None

    def digests(self, key: str) -> Digests | None:
        """Nothing."""
        return None

    def meta(self, key: str) -> Meta | None:
        """Nothing."""
        return None

    def put(
        self, key: str, values: Mapping[str, object], meta: Meta, *, durable: bool = True
    ) -> Digests:
        """Keep nothing."""
        return {}

    def link(self, key: str, digests: Digests, meta: Meta) -> bool:
        """Keep nothing."""
        return False

    def content_lookup(self, content_key: str) -> str | None:
        """Nothing."""
        return None

    def content_put(self, content_key: str, key: str) -> None:
        """Keep nothing."""

    def drop(self, key: str) -> None:
        """Nothing is here."""

    def drop_device(self) -> int:
        """Nothing is here."""
        return 0


@dataclass(frozen=True, slots=True)
class Tiered:
    """A fast store in front of a lasting one; what is found in the second moves to the first.

    Args:
        memory: Asked first, told everything.
        disk: Asked next, told what is durable.
    """

    memory: Store
    disk: Store

    def has(self, key: str) -> bool:
        """Whether either has it."""
        return self.memory.has(key) or self.disk.has(key)

    def get(self, key: str, ports: Collection[str] | None = None) -> Entry | None:
        """From memory, else from disk, and then in memory as well if all of it was read."""
        entry = self.memory.get(key, ports)
        if entry is not None:
            return entry
        entry = self.disk.get(key, ports)
        if entry is not None and set(entry.values) == set(entry.digests):
            self.memory.put(key, entry.values, entry.meta, durable=False)
        return entry

    def digests(self, key: str) -> Digests | None:
        """Those written down, else those that memory computes."""
        return self.disk.digests(key) or self.memory.digests(key)

    def meta(self, key: str) -> Meta | None:
        """From memory, else from disk."""
        return self.memory.meta(key) or self.disk.meta(key)

    def put(
        self, key: str, values: Mapping[str, object], meta: Meta, *, durable: bool = True
    ) -> Digests:
        """To memory, and to disk if durable."""
        self.memory.put(key, values, meta, durable=False)
        return self.disk.put(key, values, meta) if durable else {}

    def link(self, key: str, digests: Digests, meta: Meta) -> bool:
        """In both, as far as they hold the content."""
        in_memory = self.memory.link(key, digests, meta)
        return self.disk.link(key, digests, meta) or in_memory

    def content_lookup(self, content_key: str) -> str | None:
        """From memory, else from disk."""
        return self.memory.content_lookup(content_key) or self.disk.content_lookup(content_key)

    def content_put(self, content_key: str, key: str) -> None:
        """To both."""
        self.memory.content_put(content_key, key)
        self.disk.content_put(content_key, key)

    def drop(self, key: str) -> None:
        """From both."""
        self.memory.drop(key)
        self.disk.drop(key)

    def drop_device(self) -> int:
        """From both."""
        return self.memory.drop_device() + self.disk.drop_device()

"""A store on disk that several processes share without locks, and that no crash can corrupt."""

from __future__ import annotations

import random
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from graphdiff.engine.codec import DamagedError, UnreadableError, decode, encode, parse
from graphdiff.engine.content import digest
from graphdiff.engine.shelf import LIMIT_BYTES, Shelf
from graphdiff.engine.store import CacheWarning, Digests, Entry, Meta
from graphdiff.engine.tree import Types, wire_type
from graphdiff.paths import cache_directory

_LOTS = 1024  # of what is written until somebody counts: finer than this, growth is not noted


class DiskStore:
    """Values that outlive the process, each content once, checked whenever one is read.

    Opening costs nothing, however much is there. Whatever goes wrong with the disk costs time
    alone: what cannot be read is reported missing with a warning, and computed again.

    Args:
        folder: Where it lies; the cache folder if None.
        limit_bytes: How large it may grow; then the least recently used goes. This is looked after
            by `put`, whenever a sixteenth of the limit was written by any process.
        types: Finds the classes of values; see `wire_type`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        limit_bytes: int = LIMIT_BYTES,
        *,
        types: Types = wire_type,
    ) -> None:
        self.folder = cache_directory() if folder is None else folder
        self.limit_bytes = limit_bytes
        self._types = types
        self._shelf = Shelf(self.folder)
        self._swept = False

    def __repr__(self) -> str:
        return f"DiskStore({str(self.folder)!r})"

    def has(self, key: str) -> bool:
        """Whether the outputs of the call `key` are here."""
        return self._shelf.has("recipes", key)

    def get(self, key: str, ports: Collection[str] | None = None) -> Entry | None:
        """The outputs of a call, all or those in `ports`, if they are as they were written."""
        record = self._record(key)
        if record is None:
            return None
        digests: dict[str, str] = record["digests"]
        values: dict[str, object] = {}
        for port, content in digests.items():
            if ports is None or port in ports:
                try:
                    path = Path(self._shelf.path("blobs", content))
                    values[port] = decode(path, content=content, types=self._types)
                except FileNotFoundError:  # thrown out since
                    self.drop(key)
                    return None
                except DamagedError as error:
                    self._shelf.remove("blobs", content)
                    self._drop_damaged(digests)
                    self.drop(key)
                    self._warn(f"{record['name']} was damaged ({error}) and is computed again")
                    return None
                except (UnreadableError, OSError) as error:
                    self._warn(f"{record['name']} cannot be read and is computed again: {error}")
                    return None
        self._shelf.touch("recipes", key)
        return Entry(values, digests, _meta(record))

    def digests(self, key: str) -> Digests | None:
        """The content digests of a call's outputs, if these are still here."""
        record = self._record(key)
        if record is None:
            return None
        digests: dict[str, str] = record["digests"]
        return digests if self._holds(digests) else None

    def meta(self, key: str) -> Meta | None:
        """Where the outputs of a call came from."""
        record = self._record(key)
        return _meta(record) if record is not None else None

    def put(
        self, key: str, values: Mapping[str, object], meta: Meta, *, durable: bool = True
    ) -> Digests:
        """Write the outputs of a call down, if they are durable; the first to be written stay."""
        if not durable:
            return {}
        if not self._swept:
            self._swept = True
            self._shelf.sweep_temporary()
        digests = {port: digest(value) for port, value in values.items()}
        try:
            written = 0
            for content, value in {digests[port]: values[port] for port in values}.items():
                if self._shelf.has("blobs", content):
                    self._shelf.touch("blobs", content)
                else:
                    image = encode(value, content)
                    if len(image) > self.limit_bytes // 2:
                        return digests  # all else would have to go for it
                    self._shelf.write("blobs", content, image, replace=True)
                    written += len(image)
            self._write_recipe(key, digests, meta, written)
        except OSError as error:
            self._warn(f"cannot be written: {error.strerror}")
        return digests

    def link(self, key: str, digests: Digests, meta: Meta) -> bool:
        """Write down that a call gave contents that are here; whether they are."""
        if not self._holds(digests):
            return False
        try:
            self._write_recipe(key, digests, meta, 0)
        except OSError as error:
            self._warn(f"cannot be written: {error.strerror}")
            return False
        return True

    def content_lookup(self, content_key: str) -> str | None:
        """The key of a call on equal content, if its outputs are here."""
        try:
            key: str = self._shelf.read_record("contents", content_key)["key"]
        except FileNotFoundError:
            return None
        except (DamagedError, OSError):
            self._shelf.remove("contents", content_key)
            return None
        return key if self.has(key) else None

    def content_put(self, content_key: str, key: str) -> None:
        """Write down that the call `key` was made of `content_key`."""
        if self.content_lookup(content_key) is None:
            try:
                self._shelf.write_record("contents", content_key, {"key": key}, replace=True)
            except OSError as error:
                self._warn(f"cannot be written: {error.strerror}")

    def drop(self, key: str) -> None:
        """Forget a call; its contents go with the next pruning, if no other call gave them."""
        self._shelf.remove("recipes", key)

    def drop_device(self) -> int:
        """A disk takes up none of it."""
        return 0

    def _drop_damaged(self, digests: Digests) -> None:
        """Take away the damaged ones of these contents: `put` trusts those that are there."""
        for content in digests.values():
            try:
                parse(memoryview(Path(self._shelf.path("blobs", content)).read_bytes()), content)
            except DamagedError:
                self._shelf.remove("blobs", content)
            except OSError:
                continue

    def _record(self, key: str) -> dict[str, Any] | None:
        try:
            return self._shelf.read_record("recipes", key)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self.drop(key)
            self._warn(f"entry {key} was damaged ({error}) and is computed again")
        except OSError as error:
            self._warn(f"cannot be read: {error.strerror}")
        return None

    def _holds(self, digests: Digests) -> bool:
        return all(self._shelf.has("blobs", content) for content in digests.values())

    def _write_recipe(self, key: str, digests: Digests, meta: Meta, written: int) -> None:
        record = {
            "node": meta.node,
            "name": meta.name,
            "workflow": meta.workflow,
            "seconds": meta.seconds,
            "digests": dict(digests),
        }
        if not self._shelf.write_record("recipes", key, record) and self.digests(key) is None:
            self._shelf.write_record("recipes", key, record, replace=True)
        if self._grown(written + 1) > self.limit_bytes // 16:
            from graphdiff.engine.maintain import prune  # seldom needed

            prune(self.folder, self.limit_bytes)

    def _grown(self, written: int) -> int:
        """Note that so much was written; how much all processes wrote since somebody counted.

        Of small writes one in many is noted, as that many, since noting takes as long as writing.
        """
        lot = self.limit_bytes // 16 // _LOTS
        if written >= lot:
            return self._shelf.grow(written)
        return self._shelf.grow(lot) if random.random() * lot < written else 0

    def _warn(self, what: str) -> None:
        warnings.warn(f"cache {self.folder}: {what}", CacheWarning, stacklevel=3)


def _meta(record: Mapping[str, Any]) -> Meta:
    return Meta(record["node"], record["name"], record["seconds"], record["workflow"])

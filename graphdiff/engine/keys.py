"""Keys: values and calls as bytes that are equal in every process, and hashes of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

_LONG = 256  # a longer token is replaced by its hash


def token_of(value: Any) -> bytes:  # noqa: ANN401 - any value that can be keyed
    """A value as bytes that say where they end, so that tokens can be strung together.

    Raises:
        UnkeyableError: the value holds something that has no content to be known by.
    """
    kind = value.__class__
    if kind is str:
        data: bytes = value.encode("utf-8", "surrogatepass")
        return _short(b"s%d:%b" % (len(data), data))
    if kind is int:
        return b"i%d;" % value
    if kind is float:
        return b"d%b;" % repr(value).encode()
    if value is None:
        return b"n"
    if value is True:
        return b"t"
    if value is False:
        return b"f"
    if kind is list:
        return list_token(map(token_of, value))
    if kind is tuple:
        return _short(b"(%b)" % b"".join(map(token_of, value)))
    if kind is dict and all(name.__class__ is str for name in value):
        return map_token({name: token_of(item) for name, item in value.items()})
    from graphdiff.engine.content import digest

    return b"c%b;" % digest(value).encode()


def list_token(tokens: Iterable[bytes]) -> bytes:
    """The token of a list whose items have these."""
    return _short(b"[%b]" % b"".join(tokens))


def map_token(tokens: Mapping[str, bytes]) -> bytes:
    """The token of a map whose values have these; the order of its names does not matter."""
    return _short(b"{%b}" % b"".join(token_of(name) + tokens[name] for name in sorted(tokens)))


def call_key(identity: bytes, tokens: list[bytes]) -> str:
    """The key of a call's outputs.

    Args:
        identity: The node's (see `identity`).
        tokens: Those of its arguments, in the order of its parameters.
    """
    return blake2b(identity + b"".join(tokens), digest_size=16).hexdigest()


def _short(token: bytes) -> bytes:
    if len(token) <= _LONG:
        return token
    return b"h" + blake2b(token, digest_size=16).digest()

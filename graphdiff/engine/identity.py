"""What a node is: its name, its package's version, and the source that it is made of."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from graphdiff.engine.sources import beside, sources_of
from graphdiff.graph.installed import file_of, version_of
from graphdiff.graph.node import Node

_OWN = frozenset({"graphdiff", "graphdiff_nodes"})  # the packages of this distribution


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node is.

    Args:
        name: Its name.
        version: The version of the distribution that provides it; empty for a loose file.
        source: A hash of its module and of what that imports of the same distribution.
        torch: The version of torch that it computes with, as major.minor; empty if it does not.
    """

    name: str
    version: str
    source: str
    torch: str

    def digest(self) -> bytes:
        """All of it as 16 bytes."""
        text = json.dumps([self.name, self.version, self.source, self.torch])
        return blake2b(text.encode(), digest_size=16).digest()


def identity_of(node: Node[..., Any]) -> Identity:
    """What `node` is; the files of its package are read, its modules are not imported."""
    module = node.fn.__module__
    top = module.partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None) or node.fn.__code__.co_filename
    hashes: list[str] = [node.fn.__qualname__]
    torch = False
    start = Path(file)
    if not start.is_file():  # typed into an interpreter: the code itself is all there is
        hashes.append(_code_hash(node.fn.__code__))
    else:
        packages = _packages_of(top)
        if "." not in module and top not in _OWN and _is_loose(top):
            packages |= beside(start.parent)
        for name, source in sorted(sources_of(module, start, packages).items()):
            hashes.append(source.hash)
            torch = torch or source.torch
            if source.changed_ns > node.declared_ns and name.removeprefix(".") in sys.modules:
                # What runs is what was imported before the change, of which the text is gone.
                hashes.append(f"as it was at {node.declared_ns}")
    return Identity(
        name=node.name,
        version=_version_of(top),
        source=sha256("\n".join(hashes).encode()).hexdigest()[:32],
        torch=_torch_version() if torch and node.at == "run" else "",
    )


@lru_cache(maxsize=64)
def _packages_of(top: str) -> frozenset[str]:
    """The top-level packages of the distribution that `top` belongs to."""
    if top in _OWN:
        return _OWN
    return frozenset({top, *file_of(_distribution_of(top), "top_level.txt").split()})


@lru_cache(maxsize=64)
def _version_of(top: str) -> str:
    return version_of(_distribution_of(top))


@lru_cache(maxsize=64)
def _distribution_of(top: str) -> str:
    """The distribution that a top-level package belongs to; the package's own name if to none."""
    if top in _OWN:
        return "graphdiff"
    if version_of(top) or top in sys.stdlib_module_names or _is_loose(top):
        return top
    from importlib import metadata  # slow to import

    return next(iter(metadata.packages_distributions().get(top, ())), top)


def _is_loose(top: str) -> bool:
    """Whether a module lies outside every folder that packages are installed into."""
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"} & set(Path(file).parts)


@lru_cache(maxsize=1)
def _torch_version() -> str:
    return ".".join(version_of("torch").split(".")[:2])


def _code_hash(code: Any) -> str:  # noqa: ANN401 - a code object, and those in it
    parts = [code.co_code.hex(), repr(code.co_names)]
    parts += [_code_hash(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return sha256("\n".join(parts).encode()).hexdigest()

"""Nodes for the tests of the command line, loaded with `--nodes`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from graphdiff.graph.node import InputFile, OutputFile, Outputs, Settings, node

OF_THE_RUN = cast(Outputs, None)


@node
def Add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


@node
def Fail(value: int) -> int:
    """Fail."""
    raise ValueError(f"cannot work with {value}")


@node
def Huge(value: int) -> int:
    """Need more memory than there is."""
    raise MemoryError


@node
def Slow(value: int, seconds: float = 0.05) -> int:
    """Take some time."""
    time.sleep(seconds)
    return value + 1


@node(effect=True)
def Write(value: int, path: OutputFile, *, outputs: Outputs = OF_THE_RUN) -> Path:
    """Write a number into a file."""
    return outputs.write(path, str(value).encode())


@node(effect=True)
def Paint(value: int, path: OutputFile, *, outputs: Outputs = OF_THE_RUN) -> Path:
    """Write a small picture that says where it came from."""
    from PIL import Image

    from graphdiff.picture import embed

    picture = Image.new("RGB", (32, 32), (value * 40 % 256, 90, 160))
    return outputs.write(path, embed(picture, "png", outputs.provenance()))


@node
def CountBytes(file: InputFile) -> int:
    """Count the bytes of a file."""
    return len(file.read_bytes())


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that computes, as a handle says it."""

    device: str
    dtype: str


@node(at="plan")
def Open(settings: Settings) -> Tool:
    """A tool, by what the run was told."""
    return Tool("cpu", "float32" if settings.dtype == "auto" else settings.dtype)


@node
def Use(tool: Tool) -> int:
    """The digits in a tool's precision."""
    return int("".join(filter(str.isdigit, tool.dtype)))

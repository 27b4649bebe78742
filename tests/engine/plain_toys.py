"""Toy nodes in a module that imports nothing."""

from graphdiff.graph.node import node


@node
def PlainOne() -> int:
    """One."""
    return 1


@node
def PlainAdd(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b

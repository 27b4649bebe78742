"""What the engine costs: microseconds of CPU time a node, on nodes that do nothing.

    python benchmarks/engine.py [--json FILE]

Graphs are built first; what is measured goes from the built graph to its results, by a session
with a cache in memory: cold, run again, and run again from another graph that says the same. The
last column is ComfyUI's executor on the same kind of graph, cold and cached, measured on a machine
of this kind.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.session import Session
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call, Element, Graph, Loop, Ref

COMFYUI = {
    ("chain", 10): (302, 208),
    ("chain", 100): (2281, 1980),
    ("chain", 1000): (41900, 52500),
    ("fan", 1000): (1517, 704),
}
"""Microseconds a node, cold and cached."""


@node
def One() -> int:  # noqa: N802 - a node
    """One."""
    return 1


@node
def Add(a: int, b: int = 0) -> int:  # noqa: N802 - a node
    """Add two numbers."""
    return a + b


@node
def Total(numbers: list[int]) -> int:  # noqa: N802 - a node
    """Add a list of numbers."""
    return sum(numbers)


REGISTRY = Registry.of(One, Add, Total)


def chain(size: int) -> Graph:
    """Each node reads the one before."""
    nodes: dict[str, Element] = {"n0": Call("One", {})}
    for k in range(1, size):
        nodes[f"n{k}"] = Call("Add", {"a": Ref((f"n{k - 1}",)), "b": k})
    return Graph(nodes=nodes, outputs={"result": Ref((f"n{size - 1}",))})


def fan(size: int) -> Graph:
    """All nodes read the first, and the last reads them all."""
    nodes: dict[str, Element] = {"n0": Call("One", {})}
    for k in range(1, size - 1):
        nodes[f"n{k}"] = Call("Add", {"a": Ref(("n0",)), "b": k})
    nodes["total"] = Call("Total", {"numbers": [Ref((f"n{k}",)) for k in range(1, size - 1)]})
    return Graph(nodes=nodes, outputs={"result": Ref(("total",))})


def grid(size: int) -> Graph:
    """Each node reads the one above and the one to the left."""
    side = round(size**0.5)
    nodes: dict[str, Element] = {}
    for i in range(side):
        for j in range(side):
            above = Ref((f"n{i - 1}_{j}",)) if i else i
            left = Ref((f"n{i}_{j - 1}",)) if j else j
            nodes[f"n{i}_{j}"] = Call("Add", {"a": above, "b": left})
    return Graph(nodes=nodes, outputs={"result": Ref((f"n{side - 1}_{side - 1}",))})


def loop(size: int) -> Graph:
    """A loop of four calls a pass."""
    body: dict[str, Element] = {
        "a": Call("Add", {"a": Ref(("carry", "x")), "b": Ref(("index",))}),
        "b": Call("Add", {"a": Ref(("carry", "x")), "b": Ref(("one",))}),
        "c": Call("Add", {"a": Ref(("a",)), "b": Ref(("b",))}),
        "d": Call("Add", {"a": Ref(("c",)), "b": Ref(("carry", "x"))}),
    }
    passes = Loop(over=size // 4, carry={"x": 0}, nodes=body, next={"x": Ref(("d",))})
    nodes: dict[str, Element] = {"one": Call("One", {}), "loop": passes}
    return Graph(nodes=nodes, outputs={"result": Ref(("loop", "x"))})


SHAPES: dict[str, tuple[Callable[[int], Graph], tuple[int, ...]]] = {
    "chain": (chain, (10, 100, 1000, 10_000)),
    "fan": (fan, (10, 100, 1000, 10_000)),
    "grid": (grid, (9, 100, 1024, 10_000)),
    "loop": (loop, (40, 400, 4000)),
}


def timed(session: Session, graph: Graph, size: int) -> float:
    """Microseconds of CPU time a node of one run."""
    session.load(graph)  # reading and checking have figures of their own
    before = time.process_time()
    session.run(graph)
    return (time.process_time() - before) / size * 1e6


def measured(make: Callable[[int], Graph], size: int, rounds: int) -> dict[str, float]:
    """The medians of several rounds: cold, cached, and cached by another graph."""
    found: dict[str, list[float]] = {"cold": [], "cached": [], "cached anew": []}
    for _ in range(rounds):
        session = Session(cache=MemoryStore(), registry=REGISTRY)
        graph = make(size)
        found["cold"].append(timed(session, graph, size))
        found["cached"].append(timed(session, graph, size))
        found["cached anew"].append(timed(session, make(size), size))
    return {name: statistics.median(values) for name, values in found.items()}


def memory(size: int, *, kept: bool) -> float:
    """The most bytes a node that a chain needs, what is kept of it in memory included or not."""
    graph = chain(size)
    session = Session(cache=MemoryStore() if kept else None, registry=REGISTRY)
    session.load(graph)
    tracemalloc.start()
    results = session.run(graph)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert results.summary.ran == size
    return peak / size


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="Write the figures there too.")
    options = parser.parse_args()
    say = sys.stdout.write
    Session(cache=MemoryStore(), registry=REGISTRY).run(chain(3))  # what is done once a process
    rows: list[dict[str, object]] = []
    say(f"{'':8}{'nodes':>7}{'cold':>9}{'cached':>9}{'anew':>9}   ComfyUI\n")
    for shape, (make, sizes) in SHAPES.items():
        for size in sizes:
            row = measured(make, size, rounds=max(3, min(200, 30_000 // size)))
            rows.append({"shape": shape, "nodes": size, **row})
            peer = COMFYUI.get((shape, size))
            figures = "".join(f"{value:9.1f}" for value in row.values())
            say(f"{shape:8}{size:7}{figures}   {f'{peer[0]} / {peer[1]}' if peer else ''}\n")
    running, kept = memory(5000, kept=False), memory(5000, kept=True)
    say(f"memory: {running:.0f} bytes a node, {kept:.0f} with a cache in memory\n")
    if options.json:
        figures_of_memory = {"shape": "chain", "nodes": 5000, "bytes": running, "kept": kept}
        options.json.write_text(json.dumps([*rows, figures_of_memory], indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What holds memory is asked for it when a call has too little, and does not keep anyone alive."""

from __future__ import annotations

import gc

from graphdiff import pressure
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from tests.engine.toys import call, graph, run


class Holds:
    """Holds some pieces of memory, and gives one back each time."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def relieve(self) -> bool:
        self.pieces -= 1
        return self.pieces >= 0


def test_all_are_asked_even_if_the_first_has_something() -> None:
    holders = [Holds(1), Holds(1), Holds(0)]
    for holder in holders:
        pressure.register(holder)
    assert pressure.relieve()
    assert [holder.pieces for holder in holders] == [0, 0, -1]
    assert not pressure.relieve()


def test_nobody_is_kept_alive_by_being_known() -> None:
    pressure.register(Holds(5))
    gc.collect()
    assert not pressure.relieve()


def test_a_batch_is_tried_whole_again_as_long_as_somebody_gave_memory_back() -> None:
    holder, tried = Holds(2), []

    @node
    def Heavy(x: int) -> int:
        """Heavy."""
        return x

    @Heavy.batched(over=("x",))
    def _heavy(x: list[int]) -> list[int]:
        tried.append((len(x), holder.pieces))
        if holder.pieces > 0 or len(x) > 2:
            raise MemoryError
        return x

    pressure.register(holder)
    nodes = {f"h{k}": call("Heavy", x=k) for k in range(4)}
    results = run(graph(nodes, {name: f"${name}" for name in nodes}), registry=Registry.of(Heavy))
    assert [results.outputs[f"h{k}"] for k in range(4)] == [0, 1, 2, 3]
    assert [size for size, _ in tried] == [4, 4, 4, 2, 2]

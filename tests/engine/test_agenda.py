"""How many calls run as one, on toy nodes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphdiff.engine.agenda import Agenda
from graphdiff.graph.node import DeclarationError, node
from graphdiff.graph.registry import Registry
from tests.engine.toys import call, graph, run


def batches(limit: int | Callable[..., int] | None, sizes: list[int]) -> list[int]:
    """How many calls of a node with a limit run as one."""
    tried: list[int] = []

    @node
    def Paint(size: int, x: int) -> int:
        """Paint."""
        tried.append(1)
        return size * x

    @Paint.batched(over=("x",), limit=limit)
    def _(size: int, x: list[int]) -> list[int]:
        tried.append(len(x))
        return [size * one for one in x]

    nodes = {f"{size}x{k}": call("Paint", size=size, x=k) for size in sizes for k in range(6)}
    results = run(graph(nodes), registry=Registry.of(Paint))
    assert results.outputs == {f"{size}x{k}": size * k for size in sizes for k in range(6)}
    return tried


class Hashed(SimpleNamespace):
    """Some attributes, known by identity."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def by_size(size: int) -> int:
    return 8 // size


@pytest.mark.parametrize(("limit", "tried"), [(None, [6]), (4, [4, 2]), (1, [1] * 6)])
def test_a_limit_bounds_how_many_calls_run_as_one(limit: int | None, tried: list[int]) -> None:
    assert batches(limit, [3]) == tried


def test_a_limit_may_depend_on_the_arguments() -> None:
    assert sorted(batches(by_size, [2, 8])) == [1, 1, 1, 1, 1, 1, 2, 4]


def test_a_limit_below_one_is_one() -> None:
    assert batches(by_size, [100]) == [1] * 6


def test_a_limit_that_cannot_be_told_leaves_calls_alone() -> None:
    def refuses(size: int) -> int:
        raise ValueError(size)

    assert batches(refuses, [3]) == [1] * 6


def test_a_limit_by_something_that_is_no_parameter_is_refused() -> None:
    def by_colour(colour: int) -> int:
        return colour

    with pytest.raises(DeclarationError, match="colour"):
        batches(by_colour, [3])


def test_calls_halved_for_memory_stay_below_what_the_node_says() -> None:
    tried: list[int] = []

    @node
    def Heavy(x: int) -> int:
        """Heavy."""
        return x

    @Heavy.batched(over=("x",), limit=lambda: 4)
    def _(x: list[int]) -> list[int]:
        tried.append(len(x))
        if len(x) > 2:
            raise MemoryError
        return x

    nodes = {f"h{k}": call("Heavy", x=k) for k in range(8)}
    run(graph(nodes), registry=Registry.of(Heavy))
    assert tried == [4, 2, 2, 2, 2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60), st.data())
def test_the_largest_group_runs_first_then_what_shares_with_the_last_then_the_first(
    ready: list[tuple[int, int]], data: Any
) -> None:
    agenda = Agenda()
    kind: Any = Hashed(limiting=None, limit=data.draw(st.sampled_from([None, 1, 3])))
    waiting: dict[tuple[bytes, int], list[int]] = {}
    resident = b""
    number = 0
    while ready or waiting:
        take = min(len(ready), data.draw(st.integers(0, 20)))
        for shared, shape in ready[:take]:
            job: Any = SimpleNamespace(task=SimpleNamespace(number=number, kind=kind), group=None)
            agenda.add_batchable(job, b"%d" % shared, shape, [])
            waiting.setdefault((b"%d" % shared, shape), []).append(number)
            number += 1
        del ready[:take]
        if data.draw(st.integers(0, 9)) == 0:
            agenda.halve(kind, 4)
        if not waiting:
            continue
        limits = [limit for limit in (kind.limit, agenda.limits.get(kind)) if limit is not None]
        key = max(
            waiting,
            key=lambda key: (
                min(len(waiting[key]), *limits, 99), key[0] == resident, -waiting[key][0],
            ),
        )  # fmt: skip
        size = min(len(waiting[key]), *limits, 99)
        assert [job.task.number for job in agenda.next()] == waiting[key][:size]
        waiting[key] = waiting[key][size:]
        if not waiting[key]:
            del waiting[key]
        resident = key[0]
    assert agenda.next() == []

"""Rounds stop before the time that must not pass."""

from __future__ import annotations

import time

from benchmarks.gpu.device import Device
from benchmarks.gpu.timing import Deadline, seconds, wall_rounds

CPU = Device("cpu")


def test_a_round_is_made_even_when_time_is_up_and_no_second_one() -> None:
    found = wall_rounds({"a": lambda: None}, 5, device=CPU, deadline=Deadline(0.0))
    assert len(found.times["a"]) == 1


def test_all_rounds_are_made_when_there_is_time() -> None:
    ways = {"a": lambda: None, "b": lambda: None}
    found = wall_rounds(ways, 5, device=CPU, deadline=Deadline(60.0))
    assert [len(times) for times in found.times.values()] == [5, 5]


def test_a_round_that_would_not_end_in_time_is_not_begun() -> None:
    deadline = Deadline(0.25)
    found = wall_rounds({"a": lambda: time.sleep(0.1)}, 9, device=CPU, deadline=deadline)
    assert 1 <= len(found.times["a"]) <= 2
    assert deadline.left > -0.1


def test_seconds_are_those_on_the_wall() -> None:
    assert 0.05 <= seconds(lambda: time.sleep(0.05), CPU) < 0.5

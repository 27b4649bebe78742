"""Work beside the run: by a thread where there is time for it, else at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from graphdiff.engine.worker import Worker


def noting(threads: list[str]) -> Callable[[], None]:
    return lambda: threads.append(threading.current_thread().name)


def test_what_is_not_begun_is_done_at_the_end_without_a_thread() -> None:
    threads: list[str] = []
    worker = Worker("beside", ahead=4)
    worker.submit(noting(threads))
    assert threads == []
    worker.close()
    assert threads == [threading.current_thread().name]


def test_what_is_begun_is_done_by_one_thread_in_order() -> None:
    threads: list[str] = []
    order: list[int] = []
    worker = Worker("beside", ahead=4)
    worker.submit(lambda: order.append(0))
    worker.start()
    for k in range(1, 6):
        worker.submit(partial(order.append, k))
    worker.submit(noting(threads))
    worker.close()
    assert (order, threads) == ([0, 1, 2, 3, 4, 5], ["beside"])


def test_as_much_as_may_wait_is_begun_by_itself() -> None:
    threads: list[str] = []
    worker = Worker("beside", ahead=2)
    for _ in range(2):
        worker.submit(noting(threads))
    worker.close()
    assert threads == ["beside", "beside"]


@pytest.mark.parametrize("begun", [True, False])
def test_what_raises_is_noted_and_the_rest_is_done(begun: bool) -> None:
    def exits() -> None:
        raise SystemExit("no more")

    done: list[str] = []
    worker = Worker("beside", ahead=4)
    worker.submit(exits)
    worker.submit(noting(done))
    if begun:
        worker.start()
    worker.close()
    assert list(map(str, worker.errors)) == ["no more"]
    assert len(done) == 1


def test_an_interrupt_of_the_run_itself_is_not_swallowed() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    worker = Worker("beside", ahead=4)
    worker.submit(interrupted)
    with pytest.raises(KeyboardInterrupt):
        worker.close()

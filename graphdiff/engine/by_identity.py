"""What was worked out of values, remembered for as long as these are the same objects."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ByIdentity(Generic[T]):
    """A function of frozen values, called once for each of the last few of them.

    What plan nodes gave is often the same object in the next run, and takes long to walk.

    Args:
        compute: The function: of a value, and of what else its answer depends on.
        most: How many answers are remembered, each with its value.
    """

    def __init__(self, compute: Callable[..., T], most: int = 64) -> None:
        self._compute = compute
        self._most = most
        self._known: OrderedDict[tuple[int, Hashable], tuple[Any, T]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, value: Any, *more: Hashable) -> T:  # noqa: ANN401 - any value
        """What the function says of a value; not to be changed, since it is handed out again."""
        key = id(value), more
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known[1]
        found = self._compute(value, *more)
        with self._lock:
            self._known[key] = value, found  # holds the value, so that its id stays its own
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return found

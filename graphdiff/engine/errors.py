"""What can go wrong in a run.

RunError            at least one call failed; everything that does not depend on it was done
Interrupted         a run was stopped; what was computed is kept
NodeError           what one call failed with: name, type, where it stands, and the cause
OutOfMemory       one call alone does not fit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphdiff.graph.spec import Place

if TYPE_CHECKING:
    from graphdiff.engine.results import Results


class NodeError(RuntimeError):
    """A call failed; its `__cause__` is the node's own error.

    Attributes:
        node: The call, such as `denoise[3].cond`.
        type: The node's type.
        place: Where the call is written, if that is known.
    """

    def __init__(self, node: str, type: str, message: str, place: Place | None = None) -> None:
        self.node = node
        self.type = type
        self.place = place
        where = f"{place}: " if place else ""
        super().__init__(f"{where}{node} ({type}): {message}")


class OutOfMemory(NodeError):  # noqa: N818 - the words that people search for
    """A call does not fit into memory, even alone."""


class RunError(RuntimeError):
    """At least one call failed; what does not depend on it was done and kept.

    Attributes:
        failures: What failed, in order.
        results: What there is all the same.
    """

    def __init__(self, failures: tuple[NodeError, ...], results: Results) -> None:
        self.failures = failures
        self.results = results
        super().__init__("\n".join(map(str, failures)))


class Interrupted(KeyboardInterrupt):
    """A run was stopped; what was computed is kept, so that the next one goes on from there.

    Attributes:
        results: What there is.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        super().__init__("the run was stopped; what was computed is kept")

"""What is found wrong while calls are linked, each mistake once."""

from __future__ import annotations

from graphdiff.engine.body import CallSite
from graphdiff.graph.spec import Diagnostic, GraphPath


class Mistakes:
    """The mistakes in calls.

    Attributes:
        found: What is wrong.
    """

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []
        self._reported: set[tuple[GraphPath, str]] = set()

    def report(
        self,
        site: CallSite,
        code: str,
        message: str,
        parameter: int | None,
        cause: Exception | None = None,
    ) -> None:
        """Note a mistake, once for each place: a loop makes it in every pass."""
        path = site.path if parameter is None else (*site.path, site.kind.names[parameter])
        if (path, code) in self._reported:
            return
        self._reported.add((path, code))
        known = getattr(cause, "help", None)
        self.found.append(
            Diagnostic(code, message, path, help=known if isinstance(known, str) else None)
        )

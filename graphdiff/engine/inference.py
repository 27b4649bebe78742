"""What nodes say of their outputs before anything runs, and of wires that do not fit."""

from __future__ import annotations

from collections.abc import Collection
from operator import is_
from typing import Any, Final

from graphdiff.engine.body import CallSite
from graphdiff.engine.kind import Kind
from graphdiff.engine.mistakes import Mistakes
from graphdiff.engine.task import Many, Task, Wire, filled
from graphdiff.graph.node import WireError
from graphdiff.graph.spec import GraphPath

_OPEN: Final = object()  # what is not known of a value before the run; None may be the value


class Inference:
    """Asks nodes, each as often as what it is asked of differs.

    Args:
        mistakes: Told what does not fit.
    """

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._said: dict[CallSite, tuple[list[Any], Any]] = {}
        self._refused: set[tuple[GraphPath, str, str]] = set()

    def infer(
        self,
        site: CallSite,
        task: Task,
        args: list[Any],
        wires: list[tuple[int, Wire]],
        nested: list[tuple[int, Many]],
    ) -> None:
        """Note what the node of a call says of its outputs."""
        kind = site.kind
        facts = args.copy()
        for i, wire in wires:
            facts[i] = _OPEN if wire.fact is None else wire.fact
        for i, many in nested:
            facts[i] = filled(many, lambda wire: wire.fact)
        asked = [facts[i] for i in kind.infer_places]
        memo = self._said.get(site)  # the passes of a loop ask the same, over and over
        if memo is not None and all(map(is_, asked, memo[0])):
            said = memo[1]
        else:
            unknown = {i for i, _ in wires if facts[i] is _OPEN}
            known = [None if fact is _OPEN else fact for fact in asked]
            said = self.say(site, kind, dict(zip(kind.infer_names, known, strict=True)), unknown)
            if memo is not None and said == memo[1]:
                said = memo[1]  # so that what reads it is asked the same again
            self._said[site] = asked, said
        if said is None:
            return
        if kind.single:
            task.outs[0].fact = said
        else:
            for port, out in zip(kind.ports, task.outs, strict=True):
                out.fact = said.get(port)

    def say(
        self,
        site: CallSite,
        kind: Kind,
        given: dict[str, Any],
        unknown: Collection[int] = (),
    ) -> Any:  # noqa: ANN401
        """What a node's `infer` says; None stands for what is unknown, which it may not refuse."""
        assert kind.inferred is not None
        try:
            return kind.inferred(**given)
        except WireError as error:
            i = kind.place.get(error.parameter)
            if i in unknown:
                return None
            for j, up, slot in site.locals:
                if j == i:
                    mistake = site.within[: len(site.within) - 2 * up], slot, str(error)
                    if mistake in self._refused:
                        return None  # one wire into two nodes, as those of guidance, is one mistake
                    self._refused.add(mistake)
            self._mistakes.report(site, "wire-mismatch", _mismatch(site, error), i)
        return None


def _mismatch(site: CallSite, error: WireError) -> str:
    where = f"{site.label}.{error.parameter}"
    i = site.kind.place.get(error.parameter)
    source = next((slot for j, _, slot in site.locals if j == i), None)
    wired = f", wired to ${source.removeprefix('$')}" if source else ""
    return f"{where}{wired}: {error}"

"""Calls of plan nodes: made while a run is linked, and remembered where nothing else counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import is_dataclass
from typing import Any

from graphdiff.engine.body import CallSite
from graphdiff.engine.by_identity import ByIdentity
from graphdiff.engine.evaluate import ValueOf
from graphdiff.engine.inference import Inference
from graphdiff.engine.keys import call_key, token_of
from graphdiff.engine.kind import Kind
from graphdiff.engine.mistakes import Mistakes
from graphdiff.engine.scope import Need, Scope, Stuck
from graphdiff.engine.task import Known, Many, Wire, filled, wires_in
from graphdiff.graph.node import Settings
from graphdiff.graph.spec import MISSING

_REMEMBERED = 256
_RECORD_TOKENS = ByIdentity(token_of, most=256)


class Origins:
    """What one set of inputs is made of that stands outside of the workflow.

    Attributes:
        files: The SHA-256 of each file that a call reads.
        evaluated: What plan nodes gave, by key.
    """

    __slots__ = ("evaluated", "files")

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.evaluated: dict[str, tuple[Known, ...]] = {}


class PlanCalls:
    """The calls of plan nodes, equal ones once.

    Attributes:
        origins: What each set of inputs is made of, by its number.
    """

    def __init__(
        self,
        settings: Settings,
        value_of: ValueOf,
        remembered: dict[str, tuple[Known, ...]],
        mistakes: Mistakes,
        inference: Inference,
    ) -> None:
        """Start without any: see `Calls`."""
        self.origins: defaultdict[int, Origins] = defaultdict(Origins)
        self._settings = settings
        self._value_of = value_of
        self._remembered = remembered
        self._mistakes = mistakes
        self._inference = inference
        self._evaluated: dict[str, tuple[Known, ...]] = {}

    def link(
        self,
        scope: Scope,
        site: CallSite,
        args: list[Any],
        tokens: list[bytes],
        wires: list[tuple[int, Wire]],
        nested: list[tuple[int, Many]],
    ) -> Need | None:
        """Fill the slots of a call's outputs with their values, or say what these wait for."""
        kind = site.kind
        if wires or nested:
            inside = [wire for _, wire in wires]
            for _, many in nested:
                inside += wires_in(many)
            values = {wire: self._value_of(wire) for wire in inside}
            missing = [wire for wire, value in values.items() if value is MISSING]
            if missing:
                return Stuck(missing)
            for i, wire in wires:
                args[i] = values[wire]
            for i, many in nested:
                args[i] = filled(many, values.__getitem__)
        located = [str(args[i]).encode() for i, marker in kind.paths if marker == "read"]
        key = call_key(kind.prefix, tokens + located)
        outs = self._evaluated.get(key)
        if outs is None and kind.closed:
            outs = self._remembered.get(key)
        if outs is None:
            mistakes = len(self._mistakes.found)
            outs = self._evaluate(site, kind, args)
            if outs is None:
                return Stuck()
            if kind.closed and len(self._mistakes.found) == mistakes:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = outs
        self._evaluated[key] = self.origins[scope.point].evaluated[key] = outs
        if kind.single:
            scope.values[site.label] = outs[0]
        else:
            for port, out in zip(kind.ports, outs, strict=True):
                scope.values[f"{site.label}.{port}"] = out
        return None

    def _evaluate(self, site: CallSite, kind: Kind, args: list[Any]) -> tuple[Known, ...] | None:
        given = dict(zip(kind.names, args, strict=True))
        for name, wanted in kind.injected.items():
            if wanted is Settings:
                given[name] = self._settings
        try:
            result = kind.fn(**given)
            values = (result,) if kind.single else tuple(result)
            outs = tuple(Known(value, _token(value)) for value in values)
        except Exception as error:  # a node may raise anything; the user is told what and where
            message = f"{site.label} ({kind.node.name}): {error or type(error).__name__}"
            self._mistakes.report(site, "plan-failed", message, None, cause=error)
            return None
        if kind.inferred is not None:
            self._inference.say(site, kind, {name: given[name] for name in kind.infer_names})
        return outs


def _token(value: Any) -> bytes:  # noqa: ANN401 - any value
    """The token of what a plan node gave: handles are often those of the run before."""
    return _RECORD_TOKENS(value) if is_dataclass(value) else token_of(value)

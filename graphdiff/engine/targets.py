"""What a run is asked for: targets as the slots that hold their values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphdiff.engine.body import Body, CallSite, IfSite, LoopSite
from graphdiff.graph.spec import (
    Call,
    Diagnostic,
    Element,
    Graph,
    If,
    Loop,
    Part,
    Ref,
    Text,
    WorkflowError,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The slots that a run fills.

    Args:
        results: The values it gives, by name: the slot of each output (of one called `""`, alone).
        effects: Slots of effects that run besides.
    """

    results: Mapping[str, Mapping[str, str]]
    effects: tuple[str, ...] = ()

    def slots(self) -> list[str]:
        """All of them."""
        found = [slot for ports in self.results.values() for slot in ports.values()]
        return [*found, *self.effects]


def wanted(body: Body, targets: Sequence[str] | None) -> Wanted:
    """What a run is for: its targets, else the workflow's outputs and effects, else its leaves.

    Raises:
        WorkflowError: a target is nothing in the workflow, or the list is empty.
    """
    if targets is None:
        every: tuple[str, ...] = ("$effects",)
        effects = every if "$effects" in body.slots else ()
        outputs = {name: {"": f"$output.{name}"} for name in body.outputs}
        if effects or outputs:
            return Wanted(outputs, effects)
        if not body.elements:
            raise WorkflowError((Diagnostic("nothing-to-run", "the workflow has no nodes"),))
        return Wanted({name: _slots(body, name) for name in leaves(body.graph)})
    if not targets:
        message = "the list of targets is empty: leave it out to run the whole workflow"
        raise WorkflowError((Diagnostic("no-targets", message),))
    results: dict[str, Mapping[str, str]] = {}
    mistakes: list[Diagnostic] = []
    for target in targets:
        name, _, port = target.partition(".")
        slots = _slots(body, name) if name in body.labels else {}
        if target in body.outputs and not slots:
            results[target] = {"": f"$output.{target}"}
        elif slots and (not port or port in slots):
            results[target] = {"": slots[port]} if port else slots
        else:
            names = [*body.labels, *body.outputs]
            near = difflib.get_close_matches(target, names, 1)
            mistakes.append(
                Diagnostic(
                    "unknown-target",
                    f"{target!r} is neither a node nor an output; there are {', '.join(names)}",
                    help=f"did you mean {near[0]}?" if near else None,
                )
            )
    if mistakes:
        raise WorkflowError(tuple(mistakes))
    effects = tuple(slot for t in targets if (slot := f"$effects.{t}") in body.slots)
    return Wanted(results, effects)


def leaves(graph: Graph) -> list[str]:
    """The nodes of a graph whose outputs no other node reads."""
    read = {ref.path[0] for name, ref in references(graph.nodes) if ref.path[0] != name}
    return [name for name in graph.nodes if name not in read]


def ancestors(graph: Graph, names: Iterable[str]) -> set[str]:
    """These nodes of a graph, and all that they may read, branches not taken included."""
    reads: dict[str, set[str]] = {}
    for name, ref in references(graph.nodes):
        reads.setdefault(name, set()).add(ref.path[0])
    found: set[str] = set()
    waiting = [name for name in names if name in graph.nodes]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [n for n in reads.get(name, ()) if n in graph.nodes]
    return found


def references(nodes: Mapping[str, Element]) -> Iterator[tuple[str, Ref]]:
    """Every reference in a graph, with the name of the outermost element it stands in."""
    for name, element in nodes.items():
        waiting: list[Any] = [element]
        while waiting:
            item = waiting.pop()
            match item:
                case Ref():
                    yield name, item
                case Text():
                    waiting += item.parts
                case list() | tuple():
                    waiting += item
                case Call() | Part():
                    waiting += item.args.values()
                case If():
                    waiting += [item.test, item.then, item.otherwise]
                case Loop():
                    waiting += [item.over, item.until, item.next]
                    waiting += item.carry.values()
                    waiting += item.collect.values()
                    waiting += item.nodes.values()
                case Mapping():
                    waiting += item.values()
                case _:
                    pass


def _slots(body: Body, name: str) -> dict[str, str]:
    """The slots of a node's outputs by their names; `""` for an only one without a name."""
    site = body.labels[name]
    if isinstance(site, CallSite):
        ports = site.kind.ports
        return {port: f"{name}.{port}" if port else name for port in ports}
    if isinstance(site, IfSite):
        return {"": name}
    names = (*site.names, *site.collect) if isinstance(site, LoopSite) else site.body.outputs
    return {port: f"{name}.{port}" for port in names}

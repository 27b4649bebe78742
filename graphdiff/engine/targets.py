"""What a run is asked for: targets as the slots that hold their values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphdiff.engine.body import Body, CallSite, Descent, IfSite, LoopSite, PartSite, Slot
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
        inside: Those of these slots that are about something in a part or in a pass of a loop, and
            how they are filled.
    """

    results: Mapping[str, Mapping[str, str]]
    effects: tuple[str, ...] = ()
    inside: Mapping[str, Slot] = field(default_factory=dict[str, Slot])

    def slots(self) -> list[str]:
        """All of them."""
        found = [slot for ports in self.results.values() for slot in ports.values()]
        return [*found, *self.effects]


def listed(targets: Sequence[str] | str | None) -> Sequence[str] | None:
    """Targets as a list; one that is given alone is one target, not a list of letters."""
    return [targets] if isinstance(targets, str) else targets


def wanted(body: Body, targets: Sequence[str] | None) -> Wanted:
    """What a run is for: its targets, else the workflow's outputs and effects, else its leaves.

    Raises:
        WorkflowError: a target is nothing in the workflow, or the list is empty.
    """
    targets = listed(targets)
    if targets is None:
        if body.wanted is None:
            body.wanted = _everything(body)
        return body.wanted
    if not targets:
        message = "the list of targets is empty: leave it out to run the whole workflow"
        raise WorkflowError((Diagnostic("no-targets", message),))
    results: dict[str, Mapping[str, str]] = {}
    effects: list[str] = []
    inside: dict[str, Slot] = {}
    mistakes: list[Diagnostic] = []
    for target in targets:
        if target in body.outputs and target not in body.labels:
            results[target] = {"": f"$output.{target}"}
            continue
        try:
            found = _find(body, target)
        except _UnknownTargetError as error:
            mistakes.append(Diagnostic("unknown-target", f"{target}: {error}", help=error.help))
            continue
        results[target] = {port: found.outer(slot) for port, slot in found.slots.items()}
        effects += map(found.outer, found.effects)
        if found.steps:
            for slot in (*found.slots.values(), *found.effects):
                inside[found.outer(slot)] = "inside", found.steps, slot
    if mistakes:
        raise WorkflowError(tuple(mistakes))
    return Wanted(results, tuple(effects), inside)


def _everything(body: Body) -> Wanted:
    """What a run without targets is for."""
    every = ("$effects",) if "$effects" in body.slots else ()
    outputs = {name: {"": f"$output.{name}"} for name in body.outputs}
    if every or outputs:
        return Wanted(outputs, every)
    if not body.elements:
        raise WorkflowError((Diagnostic("nothing-to-run", "the workflow has no nodes"),))
    return Wanted({name: _slots(body, name) for name in leaves(body.graph)})


@dataclass(frozen=True, slots=True)
class _Found:
    """What a target names.

    Args:
        prefix: How its name begins: with what it is inside of.
        steps: The parts and passes that this is.
        slots: The slots of its outputs there, by port.
        effects: The slot of the effects in it there, if it is a loop or a part with some.
    """

    prefix: str
    steps: tuple[Descent, ...]
    slots: Mapping[str, str]
    effects: tuple[str, ...]

    def outer(self, slot: str) -> str:
        """What a slot there is called in the workflow."""
        return f"{self.prefix}{slot}"


class _UnknownTargetError(LookupError):
    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help


def _find(body: Body, target: str) -> _Found:
    """What a target such as `step`, `step.sample` or `part.denoise[3].step` names."""
    names = target.split(".")
    steps: list[Descent] = []
    prefix = ""
    while names:
        label, bracket, rest = names[0].partition("[")
        site = body.labels.get(label)
        if bracket and isinstance(site, LoopSite):
            number = rest.removesuffix("]")
            if not number.isdecimal() or number == rest:
                raise _UnknownTargetError("a pass is written as a number, from 0, in brackets")
            steps.append((site, int(number)))
        elif (
            not bracket
            and isinstance(site, PartSite)
            and names[1:]
            and names[1] not in site.body.outputs
        ):
            steps.append((site, 0))
        else:
            break
        body = site.body
        prefix += f"{names.pop(0)}."
    if not names:
        example = next(iter(body.labels), "node")
        raise _UnknownTargetError("is a pass of a loop", f"name a node in it: {prefix}{example}")
    label, port = names[0], ".".join(names[1:])
    if label not in body.labels:
        every = list(body.labels) if steps else [*body.labels, *body.outputs]
        near = difflib.get_close_matches(label.partition("[")[0], every, 1)
        where = f"{prefix[:-1]} holds" if steps else "there are"
        message = f"is neither a node nor an output; {where} {', '.join(every)}"
        raise _UnknownTargetError(message, f"did you mean {prefix}{near[0]}?" if near else None)
    site = body.labels[label]
    slots = _slots(body, label)
    if port and port not in slots:
        if isinstance(site, LoopSite) and names[1] in site.body.labels:
            example = f"{prefix}{label}[0].{port}"
            raise _UnknownTargetError(f"{names[1]} runs in each pass of {label}", f"say {example}")
        outputs = ", ".join(filter(None, slots)) or "one output, without a name"
        raise _UnknownTargetError(f"there is no such output; {label} has {outputs}")
    effects = () if port or f"$effects.{label}" not in body.slots else (f"$effects.{label}",)
    return _Found(prefix, tuple(steps), {"": slots[port]} if port else slots, effects)


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

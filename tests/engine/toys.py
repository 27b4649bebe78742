"""Toy nodes that log how they are called, and short ways to build and run graphs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from graphdiff.engine.events import (
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeSkipped,
    NodeStarted,
)
from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.plan import Plan, plan
from graphdiff.engine.program import PointInputs
from graphdiff.engine.results import Results
from graphdiff.engine.run import Runner
from graphdiff.engine.store import Store
from graphdiff.graph.node import InputFile, OutputFile, Outputs, Settings, WireError, node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call, Element, Graph, Input, Loop, Ref
from graphdiff.graph.workflow import Workflow

calls: list[str] = []
"""The calls that were made, in order; tests clear it."""


@node
def One() -> int:
    """One."""
    calls.append("One")
    return 1


@node
def Add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    calls.append(f"Add {a} {b}")
    return a + b


@node
def Scale(x: float, by: Annotated[float, Field(ge=0)] = 2.0) -> float:
    """Scale a number."""
    calls.append(f"Scale {x!r} {by!r}")
    return x * by


@node
def Fail(x: int = 0) -> int:
    """Fail."""
    calls.append("Fail")
    raise ValueError("it is meant to fail")


class Split(NamedTuple):
    """Two halves."""

    low: int
    high: int


@node
def Halve(x: int) -> Split:
    """Split a number in two."""
    calls.append(f"Halve {x}")
    return Split(x // 2, x - x // 2)


@node
def Pair(a: Any, b: Any = None) -> Any:
    """A pair: different arguments give different values."""
    calls.append(f"Pair {a} {b}")
    return ("pair", a, b)


@node
def Sum(xs: list[int]) -> int:
    """The sum of a list."""
    calls.append(f"Sum {xs}")
    return sum(xs)


@node
def Above(x: int, limit: int) -> bool:
    """Whether a number is above another."""
    calls.append(f"Above {x} {limit}")
    return x > limit


@node
def Pick(first: Any = None, second: Any = None, *, weight: float = 1.0) -> Any:
    """The first, and the second if it has any weight."""
    calls.append(f"Pick {first} {second}")
    return (first, second)


@Pick.needs
def _pick_needs(weight: float) -> list[str]:
    return [] if weight > 0 else ["second"]


@node
def Append(xs: list[int]) -> list[int]:
    """Break the rule that arguments are left as they are."""
    xs.append(1)
    return xs


@node
def Listed(x: int) -> list[int]:
    """A list of one."""
    return [x]


@node(at="plan")
def Count(n: int) -> list[int]:
    """The numbers below n, known when the run is planned."""
    calls.append(f"Count {n}")
    return list(range(n))


@node(at="plan")
def Device(settings: Settings) -> str:
    """The device that was asked for."""
    return settings.device


@node
def Stack(x: int, salt: int = 0) -> int:
    """A batchable node."""
    calls.append("Stack 1")
    return x * 10 + salt


@Stack.batched(over=("x",))
def _stack(x: list[int], salt: int) -> list[int]:
    calls.append(f"Stack {len(x)}")
    return [one * 10 + salt for one in x]


@node(cache="never")
def Dice() -> int:
    """Something that is never cached."""
    calls.append("Dice")
    return 4


@node
def ReadText(path: InputFile) -> str:
    """The text of a file."""
    calls.append(f"ReadText {path.name}")
    return path.read_text()


class Saved(NamedTuple):
    """A file."""

    path: str
    size: int


@node(effect=True)
def Save(value: Any, path: OutputFile, outputs: Outputs) -> Saved:
    """Write a value to a file."""
    calls.append(f"Save {path}")
    text = repr(value)
    return Saved(outputs.write(path, text.encode()).name, len(text))


@node
def Metres(x: float) -> float:
    """A length."""
    return x


@Metres.infer
def _metres() -> str:
    return "m"


@node
def Degrees(x: float) -> float:
    """An angle."""
    return x


@Degrees.infer
def _degrees() -> str:
    return "deg"


@node
def Distance(a: float, b: float) -> float:
    """A sum of lengths."""
    return a + b


@Distance.infer
def _distance(a: object, b: object) -> str:
    for name, unit in (("a", a), ("b", b)):
        if isinstance(unit, str) and unit != "m":
            raise WireError(name, f"wants metres, got {unit}")
    return "m"


NODES = (
    One, Add, Scale, Fail, Halve, Pair, Sum, Above, Pick, Append, Listed, Count, Device, Stack,
    Dice, ReadText, Save, Metres, Degrees, Distance,
)  # fmt: skip
REGISTRY = Registry.of(*NODES)


def ref(text: str) -> Ref:
    """`ref("loop.x")` is `$loop.x`."""
    return Ref(tuple(text.split(".")))


def call(kind: str, **args: Any) -> Call:
    """A call; text that starts with `$` is a reference."""
    return Call(kind, {name: value(v) for name, v in args.items()})


def value(item: Any) -> Any:
    """A value with text that starts with `$` as references."""
    if isinstance(item, str) and item.startswith("$"):
        return ref(item[1:])
    if isinstance(item, list):
        return [value(v) for v in item]
    return item


def graph(
    nodes: Mapping[str, Element],
    outputs: Mapping[str, str] | None = None,
    inputs: Mapping[str, Input] | None = None,
    **more: Any,
) -> Graph:
    """A graph whose outputs are written as references."""
    return Graph(
        nodes=dict(nodes),
        outputs={name: value(v) for name, v in (outputs or {}).items()},
        inputs=dict(inputs or {}),
        **more,
    )


def run(
    what: Graph,
    inputs: Mapping[str, Any] | None = None,
    *,
    store: Store | None = None,
    output_dir: Path = Path("/nowhere"),
    points: Sequence[PointInputs] | None = None,
    registry: Registry = REGISTRY,
    **options: Any,
) -> Results:
    """Run a graph of toys."""
    return runner_of(
        what,
        inputs,
        store=store,
        output_dir=output_dir,
        points=points,
        registry=registry,
        **options,
    ).run()


def runner_of(
    what: Graph,
    inputs: Mapping[str, Any] | None = None,
    *,
    store: Store | None = None,
    output_dir: Path = Path("/nowhere"),
    points: Sequence[PointInputs] | None = None,
    registry: Registry = REGISTRY,
    **options: Any,
) -> Runner:
    """A run of a graph of toys, to begin."""
    return Runner(
        Workflow(what),
        points or [PointInputs(inputs or {})],
        registry=registry,
        settings=options.pop("settings", Settings()),
        store=MemoryStore() if store is None else store,
        output_dir=output_dir,
        **options,
    )


def planned(what: Graph, inputs: Mapping[str, Any] | None = None, **options: Any) -> Plan:
    """Plan a graph of toys."""
    options.setdefault("registry", REGISTRY)
    options.setdefault("store", MemoryStore())
    return plan(Workflow(what), inputs, **options)


def ran(results: Results) -> list[str]:
    """The names of the calls that ran, in order."""
    return [e.node for e in results.events if isinstance(e, NodeFinished)]


def cached(results: Results) -> list[str]:
    """The names of the calls that were found."""
    return [e.node for e in results.events if isinstance(e, NodeCached)]


def statuses(results: Results) -> dict[str, str]:
    """What became of each call: `run`, `cached`, `failed` or `skipped`."""
    found: dict[str, str] = {}
    for event in results.events:
        match event:
            case NodeStarted(name):
                found[name] = "run"
            case NodeCached(name):
                found.setdefault(name, "cached")
            case NodeFailed(name):
                found[name] = "failed"
            case NodeSkipped(name):
                found[name] = "skipped"
            case _:
                pass
    return found


CHAIN = graph(
    {
        "one": call("One"),
        "two": call("Add", a="$one", b=1),
        "three": call("Add", a="$two", b=1),
    },
    {"result": "$three"},
)
"""Three calls, each of which reads the one before."""


def count_to(passes: Any, **more: Any) -> Loop:
    """A loop that adds each item to what it carries."""
    return Loop(
        over=passes,
        carry={"x": 0},
        nodes={"y": call("Add", a="$carry.x", b="$item")},
        next={"x": ref("y")},
        **more,
    )

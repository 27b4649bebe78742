"""Random graphs with loops and branches: a run equals brute force, and a plan equals the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphdiff.engine.memory import MemoryStore
from graphdiff.engine.relink import LinkedRuns
from graphdiff.engine.results import Results
from graphdiff.engine.store import NoStore, Store
from graphdiff.graph.node import node
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call, Element, Graph, If, Input, Loop, Ref
from tests.engine.toys import planned, run, runner_of, statuses


@node
def Mix(a: Any = 0, b: Any = 0, tag: int = 0) -> Any:
    """A value that tells what it was made of."""
    return f"({a}+{b}*{tag})"


@node
def Longer(a: Any, than: int) -> bool:
    """Whether a value is longer than a number."""
    return len(str(a)) > than


@node
def Both(a: Any = 0, b: Any = 0, tag: int = 0) -> Any:
    """The same as Mix, and batchable."""
    return f"[{a}+{b}*{tag}]"


@Both.batched(over=("a", "b", "tag"))
def _both(a: list[Any], b: list[Any], tag: list[int]) -> list[Any]:
    return [Both.fn(*each) for each in zip(a, b, tag, strict=True)]


REGISTRY = Registry.of(Mix, Longer, Both)


def values(names: list[str]) -> st.SearchStrategy[Any]:
    """A literal, or a reference to one of these."""
    literal = st.integers(0, 3)
    if not names:
        return literal
    return st.one_of(literal, st.sampled_from(names).map(lambda n: Ref(tuple(n.split(".")))))


def _inputs_in(names: list[str]) -> st.SearchStrategy[Any]:
    """A reference to one of the workflow's inputs, if there are any."""
    return _among(name for name in names if name.startswith("inputs."))


def _among(names: Iterable[str]) -> st.SearchStrategy[Any]:
    """A reference to one of these, if there are any."""
    found = [Ref(tuple(name.split("."))) for name in names]
    return st.sampled_from(found) if found else st.nothing()


@st.composite
def elements(
    draw: Any, names: list[str], prefix: str, depth: int, foreseen: bool = False
) -> tuple[dict[str, Element], Any]:
    """Nodes that may read these names and each other, and the names of their outputs.

    If it is `foreseen`, which of them are needed is known before they run.
    """
    nodes: dict[str, Element] = {}
    outer = list(names)
    for k in range(draw(st.integers(1, 5))):
        name = f"{prefix}{k}"
        kind = draw(st.sampled_from(["call", "call", "call", "both", "if", "loop"]))
        if kind == "loop" and depth < 2:
            nodes[name] = loop = draw(loops(outer, f"{name}_", depth + 1, foreseen))
            outer += [f"{name}.{output}" for output in (*loop.carry, *loop.collect)]
            continue
        if kind == "if":
            test: Any = draw(st.one_of(st.booleans(), _inputs_in(names)))
            if not foreseen and draw(st.booleans()):
                nodes[f"{name}t"] = Call("Longer", {"a": draw(values(outer)), "than": 20})
                test = Ref((f"{name}t",))
            nodes[name] = If(test, draw(values(outer)), draw(values(outer)))
        else:
            args = {a: draw(values(outer)) for a in "ab" if draw(st.booleans())}
            args["tag"] = draw(st.integers(0, 2))
            nodes[name] = Call("Both" if kind == "both" else "Mix", args)
        outer.append(name)
    return nodes, outer


@st.composite
def loops(draw: Any, names: list[str], prefix: str, depth: int, foreseen: bool = False) -> Loop:
    """A loop with two things carried, and something collected."""
    plain = [n for n in names if n.split(".")[0] not in ("item", "index", "carry")]
    inner = [*plain, "item", "index", "carry.x", "carry.y"]
    nodes, outer = draw(elements(inner, prefix, depth, foreseen))
    lists = st.lists(st.integers(0, 2), max_size=3)
    collected = _among(name for name in plain if name.endswith(".zs"))
    over = draw(st.one_of(st.integers(0, 3), lists, _inputs_in(names), collected))
    until = None
    if not foreseen and draw(st.integers(0, 4)) == 0:
        nodes[f"{prefix}u"] = Call("Longer", {"a": draw(values(outer)), "than": 25})
        until = Ref((f"{prefix}u",))
    return Loop(
        over=over,
        carry={"x": draw(values(plain)), "y": draw(values(plain))},
        nodes=nodes,
        next={"x": draw(values(outer)), "y": draw(values(outer))},
        collect={"zs": draw(values(outer))},
        until=until,
    )


@st.composite
def graphs(draw: Any) -> Graph:
    nodes, names = draw(elements([], "n", 0))
    outputs = {f"o{k}": draw(values(names)) for k in range(draw(st.integers(1, 3)))}
    return Graph(nodes=nodes, outputs=outputs)


@st.composite
def graphs_with_inputs(draw: Any) -> Graph:
    inputs = {name: Input("int", default=0) for name in ("p", "q")}
    given = [f"inputs.{name}" for name in inputs]
    nodes, names = draw(elements(given, "n", 0, True))
    loop = draw(loops(names, "m_", 1, True))
    inside = ["carry.x", *(name for name, node in loop.nodes.items() if isinstance(node, Call))]
    end = Call("Mix", {"a": draw(values(inside)), "b": Ref(("carry", "x")), "tag": 1})
    loop = replace(loop, nodes={**loop.nodes, "end": end}, next={**loop.next, "x": Ref(("end",))})
    nodes["m"] = loop
    outputs = {"o": Ref(("m", "x")), "also": draw(values(names))}
    return Graph(nodes=nodes, outputs=outputs, inputs=inputs)


class BruteForce:
    """Evaluates a graph by the book: every value anew, each time that it is asked for."""

    def __init__(self, **inputs: int) -> None:
        self.inputs = inputs

    def graph(self, graph: Graph) -> dict[str, Any]:
        scope = Names(graph.nodes, None, {})
        return {name: self.value(v, scope) for name, v in graph.outputs.items()}

    def value(self, value: Any, scope: Names) -> Any:
        if not isinstance(value, Ref):
            return value
        head = value.path[0]
        if head == "inputs":
            return self.inputs[value.path[1]]
        if head in ("item", "index", "carry"):
            return scope.local[".".join(value.path)]
        while head not in scope.nodes:
            assert scope.outer is not None
            scope = scope.outer
        key = value.path
        if key not in scope.known:
            scope.known[key] = self.element(scope.nodes[head], value.path[1:], scope)
        return scope.known[key]

    def element(self, element: Element, output: tuple[str, ...], scope: Names) -> Any:
        if isinstance(element, If):
            test = self.value(element.test, scope)
            return self.value(element.then if test else element.otherwise, scope)
        if isinstance(element, Loop):
            return self.loop(element, scope)[output[0]]
        assert isinstance(element, Call)
        args = {name: self.value(v, scope) for name, v in element.args.items()}
        return REGISTRY.nodes[element.type].fn(**args)

    def loop(self, loop: Loop, scope: Names) -> dict[str, Any]:
        carry = {f"carry.{n}": self.value(v, scope) for n, v in loop.carry.items()}
        collected: dict[str, list[Any]] = {name: [] for name in loop.collect}
        over = self.value(loop.over, scope)
        items = range(over) if isinstance(over, int) else over
        for index, item in enumerate(items):
            inner = Names(loop.nodes, scope, {"item": item, "index": index, **carry})
            assert isinstance(loop.next, dict)
            following = {f"carry.{n}": self.value(v, inner) for n, v in loop.next.items()}
            for name, v in loop.collect.items():
                collected[name].append(self.value(v, inner))
            carry = following
            if loop.until is not None and self.value(loop.until, inner):
                break
        return {n.removeprefix("carry."): v for n, v in carry.items()} | collected


class Names:
    """What the names of a scope stand for."""

    def __init__(self, nodes: Any, outer: Names | None, local: dict[str, Any]) -> None:
        self.nodes, self.outer, self.local = nodes, outer, local
        self.known: dict[tuple[str, ...], Any] = {}


@pytest.fixture(params=["memory", "nothing"])
def make_store(request: pytest.FixtureRequest) -> Any:
    return MemoryStore if request.param == "memory" else NoStore


OFTEN = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@OFTEN
@given(graphs())
def test_a_run_gives_what_evaluation_by_the_book_gives(make_store: Any, graph: Graph) -> None:
    store: Store = make_store()
    expected = BruteForce().graph(graph)
    assert dict(run(graph, store=store, registry=REGISTRY).outputs) == expected
    again = run(graph, store=store, registry=REGISTRY)
    assert dict(again.outputs) == expected
    if not isinstance(store, NoStore):
        assert "run" not in statuses(again).values()


@OFTEN
@given(graphs(), graphs())
def test_what_a_plan_says_is_what_the_run_does(first: Graph, second: Graph) -> None:
    store = MemoryStore()
    for graph in (first, second, first):
        plan = planned(graph, store=store, registry=REGISTRY)
        results = run(graph, store=store, registry=REGISTRY)
        found = statuses(results)
        if plan.complete:
            said = {c.name: c.status for c in plan.calls if c.status != "skip"}
            assert said == found
        else:
            assert {c.name for c in plan.calls if c.status == "cached" and c.task} <= set(found)
        assert planned(graph, store=store, registry=REGISTRY).count("run") == 0


@OFTEN
@given(graphs(), st.data())
def test_a_run_resumes_from_whatever_is_left_of_the_cache(graph: Graph, data: Any) -> None:
    store = MemoryStore()
    run(graph, store=store, registry=REGISTRY)
    calls = planned(graph, store=store, registry=REGISTRY).calls
    keys = sorted({c.key for c in calls if c.key})
    for key in data.draw(st.lists(st.sampled_from(keys), unique=True) if keys else st.just([])):
        store.drop(key)
    plan = planned(graph, store=store, registry=REGISTRY)
    results = run(graph, store=store, registry=REGISTRY)
    assert dict(results.outputs) == BruteForce().graph(graph)
    if plan.complete:
        assert {c.name: c.status for c in plan.calls if c.status != "skip"} == statuses(results)


EDITS = st.lists(st.tuples(st.sampled_from("pq"), st.integers(0, 2)), min_size=2, max_size=6)


@OFTEN
@given(graphs_with_inputs(), EDITS)
def test_a_run_that_takes_over_what_others_linked_does_what_a_plan_of_its_own_says(
    graph: Graph, edits: list[tuple[str, int]]
) -> None:
    store, runs = MemoryStore(), LinkedRuns()
    read_later: list[tuple[Results, dict[str, Any]]] = []
    inputs = {"p": 2, "q": 1}
    for edited, now in edits:
        inputs = inputs | {edited: now}
        expected = BruteForce(**inputs).graph(graph)
        plan = planned(graph, inputs, store=store, registry=REGISTRY)
        runner = runner_of(graph, inputs, store=store, registry=REGISTRY, runs=runs)
        results = runner.run()
        runs.give(runner.program)
        read_later.append((results, expected))
        if plan.complete:
            said = {c.name: c.status for c in plan.calls if c.status != "skip"}
            assert said == statuses(results)
    for results, expected in read_later:
        assert dict(results.outputs) == expected

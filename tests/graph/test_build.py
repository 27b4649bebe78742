"""The Python builder: everything that a file can say, and handles that refuse to be values."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from graphdiff.graph.build import (
    BuildError,
    Graph,
    If,
    Input,
    Loop,
    load_part,
    named,
    output,
    text,
)
from graphdiff.graph.check import check
from graphdiff.graph.handles import HandleError
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call, Ref, WorkflowError
from graphdiff.graph.spec import If as IfSpec
from graphdiff.graph.spec import Loop as LoopSpec
from graphdiff.graph.yaml import parse
from tests.graph.toys import (
    REGISTRY,
    Add,
    Anything,
    Far,
    Film,
    MakePlan,
    Mix,
    Mode,
    One,
    Paint,
    Picture,
    Save,
    TakePhoto,
    Walk,
)

FILE = """\
graphdiff: 1
name: everything
description: All that a file can say.

inputs:
  steps: {type: int, default: 3, help: How many, min: 1}
  names: [a, b]
  size: {type: int, default: null, optional: true}
  base: {type: Picture}

nodes:
  plan: {type: MakePlan, steps: $inputs.steps}
  walk:
    type: Loop
    over: $plan
    carry: {total: 0, history: null}
    nodes:
      step: {type: Walk, tick: $item, total: $carry.total, history: $carry.history}
      inner:
        type: Loop
        over: {x: [1, 2], y: 2}
        carry: {sum: $step.total}
        nodes:
          added: {type: Add, a: $carry.sum, b: $item.x}
          outer: {type: Add, a: $walk.index, b: $walk.carry.total}
          far: {type: Far, total: $added}
        next: {sum: $added}
        collect: {all: $outer}
        until: $far.done
    next: $step
    collect: {lists: $inner.all}
  choice: {type: If, test: true, then: $walk.total, else: 5}
  mixed: {type: Mix, pictures: [$inputs.base, $inputs.base], weights: {a: 0.5}}
  save: {type: Save, picture: $mixed, path: "${inputs.steps}$$-${choice}.png"}

outputs:
  total: $choice
  lists: [$walk.lists, $$literal]
"""


def build() -> Graph:
    with Graph("everything", description="All that a file can say.") as graph:
        steps = Input("steps", int, 3, help="How many", min=1)
        Input("names", list[str], ["a", "b"])
        Input("size", int, None, optional=True)
        base = Input("base", Picture)
        plan = MakePlan(steps)
        with Loop(over=plan, carry={"total": 0, "history": None}) as walk:
            step = Walk(walk.item, walk.carry.total, history=walk.carry.history)
            with Loop(over={"x": [1, 2], "y": 2}, carry={"sum": step.total}) as inner:
                added = Add(inner.carry.sum, inner.item.x)
                outer = Add(walk.index, walk.carry.total)
                far = Far(added)
                inner.next(sum=added)
                every = inner.collect("all", outer)
                inner.until(far.done)
            walk.next(step)
            lists = walk.collect("lists", every)
        choice = If(True, walk.outputs.total, 5)
        mixed = Mix([base, base], {"a": 0.5})
        save = Save(mixed, text("{}$-{}.png", steps, choice))
        output(total=choice, lists=[lists, "$literal"])
    del save
    return graph


def test_the_builder_says_all_that_a_file_can() -> None:
    assert build().spec == parse(FILE).graph


def test_what_the_builder_writes_is_the_file() -> None:
    assert parse(build().to_yaml()).graph == parse(FILE).graph


def test_a_built_graph_has_the_mistakes_of_the_file_and_no_others() -> None:
    assert [d.code for d in check(build().workflow, Registry.of())] == ["not-known-in-time"]


def test_nodes_are_named_by_variables_by_hand_or_by_their_type() -> None:
    with Graph() as graph:
        Add(1)
        Add(2)
        base = One()
        named("third", Add(base))
        with Loop(over=2) as passes:
            inside = Add(passes.item)
    assert inside is not None
    nodes = graph.spec.nodes
    assert list(nodes) == ["add", "add_2", "base", "third", "passes"]
    loop = nodes["passes"]
    assert isinstance(loop, LoopSpec)
    assert list(loop.nodes) == ["inside"]


def test_two_nodes_of_one_name_are_refused() -> None:
    with Graph():
        named("a", One())
        with pytest.raises(BuildError, match="two nodes are called a"):
            named("a", One())
        with pytest.raises(BuildError, match="cannot be called"):
            named("item", One())


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda h: bool(h), "tested for truth"),
        (lambda h: list(h), "iterated over"),
        (lambda h: len(h), "measured"),
        (lambda h: h == 1, "compared"),
        (lambda h: h != 1, "compared"),
        (lambda h: h < 1, "compared"),
        (lambda h: 1 in h, "compared"),
        (lambda h: h[0], "indexed"),
        (lambda h: h + 1, "computed with"),
        (lambda h: 2 * h, "computed with"),
        (lambda h: -h, "computed with"),
        (lambda h: int(h), "made into a number"),
        (lambda h: range(h), "made into a number"),
        (lambda h: f"{h}", "made into text"),
        (lambda h: str(h), "made into text"),
        (lambda h: h(), "called"),
    ],
)
def test_a_handle_refuses_to_be_used_as_a_value(
    misuse: Callable[[Any], object], message: str
) -> None:
    with Graph():
        handle = One()
        with pytest.raises(HandleError, match=f"the result of One cannot be {message}"):
            misuse(handle)


def test_an_attribute_that_is_no_output_is_refused_with_the_outputs() -> None:
    with Graph():
        pair: Any = Film(Paint(1))
        with pytest.raises(AttributeError, match="no output pictur: did you mean picture"):
            _ = pair.pictur
        one: Any = One()
        with pytest.raises(AttributeError, match="use its parts inside of a node"):
            _ = one.real
        with Loop(over=2, carry={"x": 1}) as loop:
            with pytest.raises(AttributeError, match=r"did you mean x|there is x"):
                _ = loop.carry.y
            loop.next(x=loop.carry.x)


def test_a_call_outside_of_a_graph_says_how_to_run_the_function() -> None:
    with pytest.raises(BuildError, match=r"call Add\.fn\(\.\.\.\)"):
        Add(1, 2)
    assert Add.fn(1, 2) == 3
    with pytest.raises(BuildError, match="with Graph"):
        Input("x", int)


def test_arguments_that_do_not_exist_are_told_by_the_checker_with_the_line_of_the_call() -> None:
    with Graph() as graph:
        Add(1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        with pytest.raises(BuildError, match="2 arguments by position"):
            Add(1, 2, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        with pytest.raises(BuildError, match="a twice"):
            Add(1, a=2)  # type: ignore[misc]  # pyright: ignore[reportCallIssue]
    (mistake,) = check(graph.workflow, REGISTRY)
    assert mistake.code == "unknown-argument"
    assert mistake.place is not None
    assert mistake.place.source is not None
    assert "Add(1, c=2)" in mistake.place.source


def test_a_handle_of_another_graph_is_refused() -> None:
    with Graph():
        other = One()
    with Graph(), pytest.raises(BuildError, match="another graph"):
        Add(other)


def test_a_value_of_a_body_outside_of_its_loop_is_a_mistake_with_its_line() -> None:
    with Graph() as graph:
        with Loop(over=2) as loop:
            inside = Add(loop.item)
        Add(inside)
    (mistake,) = check(graph.workflow, REGISTRY)
    assert mistake.code == "out-of-loop"


class State(NamedTuple):
    total: int
    history: Picture | None


def test_carry_may_be_a_named_tuple_that_type_checkers_know() -> None:
    with Graph() as graph:
        with Loop(over=3, carry=State(0, None)) as loop:
            total = Add(loop.carry.total)
            loop.next(State(total, loop.carry.history))
        Add(loop.outputs.total)
    loop_spec = graph.spec.nodes["loop"]
    assert isinstance(loop_spec, LoopSpec)
    assert loop_spec.carry == {"total": 0, "history": None}
    assert loop_spec.next == {"total": Ref(("total",)), "history": Ref(("carry", "history"))}
    assert check(graph.workflow, REGISTRY) == ()


class Kind(Enum):
    ODD = (1, 2)


def test_python_values_become_plain_data() -> None:
    with Graph() as graph:
        Anything((1, [Path("a/b"), Mode.HARD, Kind.ODD], {"k": (True, None)}))
    call = graph.spec.nodes["anything"]
    assert isinstance(call, Call)
    assert call.args == {"value": [1, ["a/b", "hard", "ODD"], {"k": [True, None]}]}


def test_values_that_no_file_holds_stay_as_they_are_and_are_not_written() -> None:
    thing = object()
    with Graph() as graph:
        Anything(thing)
    call = graph.spec.nodes["anything"]
    assert isinstance(call, Call)
    assert call.args["value"] is thing
    with pytest.raises(WorkflowError, match="not-writable"):
        graph.to_yaml()


def test_both_sides_of_a_branch_are_values() -> None:
    with Graph() as graph:
        chosen = If(True, Paint(1), TakePhoto())
    assert chosen is not None
    branch = graph.spec.nodes["chosen"]
    assert isinstance(branch, IfSpec)
    assert branch.then == Ref(("paint",))


PART = """\
graphdiff: 1
inputs: {base: {type: Picture}, size: 3}
nodes: {p: {type: Paint, size: $inputs.size}, m: {type: Mix, pictures: [$p, $inputs.base]}}
outputs: {picture: $m, size: $inputs.size}
"""


def test_a_part_is_a_function(tmp_path: Path) -> None:
    (tmp_path / "mixed.yaml").write_text(PART)
    registry = Registry.of(*REGISTRY.nodes.values(), parts={"Mixed": tmp_path / "mixed.yaml"})
    with Graph() as graph:
        mixed = load_part("Mixed", registry)(base=TakePhoto(), size=2)
        Save(mixed.picture)
        with pytest.raises(AttributeError, match="did you mean picture"):
            _ = mixed.pictur
    assert check(graph.workflow, registry) == ()
    assert "mixed: {type: Mixed, base: $take_photo, size: 2}" in graph.to_yaml()
    with pytest.raises(BuildError, match="did you mean Mixed"):
        load_part("Mixd", registry)


def test_mistakes_inside_of_a_part_are_told_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mixed.yaml"
    file.write_text(PART.replace("size: $inputs.size}, m", "size: none}, m"))
    with Graph() as graph:
        load_part(file, REGISTRY)(base=TakePhoto())
    (mistake,) = check(graph.workflow, REGISTRY)
    assert mistake.code == "wrong-literal"
    assert mistake.place is not None
    assert (mistake.place.file, mistake.place.line) == (str(file), 3)


def test_graphs_of_two_threads_do_not_mix() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def build_one(number: int) -> int:
        with Graph() as graph:
            for i in range(50):
                Add(i, number)
        return len(graph.spec.nodes)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(build_one, range(8))) == [50] * 8


def test_a_chain_of_ten_thousand_calls_is_built_without_recursion() -> None:
    with Graph() as graph:
        value = One()
        for _ in range(10_000):
            value = Add(value)
    assert len(graph.spec.nodes) == 10_001


def test_a_handle_is_no_default_of_an_input() -> None:
    with Graph():
        one = One()
        with pytest.raises(BuildError, match="input n: <the result of One> is not known yet"):
            Input("n", int, one)
        with pytest.raises(BuildError, match="is not known yet"):
            Input("m", int, 1, choices=[1, one])

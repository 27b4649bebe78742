"""Wrong wires. A mark says which checkers must find a mistake in its line: `# wrong: mypy pyright`."""

# pyright: strict

from graphdiff.graph.build import Graph, Input, Loop
from tests.graph.toys import Add, Film, First, Half, Hear, MakePlan, Mix, Paint, Pair, Save, Walk

with Graph() as graph:
    size = Input("size", int, 3)
    name = Input("name", str)
    maybe = Input("maybe", int, None, optional=True)
    Paint(name)  # wrong: mypy pyright
    Paint(maybe)  # wrong: mypy pyright
    Paint(Half())  # wrong: mypy pyright
    Paint(size, "blue")  # wrong: mypy pyright
    Paint()  # wrong: mypy pyright
    Paint(size, colour="red")  # wrong: mypy pyright
    Add(1, 2, 3)  # wrong: mypy pyright
    Save(Hear())  # wrong: mypy pyright
    pair = Film(Paint(size))
    Save(pair)  # wrong: mypy pyright
    Save(pair.sound)  # wrong: mypy pyright
    Save(pair.picure)  # wrong: mypy pyright
    Mix(Paint(size))  # wrong: mypy pyright
    Save(First([Hear()]))  # wrong: mypy pyright
    with Loop(over=MakePlan(3)) as loop:
        Walk(loop.index, 1)  # wrong: mypy pyright
        Walk(loop.item, loop.item)  # wrong: mypy pyright
    with Loop(over=MakePlan(3), carry=Pair(Paint(1), Hear())) as pairs:
        Save(pairs.carry.sound)  # wrong: mypy pyright
        Save(pairs.carry.pictures)  # wrong: mypy pyright
    Save(pairs.outputs.sound)  # wrong: mypy pyright
    Loop(over=Hear())  # wrong: mypy pyright
    Save(Paint(size))

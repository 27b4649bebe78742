"""The checker: every kind of mistake is found, once, and what is right is left alone."""

# ruff: noqa: E501 - files on one line each

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from graphdiff.graph.build import Graph, Loop, output
from graphdiff.graph.check import check, checked
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import Call
from graphdiff.graph.spec import Graph as GraphSpec
from tests.graph.toys import REGISTRY, Add, Film, Hear, Paint, Picture, Save, codes, mistakes

SOUND = "nodes:\n  a: {type: Paint, size: 2}\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("unknown-key", "foo: 1\nnodes: {a: {type: One}}"),
        ("unknown-key", "nodes: {a: {type: Loop, ovr: 3, nodes: {b: {type: One}}}}"),
        ("unknown-key", "inputs: {a: {type: int, defalt: 3}}\nnodes: {a: {type: One}}"),
        ("unknown-key", "nodes: {a: {type: If, test: true, then: 1, esle: 2}}"),
        ("missing-key", "nodes: {a: {a: 1}}"),
        ("missing-key", "nodes: {a: {type: Loop, over: 3}}"),
        ("missing-key", "nodes: {a: {type: If, test: true, then: 1}}"),
        ("missing-key", "inputs: {a: {help: hm}}\nnodes: {a: {type: One}}"),
        ("missing-key", "inputs: {a: null}\nnodes: {a: {type: One}}"),
        ("duplicate-key", "nodes: {a: {type: One}, a: {type: Half}}"),
        ("duplicate-key", "nodes: {a: {type: Add, a: 1, a: 2}}"),
        ("wrong-key", "nodes: {a: {type: Anything, value: {1: 2}}}"),
        ("wrong-key", "nodes: {a: {<<: {type: One}, type: One}}"),
        ("wrong-shape", "nodes: {a: One}"),
        ("wrong-shape", "nodes: [a]"),
        ("wrong-shape", "nodes: {a: {type: Loop, over: 1, nodes: {b: {type: One}}, until: 3}}"),
        ("wrong-shape", "nodes: {a: {type:One}}"),
        ("wrong-shape", "nodes: {a: {type: One, b}}\n" .replace("One, b", '"One", b')),
        ("wrong-name", "nodes: {a-b: {type: One}}"),
        ("wrong-name", "nodes: {item: {type: One}}"),
        ("dollar-misuse", "nodes: {a: {type: Anything, value: $5 off}}"),
        ("dollar-misuse", 'nodes: {a: {type: Anything, value: "${5}"}}'),
        ("dollar-misuse", "inputs: {x: $y}\nnodes: {a: {type: One}}"),
        ("unquoted-braces", "inputs: {x: 1}\nnodes: {a: {type: Anything, value: a/${inputs.x}.png}}"),
        ("unquoted-comma", "nodes: {a: {type: Anything, value: a cat, a dog}}"),
        ("yaml-syntax", "nodes: {a: {type: One}"),
        ("yaml-syntax", "nodes: {a: {type: Anything, value: !x 3}}"),
        ("yaml-syntax", "nodes:\n\ta: {type: One}"),
        ("yaml-syntax", "nodes:\n  a: {type: One}\n  - b"),
        ("yaml-syntax", "nodes: {a: {type: Anything, value: *x}}"),
        ("unknown-type", "inputs: {a: {type: integer}}\nnodes: {a: {type: One}}"),
        ("wrong-input", "inputs: {a: {type: str, min: 3}}\nnodes: {a: {type: One}}"),
        ("wrong-input", "inputs: {a: {type: int, min: 3, max: 2}}\nnodes: {a: {type: One}}"),
        ("wrong-input", "inputs: {a: {type: Picture, default: x}}\nnodes: {a: {type: One}}"),
        ("wrong-literal", "inputs: {a: {type: int, default: null}}\nnodes: {a: {type: One}}"),
        ("wrong-literal", "inputs: {a: {type: str, default: x, choices: [y]}}\nnodes: {a: {type: One}}"),
        ("out-of-bounds", "inputs: {a: {type: int, default: 1, min: 2}}\nnodes: {a: {type: One}}"),
        ("unknown-node-type", "nodes: {a: {type: Ad, a: 1}, b: {type: Save, picture: $a.x}}"),
        ("unknown-argument", "nodes: {a: {type: One, x: 1}}"),
        ("unknown-argument", "nodes: {a: {type: Paint, sise: 1}}"),
        ("renamed-argument", "nodes: {a: {type: Paint, size: 1, colour: red}}"),
        ("missing-argument", "nodes: {a: {type: Add}}"),
        ("wrong-literal", "nodes: {a: {type: Add, a: true}}"),
        ("wrong-literal", "nodes: {a: {type: Paint, size: 1, color: blue}}"),
        ("wrong-literal", "nodes: {a: {type: Film, picture: 3}}"),
        ("wrong-literal", "nodes: {a: {type: Loop, over: text, nodes: {b: {type: One}}}}"),
        ("lossy-literal", "nodes: {a: {type: Add, a: 7.9}}"),
        ("lossy-literal", f"nodes: {{a: {{type: Scale, value: {2**53 + 1}}}}}"),
        ("wrong-literal", "nodes: {a: {type: Scale, value: .nan}}"),
        ("out-of-bounds", "nodes: {a: {type: Scale, value: 1, factor: 11}}"),
        ("out-of-bounds", "nodes: {a: {type: Loop, over: -1, nodes: {b: {type: One}}}}"),
        ("type-mismatch", "nodes: {h: {type: Half}, a: {type: Add, a: $h}}"),
        ("type-mismatch", "nodes: {a: {type: Add, a: [$b]}, b: {type: One}}"),
        ("type-mismatch", "nodes: {a: {type: Add, a: {x: $b}}, b: {type: One}}"),
        ("type-mismatch", "nodes: {a: {type: Mix, pictures: $b}, b: {type: TakePhoto}}"),
        ("type-mismatch", "nodes: {a: {type: If, test: $b, then: 1, else: 2}, b: {type: One}}"),
        ("type-mismatch", 'inputs: {b: 1}\nnodes: {a: {type: Add, a: "${inputs.b}"}}'),
        ("type-mismatch", 'nodes: {a: {type: Anything, value: "${b}"}, b: {type: MakePlan, steps: 2}}'),
        ("type-mismatch", "nodes: {a: {type: Loop, over: $h, nodes: {b: {type: One}}}, h: {type: Half}}"),
        ("type-mismatch", "nodes: {a: {type: Add, a: $s}, s: {type: Same, value: text}}"),
        ("type-mismatch", "inputs: {a: {type: int, optional: true, default: null}}\n"
         "nodes: {a: {type: Add, a: $inputs.a}}"),
        ("unknown-node", "nodes: {a: {type: Add, a: $b}}"),
        ("unknown-node", "nodes: {a: {type: One}}\noutputs: {x: $b}"),
        ("unknown-input", "nodes: {a: {type: Add, a: $inputs.b}}"),
        ("unknown-output", "nodes: {a: {type: Add, a: $b.x}, b: {type: One}}"),
        ("ambiguous-output", SOUND + "  f: {type: Film, picture: $a}\n  s: {type: Save, picture: $f}"),
        ("out-of-loop", "nodes: {a: {type: Add, a: $item}}"),
        ("out-of-loop", "nodes: {l: {type: Loop, over: 2, nodes: {b: {type: One}}}, a: {type: Add, a: $b}}"),
        ("not-known-in-time", 'nodes: {a: {type: Anything, value: "${b}"}, b: {type: One}}'),
        ("cycle", "nodes: {a: {type: Add, a: $b}, b: {type: Add, a: $c}, c: {type: Add, a: $a}}"),
        ("cycle", "nodes: {a: {type: Add, a: $a}}"),
        ("cycle", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, "
         "nodes: {b: {type: Add, a: $l.x}}, next: {x: $b}}}"),
        ("cycle", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, nodes: {m: {type: Loop, over: 2, "
         "nodes: {b: {type: Add, a: $l.x, b: $l.item}}}}, next: {x: 1}}}"),
        ("shadowed-name", "nodes: {b: {type: One}, l: {type: Loop, over: 2, nodes: {b: {type: One}}}}"),
        ("carry-mismatch", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, nodes: {b: {type: One}}}}"),
        ("carry-mismatch", "nodes: {l: {type: Loop, over: 2, nodes: {b: {type: One}}, next: {x: $b}}}"),
        ("carry-mismatch", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, nodes: {b: {type: One}}, next: $b}}"),
        ("carry-mismatch", "nodes: {l: {type: Loop, over: 2, carry: {x: 1, y: 1}, "
         "nodes: {b: {type: Add, a: $carry.x, b: $carry.y}}, next: {x: $b}}}"),
        ("unequal-lengths", "nodes: {l: {type: Loop, over: {x: [1, 2], y: 3}, nodes: {b: {type: One}}}}"),
        ("duplicate-output", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, "
         "nodes: {b: {type: One}}, next: {x: $b}, collect: {x: $b}}}"),
        ("wrong-shape", "nodes: {a: {type: Paint, size 3}}"),
        ("wrong-key", "nodes: {a: {type: Paint, 3: size}}"),
        ("unknown-key", "input: {n: 1}\nnodes: {a: {type: Add, a: $inputs.n, b: $inputs.m}}"),
        ("unknown-key", "nods: {a: {type: One}}\noutputs: {x: $a}"),
        ("unknown-key", "nodes: {l: {type: Loop, over: 2, crry: {x: 1}, "
         "nodes: {b: {type: Add, a: $carry.x}}, next: {x: $b}}, c: {type: Add, a: $l.x}}"),
        ("unknown-key", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, "
         "nods: {b: {type: Add, a: $carry.x}}, next: {x: $b}}, c: {type: Add, a: $l.x}}"),
        ("unknown-key", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, "
         "nodes: {b: {type: Add, a: $carry.x}}, nxt: {x: $b}}, c: {type: Add, a: $l.x}}"),
        ("unknown-key", "nodes: {l: {type: Loop, over: 2, nodes: {b: {type: One}}, colect: {x: $b}}, "
         "c: {type: First, items: $l.x}}"),
        ("out-of-loop", "nodes: {l: {type: Loop, over: 2, nodes: {b: {type: One}}}, a: {type: Add, a: $l.item}}"),
        ("type-mismatch", "nodes: {l: {type: Loop, over: 2, carry: {x: 1}, nodes: {b: {type: One}}, "
         "next: {x: $b}, until: $carry.x}}"),
        ("unknown-node-type", "nodes: {f: {type: Film, picture: $p}, p: {type: TakePhoto}, a: {type: Flim, x: $f}}"),
        ("unknown-node-type", "nodes: {l: {type: loop, over: 2, nodes: {b: {type: Add, a: $item}}}}"),
        ("wrong-literal", "nodes: {a: {type: Scale, value: 1e400}}"),
        ("cycle", "nodes: {a: {type: Film, picture: $b}, b: {type: Add, a: $a}}"),
        ("cycle", "nodes: {a: {type: Film, picture: $b}, b: {type: Add, a: $a.sund}, "
         "c: {type: Save, picture: $a.picture}}"),
        ("shadowed-name", "nodes: {b: {type: One}, l: {type: Loop, over: 2, "
         "nodes: {b: {type: Add, a: $b}, c: {type: Save, picture: $b}}}}"),
        ("shadowed-name", "nodes: {b: {type: One}, l: {type: Loop, over: 2, carry: {x: 1}, "
         "nodes: {l: {type: Add, a: $l.x, b: $l}}, next: {x: $l}}}"),
        ("carry-mismatch", "nodes: {l: {type: Loop, over: 2, carry: null, "
         "nodes: {b: {type: Add, a: $carry.x, b: $carry.y}}, next: {x: $b, y: $b}}, c: {type: Add, a: $l.x}}"),
        ("carry-mismatch", "nodes: {p: {type: MakePlan, steps: 2}, l: {type: Loop, over: $p, "
         "carry: {totl: 1, history: null}, nodes: {b: {type: Walk, tick: $item, total: $carry.total, "
         "history: $carry.history}}, next: $b}, c: {type: Add, a: $l.total}}"),
        ("type-mismatch", "nodes: {s: {type: Hear}, l: {type: Loop, over: 2, carry: {x: $s}, "
         "nodes: {b: {type: Add, a: $carry.x}, c: {type: Add, a: 1, b: $carry.x}}, next: {x: $b}}, "
         "d: {type: Add, a: $l.x}}"),
        ("type-mismatch", "nodes: {s: {type: Hear}, l: {type: Loop, over: 2, carry: {x: 1}, "
         "nodes: {b: {type: Add, a: $carry.x}, c: {type: Add, a: 1, b: $carry.x}}, next: {x: $s}}, "
         "d: {type: Add, a: $l.x}}"),
        ("wrong-name", "nodes: {my-a: {type: Film}, b: {type: Save, picture: $my-a.picture}}"
         .replace("Film}", "Film, picture: $q}, q: {type: TakePhoto}")),
        ("wrong-name", "nodes: {my-a: {type: One}, b: {type: Add, a: $my_a}, "
         'c: {type: Anything, value: "${my-a}"}}'),
        ("wrong-name", "inputs: {my-n: 1}\nnodes: {b: {type: Add, a: $inputs.my-n}}"),
        ("wrong-name", "nodes: {index: {type: One}, b: {type: Add, a: $index}}"),
        ("unknown-node", "nodes: {a: {type: Add, a: $gone, b: $gone}, b: {type: Add, a: $gone}}"),
        ("unknown-input", "nodes: {a: {type: Add, a: $inputs.n}, b: {type: Add, a: $inputs.n}}"),
        ("type-mismatch", "nodes: {s: {type: Hear}, a: {type: Add, a: $s}, b: {type: Add, a: $s}}"),
        ("unknown-argument", "nodes: {a: {type: Paint, length: 3}}"),
        ("unknown-argument", "nodes: {a: {type: Save, size: 3, color: red}, b: {type: Film, picture: $a}}"),
        ("missing-argument", "nodes: {a: {type: Walk}}"),
        ("wrong-shape", "inputs: {n: {type: int, default: null, optional: maybe}}\n"
         "nodes: {a: {type: Save, picture: $inputs.n}}"),
        ("wrong-literal", "inputs: {n: {type: str, default: 3}}\nnodes: {a: {type: Add, a: $inputs.n}}"),
        ("wrong-literal", "nodes: {a: {type: Same, value: 1}, p: {type: TakePhoto}, "
         "m: {type: Mix, pictures: [$p, p]}}"),
        ("wrong-literal", "nodes: {m: {type: Mix, pictures: [p]}}"),
        ("type-mismatch", "nodes: {s: {type: Hear}, f: {type: First, items: $s}, a: {type: Add, a: $f}}"),
        ("unknown-key", "nodes:\n  l:\n    type: Loop\n    over: 2\n    nodes:\n      a: {type: One}\n"
         "    b: {type: Add, a: 1}\n    collect: {x: $b}"),
        ("wrong-shape", "nodes:\n  l:\n    type: Loop\n    over: 2\n    carry: {x: 1}\n    nodes:\n"
         "      a: {type: Add, a: $carry.x}\n      next: {x: $a}\n  b: {type: Add, a: $l.x}"),
        ("missing-key", "inputs:\n  n: 3\n  a: {type: Add, a: $inputs.n}\n  b: {type: Add, a: $a}"),
        ("missing-key", "nodes:\n  a: {type: One}\n  x: $a\n  y: $a"),
        ("nothing-to-run", "inputs: {x: 1}"),
        ("nothing-to-run", "nodes: {}"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_message(code: str, text: str) -> None:
    told = "\n".join(map(str, mistakes(whole := _with_nodes(text))))
    assert codes(whole) == [code], told


def _with_nodes(text: str) -> str:
    return (
        text
        if "nodes:" in text or "nods:" in text or "{type: Add" in text
        else text + "\nnodes: {}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "nodes: {a: {type: Add, a: 1}, s: {type: Scale, value: $a}}",
        "nodes: {a: {type: Scale, value: 5}}",
        "nodes: {p: {type: TakePhoto}, m: {type: Mix, pictures: [$p, $p], weights: {a: 1}}}",
        "nodes: {p: {type: Same, value: 3}, a: {type: Add, a: $p}}",
        "nodes: {p: {type: First, items: [1, 2]}, a: {type: Add, a: $p}}",
        "nodes: {p: {type: TakePhoto}, f: {type: Film, picture: $p, mode: hard}}",
        'inputs: {n: 3}\nnodes: {p: {type: TakePhoto}, s: {type: Save, picture: $p, path: "${inputs.n}$$"}}',
        "inputs: {p: {type: Picture}}\nnodes: {s: {type: Save, picture: $inputs.p}}",
        "inputs: {p: {type: [int], default: [1]}}\nnodes: {l: {type: Loop, over: $inputs.p, "
        "nodes: {a: {type: Add, a: $item, b: $index}}, collect: {all: $a}}, f: {type: First, items: $l}}",
        "nodes: {a: {type: If, test: true, then: 1, else: $b}, b: {type: One}, c: {type: Add, a: $a}}",
        "inputs: {c: {type: str, default: red, choices: [red, green]}}\n"
        "nodes: {a: {type: Paint, size: 1, color: $inputs.c}}",
        "nodes: {r: {type: Read, path: ./nowhere.txt}}",
    ],
)  # fmt: skip
def test_what_is_right_is_not_complained_about(text: str) -> None:
    assert mistakes(text) == []


def test_a_wrong_node_type_hides_what_hangs_on_it_and_nothing_else() -> None:
    text = "nodes:\n  a: {type: Pant, x: $nope}\n  f: {type: Film, picture: $a.b.c}\n  g: {type: Add, a: $a}\n"
    assert codes(text) == ["unknown-node-type", "unknown-node"]


def test_targets_are_nodes_or_outputs_and_at_least_one() -> None:
    graph = GraphSpec(nodes={"a": Call("One", {})}, outputs={"x": 1})
    assert check(graph, REGISTRY, targets=["a", "x"]) == ()
    assert [d.code for d in check(graph, REGISTRY, targets=[])] == ["no-targets"]
    assert [d.code for d in check(graph, REGISTRY, targets=["b"])] == ["unknown-target"]


def test_a_graph_built_in_python_is_told_by_the_line_of_the_call() -> None:
    with Graph() as graph:
        sound = Hear()
        Save(sound)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with Loop(over=3) as loop:
            Add(sound)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        output(x=loop.outputs)
    found = check(graph.workflow, Registry.of())
    assert [d.code for d in found] == ["type-mismatch", "type-mismatch", "unknown-output"]
    assert found[0].place is not None
    assert found[0].place.file == __file__
    assert found[0].place.source is not None
    assert found[0].place.source.strip().startswith("Save(sound)")


def test_a_builder_of_right_calls_has_no_mistakes() -> None:
    with Graph() as graph:
        pair = Film(Paint(3))
        Save(pair.picture)
        output(picture=pair.picture)
    assert checked(graph.workflow, Registry.of()).graph.outputs.keys() == {"picture"}


def test_ten_thousand_nodes_in_a_chain_are_checked_without_recursion() -> None:
    text = "nodes:\n  n0: {type: One}\n" + "".join(
        f"  n{i}: {{type: Same, value: $n{i - 1}}}\n" for i in range(1, 10_000)
    )
    assert mistakes(text) == []


def test_picture_is_a_type_of_the_registry() -> None:
    assert REGISTRY.types["Picture"] is Picture


def test_checking_a_right_file_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom graphdiff.graph.check import load\n"
        "from graphdiff.graph.registry import load_registry\n"
        "load('workflows/text_to_image.yaml', load_registry())\n"
        "heavy = {'torch', 'numpy', 'transformers', 'huggingface_hub', 'networkx', 'jsonschema'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": f"{root}:{root / 'nodes'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")

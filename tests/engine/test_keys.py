"""Keys: what they depend on, and what they do not."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphdiff.engine.identity import identity_of
from graphdiff.engine.keys import list_token, map_token, token_of
from graphdiff.graph.registry import Registry, load_registry
from graphdiff.graph.spec import Graph, Input, Loop
from tests.engine.toys import Add, call, graph, planned, ref

ROOT = Path(__file__).parents[2]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def exactly(value: Any) -> Any:
    """A value in a form in which 1, 1.0 and True differ."""
    if isinstance(value, list):
        return [exactly(v) for v in value]
    if isinstance(value, dict):
        return {k: exactly(v) for k, v in value.items()}
    return type(value).__name__, repr(value)


@given(json_values, json_values)
def test_tokens_are_equal_just_where_values_are(a: Any, b: Any) -> None:
    assert (token_of(a) == token_of(b)) == (exactly(a) == exactly(b))


@given(st.lists(json_values, max_size=4))
def test_a_list_gathered_from_wires_is_keyed_as_the_list_itself(items: list[Any]) -> None:
    assert list_token(map(token_of, items)) == token_of(items)
    named = {str(k): item for k, item in enumerate(items)}
    assert map_token({n: token_of(v) for n, v in named.items()}) == token_of(named)


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_tokens_strung_together_say_where_each_ends(a: list[str], b: list[str]) -> None:
    assert (b"".join(map(token_of, a)) == b"".join(map(token_of, b))) == (a == b)


def keys(what: Graph, **options: Any) -> dict[str, str]:
    """The keys of a graph's calls by name."""
    return {c.name: c.key for c in planned(what, **options).calls}


BASE = graph({"one": call("One"), "sum": call("Add", a="$one", b=2)}, {"r": "$sum"}, None)


@pytest.mark.parametrize(
    "same",
    [
        graph({"sum": call("Add", a="$one", b=2), "one": call("One")}, {"r": "$sum"}),
        graph({"eins": call("One"), "summe": call("Add", b=2, a="$eins")}, {"s": "$summe"}),
        graph(
            {"one": call("One"), "sum": call("Add", a="$one", b="$inputs.b")},
            {"r": "$sum"},
            {"b": Input("int", 2)},
        ),
    ],
    ids=["reordered", "renamed", "by an input"],
)
def test_a_workflow_that_says_the_same_otherwise_has_the_same_keys(same: Graph) -> None:
    assert set(keys(same).values()) == set(keys(BASE).values())


def test_a_default_that_is_stated_changes_no_key() -> None:
    bare = graph({"sum": call("Add", a=1)}, {"r": "$sum"})
    stated = graph({"sum": call("Add", a=1, b=0)}, {"r": "$sum"})
    assert keys(bare) == keys(stated)


def test_an_int_written_for_a_float_has_the_key_of_the_float() -> None:
    written = graph({"s": call("Scale", x=5)}, {"r": "$s"})
    exact = graph({"s": call("Scale", x=5.0)}, {"r": "$s"})
    assert keys(written) == keys(exact)


def test_a_list_of_literals_and_one_by_inputs_have_the_same_key() -> None:
    literal = graph({"s": call("Sum", xs=[1, 2])}, {"r": "$s"})
    wired = graph({"s": call("Sum", xs=[1, "$inputs.b"])}, {"r": "$s"}, {"b": Input("int", 2)})
    assert keys(literal) == keys(wired)


def test_a_loop_written_out_has_the_keys_of_the_loop() -> None:
    loop = Loop(
        over=[5, 6],
        carry={"x": 0},
        nodes={"y": call("Add", a="$carry.x", b="$item")},
        next={"x": ref("y")},
    )
    looped = graph({"loop": loop}, {"r": "$loop.x"})
    flat = graph({"y": call("Add", a=0, b=5), "z": call("Add", a="$y", b=6)}, {"r": "$z"})
    assert set(keys(looped).values()) == set(keys(flat).values())


def test_keys_are_the_same_in_every_process() -> None:
    program = textwrap.dedent(
        """
        from tests.engine.test_keys import BASE, keys
        print(*sorted(keys(BASE).values()))
        """
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert found.stdout.split() == sorted(keys(BASE).values())


def test_the_bytes_of_a_file_are_in_the_key_and_its_name_is_not(tmp_path: Path) -> None:
    import os

    what = graph({"t": call("ReadText", path="a.txt")}, {"r": "$t"}, None, folder=tmp_path)
    file = tmp_path / "a.txt"
    file.write_text("one")
    first = keys(what)
    (tmp_path / "b.txt").write_text("one")
    other = graph({"t": call("ReadText", path="b.txt")}, {"r": "$t"}, None, folder=tmp_path)
    assert keys(other) == first
    before = os.stat(file)
    file.write_text("two")  # the same size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys(what) != first
    file.write_text("one")
    assert keys(what) == first


def test_an_input_path_is_relative_to_the_working_folder_and_a_default_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, text in ((here, "here"), (there, "there")):
        folder.mkdir()
        (folder / "a.txt").write_text(text)
    what = graph(
        {"t": call("ReadText", path="$inputs.file")},
        {"r": "$t"},
        {"file": Input("path", "a.txt")},
        folder=there,
    )
    monkeypatch.chdir(here)
    by_default = planned(what).files
    given = planned(what, {"file": "a.txt"}).files
    assert list(by_default) == [str(there / "a.txt")]
    assert list(given) == [str(here / "a.txt")]


# What a node is.

HELPER = """
def double(x):
    return 2 * x
"""
NODES = """
from graphdiff.graph.node import node

@node
def Twice(x: int) -> int:
    \"\"\"Twice.\"\"\"
    from toypackage.helper import double
    return double(x)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write a package of one node, and give the node's source hash."""
    folder = tmp_path / "toypackage"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "other.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def load(nodes: str = NODES, helper: str = HELPER, other: str | None = None) -> str:
        (folder / "nodes.py").write_text(nodes)
        (folder / "helper.py").write_text(helper)
        if other is not None:
            (folder / "other.py").write_text(other)
        for name in [n for n in sys.modules if n.partition(".")[0] == "toypackage"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        module = importlib.import_module("toypackage.nodes")
        assert "toypackage.helper" not in sys.modules
        return identity_of(module.Twice).source

    yield load
    for name in [n for n in sys.modules if n.partition(".")[0] == "toypackage"]:
        del sys.modules[name]


def test_the_code_of_a_node_is_in_its_identity(package: Callable[..., str]) -> None:
    first = package()
    assert package(NODES.replace("double(x)\n", "double(x) + 1\n")) != first


def test_the_code_of_a_helper_that_a_node_imports_is_in_its_identity(
    package: Callable[..., str],
) -> None:
    first = package()
    assert package(helper=HELPER.replace("2 *", "3 *")) != first
    assert package() == first


def test_comments_docstrings_and_layout_are_not(package: Callable[..., str]) -> None:
    first = package()
    assert package(NODES.replace("Twice.", "Two times.") + "\n# a comment\n") == first
    assert package(helper='"""A helper."""\n\n\n' + HELPER.replace("2 * x", "2*x  # x")) == first


def test_a_module_that_is_not_imported_is_not(package: Callable[..., str]) -> None:
    first = package()
    assert package(other="x = 2\n") == first


def _is_of(module: object, file: Path) -> bool:
    return getattr(module, "__file__", None) == str(file)


def test_a_changed_identity_changes_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key_of(code: str) -> str:
        file = tmp_path / "loose.py"
        file.write_text(code)
        from graphdiff.graph.registry import load_registry

        for name in [n for n, m in sys.modules.items() if n.endswith("loose") and _is_of(m, file)]:
            del sys.modules[name]
        registry = load_registry([file])
        what = graph({"t": call("Loose", x=1)}, {"r": "$t"})
        return keys(what, registry=registry)["t"]

    monkeypatch.syspath_prepend(tmp_path)
    code = "from graphdiff.graph.node import node\n@node\ndef Loose(x: int) -> int:\n    return x\n"
    assert key_of(code) != key_of(code.replace("return x", "return -x"))
    assert key_of(code) == key_of(code + "# comment\n")


def test_the_version_of_its_package_is_in_a_nodes_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphdiff.engine import identity

    first = identity_of(Add).digest()
    monkeypatch.setattr(identity, "_version_of", lambda top: "9.9")
    assert identity_of(Add).digest() != first


def test_only_nodes_that_compute_with_torch_have_its_version_in_their_key() -> None:
    from graphdiff.graph.registry import load_registry

    nodes = load_registry().nodes
    assert identity_of(Add).torch == ""
    assert identity_of(nodes["LoadModel"]).torch == ""
    assert identity_of(nodes["UNetPredict"]).torch.count(".") == 1


def test_a_registry_is_enough_to_plan(tmp_path: Path) -> None:
    assert keys(BASE, registry=Registry.of(*planned_nodes())) == keys(BASE)


def planned_nodes() -> list[Any]:
    """The nodes that BASE needs."""
    from tests.engine.toys import One

    return [One, Add]


@pytest.mark.parametrize(
    "line",
    [
        "from loose_helper import factor",
        "from .loose_helper import factor",
        "from . import loose_helper\nfactor = lambda: loose_helper.factor()",
    ],
)
@pytest.mark.parametrize("single", [True, False])
def test_a_helper_beside_a_loose_file_of_nodes_is_in_its_identity(
    tmp_path: Path, line: str, single: bool
) -> None:
    """What `--nodes FILE`, or `--nodes FOLDER`, loads may import its neighbours."""
    code = (
        "import sys; from pathlib import Path; from graphdiff.graph.registry import load_registry; "
        "from graphdiff.engine.identity import identity_of; "
        "print(identity_of(load_registry([Path(sys.argv[1])]).nodes['Loose']).source)"
    )
    nodes = tmp_path / "loose_nodes.py"
    nodes.write_text(
        f"from graphdiff import node\n{line}\n\n"
        "@node\ndef Loose(x: int) -> int:\n    return x * factor()\n"
    )

    def source(helper: str) -> str:
        (tmp_path / "loose_helper.py").write_text(helper)
        done = subprocess.run(
            [sys.executable, "-B", "-c", code, str(nodes if single else tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "nodes")))},
        )
        return done.stdout

    first = source("def factor():\n    return 2\n")
    assert source("def factor():\n    return 3\n") != first
    assert source("def factor():\n    return 2  # two\n") == first


def test_a_node_file_that_is_edited_after_it_was_loaded_is_not_taken_for_what_runs(
    tmp_path: Path,
) -> None:
    text = "from graphdiff import node\n\n@node\ndef Late(x: int) -> int:\n    return x * 2\n"
    file = tmp_path / "late_nodes.py"
    file.write_text(text)
    loaded = load_registry([file]).nodes["Late"]
    as_loaded = identity_of(loaded).source
    assert identity_of(loaded).source == as_loaded
    edited = text.replace("x * 2", "x * 3")
    time.sleep(0.02)  # longer than a tick of the file system's clock
    file.write_text(edited)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "late_nodes.py").write_text(edited)
    new = load_registry([tmp_path / "new" / "late_nodes.py"]).nodes["Late"]
    assert loaded.fn(1) == 2
    assert new.fn(1) == 3
    assert identity_of(loaded).source not in (as_loaded, identity_of(new).source)

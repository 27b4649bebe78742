"""Loose files of nodes: they import each other, and their mistakes are told with their lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphdiff.graph.registry import Registry, RegistryError, load_registry

NODE = (
    "from graphdiff.graph.node import node\n\n\n"
    '@node\ndef {name}(a: int) -> int:\n    """Some."""\n    return a * {factor}\n'
)


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Forget the modules of each test."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if "_of_a_test" in name or name.startswith(("loose_", "graphdiff_extra_")):
            del sys.modules[name]


def load(folder: Path, **files: str) -> Registry:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return load_registry([folder])


@pytest.mark.parametrize(
    "line",
    [
        "from . import helper_of_a_test",
        "from .helper_of_a_test import FACTOR, Helped",
        "import helper_of_a_test",
        "from helper_of_a_test import Helped",
    ],
)
def test_files_of_a_folder_import_each_other_as_one_module(tmp_path: Path, line: str) -> None:
    registry = load(
        tmp_path,
        a_first_of_a_test=f"{line}\n" + NODE.format(name="First", factor=2),
        helper_of_a_test="FACTOR = 3\n" + NODE.format(name="Helped", factor="FACTOR"),
        z_last_of_a_test=f"{line}\n" + NODE.format(name="Last", factor=4),
    )
    assert registry.nodes["Helped"].fn(2) == 6
    assert registry.nodes["Helped"].fn.__module__ == "helper_of_a_test"
    assert {"First", "Last"} <= registry.nodes.keys()


def test_a_single_file_imports_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_of_a_test.py").write_text("FACTOR = 5\n")
    own = tmp_path / "own_of_a_test.py"
    own.write_text(
        "from .beside_of_a_test import FACTOR\n" + NODE.format(name="Own", factor="FACTOR")
    )
    assert load_registry([own]).nodes["Own"].fn(2) == 10


def test_a_folder_may_hold_packages(tmp_path: Path) -> None:
    (tmp_path / "inner_of_a_test").mkdir()
    (tmp_path / "inner_of_a_test" / "__init__.py").write_text("from .deep import FACTOR\n")
    (tmp_path / "inner_of_a_test" / "deep.py").write_text("FACTOR = 7\n")
    text = "from .inner_of_a_test import FACTOR\n" + NODE.format(name="Deep", factor="FACTOR")
    assert load(tmp_path, deeper_of_a_test=text).nodes["Deep"].fn(1) == 7


def test_a_file_called_as_a_library_leaves_the_library_alone(tmp_path: Path) -> None:
    import random

    registry = load(tmp_path, random=NODE.format(name="Chance", factor=1))
    assert registry.nodes["Chance"].fn(4) == 4
    assert sys.modules["random"] is random


def test_two_folders_of_one_name_are_two(tmp_path: Path) -> None:
    for parent in ("x", "y"):
        folder = tmp_path / parent / "same"
        folder.mkdir(parents=True)
        (folder / f"tool_{parent}_of_a_test.py").write_text(f"WHO = '{parent}'\n")
        text = f"from .tool_{parent}_of_a_test import WHO\nassert WHO == '{parent}'\n"
        load(
            folder,
            **{f"nodes_{parent}_of_a_test": text + NODE.format(name=parent.upper(), factor=1)},
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\nimport nothing_of_a_test\n",
            r":2: ModuleNotFoundError: .*\n    2 \| import nothing_of_a_test",
        ),
        ("def f():\n    return 1 / 0\n\n\nf()\n", r":2: ZeroDivisionError: division by zero"),
        ("x = 1\ndef f(:\n", r":2: SyntaxError: invalid syntax\n    2 \| def f\(:"),
        ("import json\njson.loads('{')\n", r":2: JSONDecodeError"),
        ("import sys\nsys.exit(3)\n", r":2: SystemExit: 3"),
        ("from .gone_of_a_test import x\n", r":1: ModuleNotFoundError"),
        (
            NODE.format(name="A", factor=1).replace("a: int", "a"),
            r":5: node A: parameter 'a' needs",
        ),
        (
            NODE.format(name="A", factor=1).replace("int)", "int = 'x')"),
            r":5: node A: the default of a",
        ),
        (
            "from __future__ import annotations\n"
            + NODE.format(name="A", factor=1).replace("a: int", "a: Imgae"),
            r":6: node A: an annotation names 'Imgae'",
        ),
        (
            "from __future__ import annotations\nfrom typing import NamedTuple\n"
            "class Two(NamedTuple):\n    x: Imgae\n"
            + NODE.format(name="A", factor=1).replace("-> int", "-> Two"),
            r":\d+: node A: an annotation names 'Imgae'",
        ),
        (
            NODE.format(name="A", factor=1)
            + "\n\n@A.batched(over=('b',))\ndef _(a):\n    return a\n",
            r":11: node A: batched\(over=...\) names b, no parameter",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RegistryError, match=r"wrong_of_a_test\.py" + message):
        load(tmp_path, wrong_of_a_test=text)


def test_what_a_file_beside_it_does_wrong_is_told_there(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"bad_of_a_test\.py:2: NameError: .*\n    2 \| b"):
        load(tmp_path, a_of_a_test="from .bad_of_a_test import a\n", bad_of_a_test="a = 1\nb\n")

"""Type checkers understand graphs: right ones pass, and every planted wrong wire is found."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from graphdiff.graph.check import check
from tests.graph.toys import REGISTRY

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHECKERS = ("mypy", "pyright")


def mypy(file: Path, cache: Path) -> set[int]:
    """The lines in which mypy finds mistakes."""
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases"),
        *("--no-error-summary", "--cache-dir", str(cache), "--config-file", "", str(file)),
    ]
    environment = {"MYPYPATH": "nodes", "PATH": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(
        rf"^{re.escape(str(file.relative_to(ROOT)))}:(\d+): error:", done.stdout, re.M
    )
    found += re.findall(rf"^{re.escape(str(file))}:(\d+): error:", done.stdout, re.M)
    return set(map(int, found))


def pyright(file: Path) -> set[int]:
    """The lines in which pyright finds mistakes."""
    command = [sys.executable, "-m", "pyright", "--outputjson", str(file)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1, done.stdout
    return {
        diagnostic["range"]["start"]["line"] + 1
        for diagnostic in report["generalDiagnostics"]
        if diagnostic["severity"] == "error"
    }


def marked(file: Path, checker: str) -> set[int]:
    """The lines that say that this checker finds a mistake in them."""
    marks = {
        number: line.partition("# wrong:")[2].split()
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "# wrong:" in line and not line.startswith('"""')
    }
    assert all(set(names) <= set(CHECKERS) for names in marks.values())
    return {number for number, names in marks.items() if checker in names}


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("name", ["right.py", "wrong/wires.py"])
def test_type_checkers_find_the_marked_mistakes_and_no_others(
    name: str, checker: str, tmp_path: Path
) -> None:
    file = HERE / name
    found = mypy(file, tmp_path) if checker == "mypy" else pyright(file)
    assert found == marked(file, checker)


def test_the_right_graph_has_no_mistakes_when_it_is_built_either() -> None:
    graph = runpy.run_path(str(HERE / "right.py"))["graph"]
    assert check(graph.workflow, REGISTRY) == ()

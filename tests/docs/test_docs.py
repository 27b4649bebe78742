"""Every command and code block of the README and the docs does what the page says.

A page is run from top to bottom in one folder and one Python namespace:

- `console` blocks: each `$ command` runs, and prints what stands below it (`...` matches anything,
  as in doctest); `# exit 2` behind a command states its exit code;
- `python` blocks run; `>>>` sessions are checked as doctests;
- `yaml` and `python` blocks with a file name (```yaml cat.yaml) are written to that file, and
  workflows are checked;
- `text` and `sh` blocks are only shown.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m[1], m[2].strip(), m[3], text.count("\n", 0, m.start()) + 1)
        for m in FENCE.finditer(text)
    ]


def run_console(block: Block, folder: Path, environment: dict[str, str]) -> None:
    checker = doctest.OutputChecker()
    for example in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = example.partition("\n")
        code = int(match[1]) if (match := re.search(r"#\s*exit (\d+)\s*$", command)) else 0
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"line {block.line}: {command}\n{done.stdout}"
        if expected.strip():
            matches = checker.check_output(expected, done.stdout, OPTIONS)
            assert matches, f"line {block.line}: {command}\nprinted\n{done.stdout}"


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    if ">>>" not in block.text:
        exec(compile(block.text, f"{page.name}:{block.line}", "exec"), namespace)
        return
    test = doctest.DocTestParser().get_doctest(block.text, namespace, page.name, None, block.line)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    failed, _ = runner.run(test, clear_globs=False)
    namespace.update(test.globs)
    assert not failed, f"{page.name}, the session at line {block.line}"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a user's shell has: the command, this interpreter, a cache of its own."""
    tools = tmp_path / ".tools"
    tools.mkdir()
    for name, module in (("graphdiff", "-m graphdiff"), ("python", "")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
        script.chmod(0o755)
    paths = [str(ROOT), str(ROOT / "nodes"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "GRAPHDIFF_CACHE": str(tmp_path / ".cache"),
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_does_what_it_says(
    page: Path, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("GRAPHDIFF_CACHE", environment["GRAPHDIFF_CACHE"])
    namespace: dict[str, Any] = {"__name__": "__page__"}
    for block in blocks(page):
        if block.title and block.language in ("yaml", "python"):
            target = folder / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
            if block.language == "yaml":
                command = f"graphdiff validate {shlex.quote(block.title)}"
                run_console(Block("console", "", f"$ {command}\n", block.line), folder, environment)
        elif block.language == "console":
            run_console(block, folder, environment)
        elif block.language == "python":
            run_python(block, page, namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing

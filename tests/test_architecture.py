"""Imports run one way, light things stay light, and every module says its one job."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [ROOT / "graphdiff", ROOT / "nodes" / "graphdiff_nodes"]

# What each package may import of the project, itself left out; `graph.node` is the declaration API.
MAY_IMPORT = {
    "graphdiff.graph": set[str](),
    "graphdiff.engine": {"graphdiff.graph"},
    "graphdiff.drawing": {"graphdiff.graph"},
    "graphdiff.schedulers": {"graphdiff.checkpoints"},
    "graphdiff.models": {"graphdiff.checkpoints"},
    "graphdiff.checkpoints": {"graphdiff.models", "graphdiff.schedulers"},
    "graphdiff_nodes": {
        "graphdiff.graph.node",
        "graphdiff.models",
        "graphdiff.schedulers",
        "graphdiff.checkpoints",
    },
}
# Modules beside the packages, on which all may lean.
SHARED = {
    "graphdiff.config",
    "graphdiff.fingerprint",
    "graphdiff.paths",
    "graphdiff.picture",
    "graphdiff.pressure",
    "graphdiff.rng",
    "graphdiff.shipped",
}
HEAVY = ("torch", "numpy", "transformers", "huggingface_hub", "diffusers", "PIL", "networkx")


def modules() -> Iterator[tuple[str, Path]]:
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source.parent).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    allowed = {package, *MAY_IMPORT[package], *SHARED}
    wrong = [
        f"{module} imports {name}"
        for module, path in modules()
        if within(module, package)
        for name in imports(path)
        if name.split(".")[0] in ("graphdiff", "graphdiff_nodes")
        if not any(within(name, other) for other in allowed)
    ]
    assert not wrong


def test_diffusers_is_imported_by_no_part_of_the_library() -> None:
    users = [m for m, path in modules() for n in imports(path) if within(n, "diffusers")]
    assert not users


def test_every_module_says_its_job_in_its_first_line() -> None:
    silent = [
        module
        for module, path in modules()
        if not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()
    ]
    assert not silent


@pytest.mark.parametrize(
    "module",
    [
        "graphdiff",
        "graphdiff.graph.yaml",
        "graphdiff.graph.check",
        "graphdiff.engine.plan",
        "graphdiff.engine.run",
        "graphdiff.schedulers",
        "graphdiff.models",
        "graphdiff.models.configs",
        "graphdiff.checkpoints.handles",
        "graphdiff.pipelines",
        "graphdiff_nodes",
        "graphdiff.cli.main",
        "graphdiff.cli.run",
    ],
)
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'nodes')]!r}; import {module}; "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

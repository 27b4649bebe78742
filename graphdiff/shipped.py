"""The workflows that graphdiff ships, by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).parent

_RUNNABLE = (".yaml", ".yml", ".png", ".webp", ".jpg", ".jpeg")
"""The endings of what a command may mean: workflows, and pictures that carry one."""


def shipped_workflows() -> dict[str, Path]:
    """Every shipped workflow: its name and its file."""
    installed = _PACKAGE / "workflows"
    folder = installed if installed.is_dir() else _PACKAGE.parent / "workflows"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_workflow(name: str) -> Path:
    """The file that a name on the command line stands for: a path, else a shipped workflow.

    Raises:
        FileNotFoundError: it is neither; the message names the nearest file or shipped workflow.
    """
    if not name.strip():
        raise FileNotFoundError("the name is empty: give a file, a shipped workflow or a picture")
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = shipped_workflows()
    if name in shipped:
        return shipped[name]
    if path.exists():
        return path  # a folder, say: reading it tells what is wrong
    raise FileNotFoundError(f"{name}: no such file; {_hint(path, shipped)}")


def _hint(path: Path, shipped: Mapping[str, Path]) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    beside = [file.name for file in path.parent.iterdir() if file.suffix.lower() in _RUNNABLE]
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.75)
    if f"{path.name}.yaml" in beside:
        near = [f"{path.name}.yaml"]
    if near:
        return f"did you mean {path.with_name(near[0])}?"
    known = difflib.get_close_matches(path.stem, shipped, n=1)
    if known:
        return f"did you mean the shipped workflow {known[0]}?"
    if len(path.parts) > 1 or path.suffix:
        return "`graphdiff init` lists the shipped workflows"
    return f"no shipped workflow has this name either: there are {', '.join(shipped) or 'none'}"

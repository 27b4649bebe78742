"""The workflows that graphdiff ships, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped_workflows() -> dict[str, Path]:
    """Every shipped workflow: its name and its file."""
    installed = _PACKAGE / "workflows"
    folder = installed if installed.is_dir() else _PACKAGE.parent / "workflows"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_workflow(name: str) -> Path:
    """The file that a name on the command line stands for: a path, else a shipped workflow.

    Raises:
        FileNotFoundError: it is neither; the message names the nearest shipped one.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    shipped = shipped_workflows()
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(Path(name).stem, shipped, n=1)
    hint = (
        f"did you mean the shipped workflow {near[0]!r}"
        if near
        else "no shipped workflow is like it"
    )
    raise FileNotFoundError(
        f"{name}: no such file; {hint} (shipped: {', '.join(shipped) or 'none'})"
    )

"""Where checkpoints lie: bundled names, paths, and hub ids in the local cache."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

from graphdiff.checkpoints import hub
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import WeightFile
from graphdiff.checkpoints.headers import refuse_pickle
from graphdiff.fingerprint import sha256_of

BUNDLED = Path(__file__).parent / "bundled"


@cache  # like its code, what comes with the package stays while it runs
def bundled_names() -> tuple[str, ...]:
    """The names of the models that come with graphdiff."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob("*/model_index.json")))


def bundled(name: str | Path) -> Path | None:
    """The folder of a model that comes with graphdiff; None for any other name."""
    return BUNDLED / str(name) if str(name) in bundled_names() else None


def locate(name: str | Path, *, revision: str | None = None) -> Path:
    """Where a checkpoint lies: a bundled one, else a path, else a hub id in the local cache.

    Behind a hub id a path inside it may follow, as in `organisation/model/folder/file.safetensors`.

    Raises:
        CheckpointError: It is none of these; says how to fetch it, or which name is near.
    """
    text = str(name)
    shipped = bundled(text)
    if shipped is not None:
        return shipped
    path = Path(text).expanduser()
    if path.exists():
        return path
    model, inner = hub.split(text)
    folder = hub.find_local(model, revision=revision)
    if folder is not None:
        place = folder / inner
        if place.exists():
            return place
        held = ", ".join(sorted(entry.name for entry in folder.iterdir()))
        raise CheckpointError(
            f"{model!r} has no {inner!r} on this machine; it holds {held}; fetch it with: "
            f"graphdiff models pull {text}",
            found=text,
        )
    near = difflib.get_close_matches(text, bundled_names(), n=2)
    raise hub.missing(text, revision=revision, near=near)


def weight_file(path: Path) -> WeightFile:
    """A file with the hash of its bytes.

    Raises:
        CheckpointError: It is a pickle, or cannot be read.
    """
    refuse_pickle(path)
    try:
        return WeightFile(sha256_of(path), path.absolute())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}", file=path) from error


def only_file(path: Path, usual: str) -> Path:
    """The weight file that a path means: itself, or the one in a folder.

    Args:
        path: A file or a folder.
        usual: The name that is taken where a folder holds several.

    Raises:
        CheckpointError: The folder holds none, or several.
    """
    if path.is_file():
        return path
    files = sorted(path.glob("*.safetensors"))
    if path / usual in files:
        return path / usual
    if len(files) == 1:
        return files[0]
    held = ", ".join(sorted(entry.name for entry in path.iterdir())[:20]) or "nothing"
    raise CheckpointError(
        f"{path}: expected one .safetensors file, found {len(files)}; name the file itself "
        f"(the folder holds {held})",
        file=path,
        expected="one .safetensors file",
        found=tuple(file.name for file in files),
    )

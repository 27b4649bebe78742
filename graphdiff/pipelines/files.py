"""Files that a caller gives to change a pipeline's models: where they lie, or are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from graphdiff.checkpoints import hub
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.open import locate
from graphdiff.pipelines.written import Place


def found_file(
    place: object,
    inner: Sequence[str | None],
    *,
    revision: str | None,
    token: str | bool | None,
    local_files_only: bool,
) -> tuple[Path, tuple[Place, ...]]:
    """Where a file or folder lies; what is only on the hub is fetched first.

    Args:
        place: A path, a hub id, or tensors by name, which are written to a file.
        inner: The folder that it lies in there, and its name.
        revision: A branch, tag or commit of a hub id.
        token: Who asks the hub.
        local_files_only: Do not reach the network.

    Returns:
        The path, and what must be kept for as long as the path is to be there.

    Raises:
        CheckpointError: It is not there.
        TypeError: It is nothing of the kind.
    """
    if isinstance(place, Mapping):
        made = _written(cast("Mapping[object, object]", place))
        return Path(made.path), (made,)
    if not isinstance(place, str | Path):
        raise TypeError(
            "a file, a folder, a hub id or tensors by name are expected, not "
            f"{type(place).__name__}"
        )
    name = "/".join([str(place), *(part for part in inner if part)])
    try:
        return locate(name, revision=revision).absolute(), ()
    except CheckpointError:
        is_file = str(place).endswith(".safetensors") and str(place).count("/") < 2
        is_on_hub = hub.is_hub_id(hub.split(name)[0]) and not Path(place).exists()
        if local_files_only or is_file or not is_on_hub:
            raise
        hub.download(name, revision=revision, token=token)
        return locate(name, revision=revision).absolute(), ()


def is_several(given: object) -> bool:
    """Whether a list is given, rather than one."""
    return isinstance(given, list | tuple)


def _written(tensors: Mapping[object, object]) -> Place:
    """Tensors in a file of their own."""
    import torch
    from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

    content: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            found = type(tensor).__name__
            raise TypeError(f"a map must have tensors by name, but {key} is {found}")
        content[str(key)] = (
            tensor.detach().cpu().clone().contiguous()
        )  # what shares memory cannot be written
    if not content:
        raise TypeError("a map must have tensors by name, but it is empty")
    made = Place()
    save_file(content, Path(made.path) / "tensors.safetensors")
    return made

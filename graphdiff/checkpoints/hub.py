"""Checkpoints of the Hugging Face hub: found in its local cache, or brought there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from graphdiff.checkpoints.errors import CheckpointError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_SMALL = (".json", ".txt", ".model")  # configs and vocabularies
_PICKLES = (".bin", ".pt", ".ckpt", ".pth")
_NETWORK_LIBRARIES = ("huggingface_hub", "httpx", "httpx2", "requests", "urllib3")
_USUAL_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def cache_folder() -> Path:
    """Where the hub's cache lies, by the variables that its own library reads."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := os.environ.get(variable):
            return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a hub id."""
    is_file = "/" not in name and name.endswith((".safetensors", *_PICKLES))
    return _ID.fullmatch(name) is not None and ".." not in name and not is_file


def split(name: str) -> tuple[str, str]:
    """A hub id and the path inside it, from `organisation/model/folder/file.safetensors`."""
    organisation, *rest = name.split("/")
    return "/".join([organisation, *rest[:1]]), "/".join(rest[1:])


def find_local(name: str, *, revision: str | None = None) -> Path | None:
    """The folder of a hub id in the local cache; None where it was never fetched.

    Args:
        name: The id, such as `stabilityai/sdxl-vae`.
        revision: A branch, tag or full commit; the branch main where None.
    """
    if not is_hub_id(name):
        return None
    repository = cache_folder() / f"models--{name.replace('/', '--')}"
    wanted = revision or "main"
    if _COMMIT.fullmatch(wanted):
        commit = wanted
    else:
        try:
            commit = (repository / "refs" / wanted).read_text().strip()
        except OSError:
            return None
    folder = repository / "snapshots" / commit
    return folder if folder.is_dir() else None


def local_ids() -> tuple[str, ...]:
    """The ids of all models in the local cache, sorted."""
    prefix = "models--"
    found = cache_folder().glob(f"{prefix}*/snapshots")
    return tuple(sorted(path.parent.name[len(prefix) :].replace("--", "/") for path in found))


def choose_files(
    files: Iterable[str], *, variant: str | None = None, subfolder: str | None = None
) -> tuple[str, ...]:
    """Which files of a repository a model needs: configs, vocabularies, one form of the weights.

    Of the weights, safetensors win over pickles and `variant` over the plain form, folder by
    folder. Of a pipeline, a single file beside the folders is left out.

    Args:
        files: All its files.
        variant: Such as `fp16`: weights named `model.fp16.safetensors`.
        subfolder: Take this folder only.
    """
    paths = [PurePosixPath(file) for file in files]
    if subfolder is not None:
        paths = [path for path in paths if path.is_relative_to(subfolder)]
    is_pipeline = PurePosixPath("model_index.json") in paths
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    chosen: list[str] = []
    for folder, inside in by_folder.items():
        small = [path for path in inside if path.suffix in _SMALL]
        if is_pipeline and folder == PurePosixPath():
            chosen += [str(path) for path in small if path.suffix == ".json"]
            continue
        if not any(path.suffix == ".json" for path in small) and len(folder.parts):
            continue  # neither a model nor a tokenizer: pictures, other frameworks
        weights = _weights(inside, variant)
        indexes = {path for path in small if ".index" in path.name}
        chosen += [str(path) for path in small if path not in indexes]
        chosen += [str(path) for path in weights]
        chosen += [str(path) for path in indexes if _index_fits(path.name, weights)]
    return tuple(sorted(chosen))


def _weights(inside: Sequence[PurePosixPath], variant: str | None) -> list[PurePosixPath]:
    for suffixes in ((".safetensors",), _PICKLES):
        found = [path for path in inside if path.suffix in suffixes]
        found = [path for path in found if _stem(path) in _USUAL_STEMS] or found
        ours = [path for path in found if variant is not None and _variant(path) == variant]
        plain = [path for path in found if _variant(path) is None]
        if ours or plain or found:
            return ours or plain or found
    return []


def _stem(path: PurePosixPath) -> str:
    """The name of a weights file without its suffix, its variant and its place among shards."""
    return _SHARD.sub("", path.name.removesuffix(path.suffix)).split(".")[0]


def _variant(path: PurePosixPath) -> str | None:
    """`fp16` of `model.fp16.safetensors` and of `model.fp16-00001-of-00002.safetensors`."""
    _, dot, variant = _SHARD.sub("", path.name.removesuffix(path.suffix)).partition(".")
    return variant if dot else None


def _index_fits(index: str, weights: Sequence[PurePosixPath]) -> bool:
    """Whether an index lists the shards that were chosen."""
    if not weights or not _SHARD.search(weights[0].name.removesuffix(weights[0].suffix)):
        return False
    variant = _variant(weights[0])
    middle = "" if variant is None else f".{variant}"
    return index == f"{_stem(weights[0])}{weights[0].suffix}.index{middle}.json"


def download(
    name: str,
    *,
    variant: str | None = None,
    subfolder: str | None = None,
    patterns: Sequence[str] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Bring a hub id into the local cache, only the files that are needed, and say where it lies.

    What is there already is not fetched again; a bar on stderr shows the rest. Where the hub cannot
    be reached, what this machine has is taken as it is.

    Args:
        name: The id, such as `stabilityai/sdxl-vae`; a file or folder of it may follow.
        variant: Weights to prefer, such as `fp16`.
        subfolder: Take this folder only.
        patterns: Take the files that match one of these, instead of choosing.
        revision: A branch, tag or commit; main where None.
        token: Who asks, for gated repositories; True for the one that was stored by logging in.
        local_files_only: Do not reach the network.

    Raises:
        CheckpointError: the hub cannot be reached, or has nothing of this name for this token.
    """
    name, inner = split(name)
    if not is_hub_id(name):
        raise CheckpointError(
            f"{name!r} is no hub id; one looks like 'organisation/model'",
            expected="organisation/model",
            found=name,
        )
    if local_files_only:
        folder = find_local(name, revision=revision)
        if folder is None:
            raise missing(name, revision=revision)
        return folder
    from huggingface_hub.errors import HfHubHTTPError

    huggingface_hub: Any = import_module("huggingface_hub")

    try:
        info = huggingface_hub.HfApi().model_info(name, revision=revision, token=token)
        files = [sibling.rfilename for sibling in info.siblings or ()]
        if inner in files:
            wanted: tuple[str, ...] = (inner,)
        elif patterns is None:
            subfolder = "/".join(part for part in (inner, subfolder) if part) or None
            wanted = choose_files(files, variant=variant, subfolder=subfolder)
        else:
            wanted = tuple(
                file for file in files if any(fnmatch(file, pattern) for pattern in patterns)
            )
        if not wanted:
            place = f" in its folder {subfolder!r}" if subfolder else ""
            raise CheckpointError(
                f"the repository {name!r} holds no model{place}; its files are "
                f"{', '.join(sorted(files)[:20]) or 'none'}",
                found=tuple(files),
            )
        return Path(
            huggingface_hub.snapshot_download(
                name,
                revision=revision,
                token=token,
                cache_dir=cache_folder(),
                allow_patterns=[_literal(file) for file in wanted],
            )
        )
    except CheckpointError:
        raise
    except Exception as error:
        # Connections fail with errors of whichever HTTP library the hub's own library uses.
        library = type(error).__module__.split(".")[0]
        if not isinstance(error, OSError) and library not in _NETWORK_LIBRARIES:
            raise
        folder = find_local(name, revision=revision)
        if folder is not None and not isinstance(error, HfHubHTTPError):
            return folder  # the hub was not reached; what is missing is missed when it is opened
        raise _explained(name, revision, error) from error


def missing(name: str, *, revision: str | None = None, near: Sequence[str] = ()) -> CheckpointError:
    """The error for a name that is neither bundled, nor a path, nor fetched yet."""
    at = f" at revision {revision!r}" if revision else ""
    option = f" --revision {revision}" if revision else ""
    close = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    if not is_hub_id(name) or ("/" not in name and near):
        return CheckpointError(
            f"there is no checkpoint {name!r}: no bundled model, file or folder has this name"
            f"{close or '; a hub id looks like organisation/model'}",
            found=name,
        )
    return CheckpointError(
        f"the checkpoint {name!r} is not on this machine{at}: no bundled model, file or folder has "
        f"this name, and the hub's cache ({cache_folder()}) does not hold it{close}; "
        f"fetch it with: graphdiff models pull {name}{option}",
        found=name,
    )


def _literal(file: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", file)


def _explained(name: str, revision: str | None, error: Exception) -> CheckpointError:
    from huggingface_hub import errors

    explanations: Mapping[type[Exception], str] = {
        errors.GatedRepoError: (
            f"{name!r} is gated: accept its licence on its page, then log in with "
            "`hf auth login` or set HF_TOKEN"
        ),
        errors.RevisionNotFoundError: f"{name!r} has no revision {revision!r} on the hub",
        errors.RepositoryNotFoundError: (
            f"the hub has no model {name!r}, or it is private: check the spelling, or log in with "
            "`hf auth login` or set HF_TOKEN"
        ),
        errors.OfflineModeIsEnabled: (
            f"{name!r} is not complete on this machine and HF_HUB_OFFLINE forbids fetching it: "
            "unset it, or copy the model into the hub's cache"
        ),
    }
    for kind, text in explanations.items():
        if isinstance(error, kind):
            return CheckpointError(text, found=name)
    return CheckpointError(
        f"{name!r} cannot be fetched, the hub does not answer ({type(error).__name__}: {error}): "
        "check the connection and try again; what was fetched so far is kept",
        found=name,
    )

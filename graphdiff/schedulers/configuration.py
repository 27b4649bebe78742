"""Scheduler configurations: read, written, and handed from one class to another."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphdiff.config import FrozenConfig
from graphdiff.schedulers.rules import config_keys, is_known_key, plain
from graphdiff.schedulers.schedule import Rule

_LOG = logging.getLogger(__name__)
_FORMAT = "0.42.1"
"""The release of diffusers whose configurations these are."""


def config_of(
    rule: type[Rule[Any]], stated: Mapping[str, Any], hidden: Mapping[str, Any]
) -> tuple[Rule[Any], FrozenConfig]:
    """Make a rule and the configuration that describes it.

    Args:
        rule: The rule's class.
        stated: Keys of the class that somebody stated.
        hidden: Keys of other classes, which are kept.

    Raises:
        TypeError: A stated key is none of the class.
        ValueError: A value is illegal.
    """
    keys = config_keys(rule)
    for key in stated:
        if key not in keys:
            raise TypeError(f"{rule.name} has no key {key!r}; it has {', '.join(keys)}")
    values = {key: plain(value) for key, value in stated.items()}
    honoured = {key: plain(hidden[key]) for key in rule.hidden if key in hidden}
    made = rule(**values, **honoured)
    current = {key: getattr(made, key) for key in keys}
    defaulted = frozenset(keys) - frozenset(stated)
    config = {
        "_diffusers_version": _FORMAT,
        **hidden,
        **current,
        "_class_name": rule.name,
    }
    if defaulted:  # so that a copy as a plain dict says it too
        config["_use_default_values"] = sorted(defaulted)
    return made, FrozenConfig(config, defaulted=defaulted)


def split_config(
    rule: type[Rule[Any]], config: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Part a configuration into a class's own keys, those kept for others, and what is left over.

    Args:
        rule: The rule of the class that takes the configuration over.
        config: The configuration, possibly another class's.
        overrides: Keys that differ from it.

    Returns:
        Keys of the class; keys of others; overrides that are no keys of the class.
    """
    defaulted = set(config.get("_use_default_values", ()))
    if isinstance(config, FrozenConfig):
        defaulted |= config.defaulted
    kept = {k: v for k, v in config.items() if k not in defaulted and k != "_use_default_values"}
    keys = config_keys(rule)
    stated = {key: kept[key] for key in keys if key in kept}
    if kept.get("predict_epsilon") is False and "prediction_type" in keys:
        stated["prediction_type"] = "sample"  # what it was called in early files
    stated |= {key: value for key, value in overrides.items() if key in keys}
    hidden = {key: value for key, value in kept.items() if key not in stated}
    for key in hidden:
        if not key.startswith("_") and not is_known_key(key):
            _LOG.warning(
                "%s: no scheduler has a key %r; it is kept but has no effect", rule.name, key
            )
    return stated, hidden, {key: value for key, value in overrides.items() if key not in keys}


def read_config(
    place: str | Path,
    name: str,
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> dict[str, Any]:
    """Read a configuration from a file, a folder or the hub.

    Raises:
        OSError: There is none, or it is not JSON.
    """
    path = Path(place)
    if path.is_dir():
        folders = [path / subfolder] if subfolder else [path, path / "scheduler"]
        files = [folder / name for folder in folders]
        file = next((each for each in files if each.is_file()), None)
        if file is None:
            raise OSError(f"there is no {name} in {' or in '.join(str(f) for f in folders)}")
    elif path.is_file():
        file = path
    else:
        import huggingface_hub

        file = Path(
            huggingface_hub.hf_hub_download(  # pyright: ignore[reportUnknownMemberType]
                str(place),
                name,
                subfolder=subfolder,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
        )
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise OSError(f"{file} is not JSON: {error}") from error
    return config


def write_config(folder: str | Path, name: str, text: str) -> None:
    """Write a configuration into a folder, which is made where there is none.

    Raises:
        NotADirectoryError: There is a file of the folder's name.
    """
    path = Path(folder)
    if path.is_file():
        raise NotADirectoryError(f"{path} is a file, but a scheduler is saved into a folder")
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(text, encoding="utf-8")

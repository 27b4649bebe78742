"""Schedulers as configurable things: made from a configuration, saved, printed, swapped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar, cast, overload

from graphdiff.config import FrozenConfig
from graphdiff.schedulers.configuration import config_of, read_config, split_config, write_config
from graphdiff.schedulers.rules import KARRAS_NAMES, rule_class
from graphdiff.schedulers.schedule import Rule

if TYPE_CHECKING:
    from graphdiff.schedulers.shell import Scheduler

R = TypeVar("R", bound=Rule[Any])


class Configured(Generic[R]):
    """A rule and the configuration that it was made from."""

    config_name: ClassVar[str] = "scheduler_config.json"

    rule: R
    config: FrozenConfig

    def __init__(self, **config: Any) -> None:  # noqa: ANN401 - diffusers' keys, each with its type
        self._configure(config, {})

    def _configure(self, stated: Mapping[str, Any], hidden: Mapping[str, Any]) -> None:
        rule, self.config = config_of(rule_class(type(self).__name__), stated, hidden)
        self.rule = cast(R, rule)
        self._begin()

    def _begin(self) -> None:
        """Stand where a scheduler stands that was just made."""

    @overload
    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | str | Path,
        *,
        return_unused_kwargs: Literal[False] = False,
        **overrides: Any,  # noqa: ANN401 - keys, each with its type
    ) -> Self: ...
    @overload
    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | str | Path,
        *,
        return_unused_kwargs: Literal[True],
        **overrides: Any,  # noqa: ANN401 - keys, each with its type
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | str | Path,
        *,
        return_unused_kwargs: bool = False,
        **overrides: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Make a scheduler from a configuration, its own or another scheduler's.

        What the other one held only by default is left to this class's defaults; keys that this
        class does not know are kept, so that swapping back restores them.

        Args:
            config: A configuration, or where to read it: a folder, a file or a hub id.
            return_unused_kwargs: Whether to give the arguments that are no keys back, too.
            **overrides: Keys that differ from the configuration.

        Raises:
            TypeError: An override is no key of this class.
            ValueError: A value is illegal.
        """
        if isinstance(config, str | Path):
            config = read_config(config, cls.config_name)
        made = cls._taken_over(config, overrides, unused_allowed=return_unused_kwargs)
        return made if return_unused_kwargs else made[0]

    @classmethod
    def _taken_over(
        cls, config: Mapping[str, Any], overrides: Mapping[str, Any], *, unused_allowed: bool
    ) -> tuple[Self, dict[str, Any]]:
        stated, hidden, unused = split_config(rule_class(cls.__name__), config, overrides)
        if unused and not unused_allowed:
            raise TypeError(f"{cls.__name__} has no key {', '.join(map(repr, unused))}")
        scheduler = cls.__new__(cls)
        scheduler._configure(stated, hidden)
        return scheduler, unused | hidden

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        subfolder: str | None = None,
        *,
        return_unused_kwargs: Literal[False] = False,
        **overrides: Any,  # noqa: ANN401 - keys, each with its type
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        subfolder: str | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **overrides: Any,  # noqa: ANN401 - keys, each with its type
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        subfolder: str | None = None,
        *,
        return_unused_kwargs: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **overrides: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Make a scheduler from a saved configuration.

        Args:
            pretrained_model_name_or_path: A folder, or an id on the hub.
            subfolder: Where in it the file is.
            return_unused_kwargs: Whether to give the arguments that are no keys back, too.
            revision: Which version, on the hub.
            token: What to identify with there.
            cache_dir: Where downloads are kept.
            local_files_only: Whether to leave the network alone.
            **overrides: Keys that differ from the configuration.

        Raises:
            OSError: There is no such file.
        """
        config = read_config(
            pretrained_model_name_or_path,
            cls.config_name,
            subfolder=subfolder,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        made = cls._taken_over(config, overrides, unused_allowed=return_unused_kwargs)
        return made if return_unused_kwargs else made[0]

    @classmethod
    def load_config(
        cls, pretrained_model_name_or_path: str | Path, subfolder: str | None = None
    ) -> dict[str, Any]:
        """Read a saved configuration."""
        return read_config(pretrained_model_name_or_path, cls.config_name, subfolder=subfolder)

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the configuration into a folder, every key of it."""
        write_config(save_directory, self.config_name, self._json())

    save_config = save_pretrained

    def _json(self) -> str:
        values = dict(self.config)
        values.pop("_use_default_values", None)
        return json.dumps(values, indent=2, sort_keys=True) + "\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self._json()}"

    @property
    def compatibles(self) -> list[type[Scheduler[Any]]]:
        """The classes that this one's configuration can be handed to."""
        import graphdiff.schedulers as library

        names = {type(self).__name__, *KARRAS_NAMES}
        return [getattr(library, name) for name in sorted(names)]

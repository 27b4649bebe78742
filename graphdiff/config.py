"""Frozen configurations, as models and schedulers read them from JSON and show them to users."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast


class FrozenConfig(Mapping[str, Any]):
    """What a config file says, readable as `config.key` and `config["key"]`, and never written.

    Keys that a class does not know are kept, as diffusers keeps them, since a component that this
    one is swapped for may know them; `defaulted` names the keys that no file stated.

    Args:
        values: The configuration, JSON data; lists are frozen into tuples.
        defaulted: Keys whose value is the class's default, not stated by whoever made the config.
    """

    __slots__ = ("_defaulted", "_values")

    def __init__(
        self, values: Mapping[str, Any], *, defaulted: frozenset[str] = frozenset()
    ) -> None:
        object.__setattr__(self, "_values", {key: _freeze(value) for key, value in values.items()})
        object.__setattr__(self, "_defaulted", defaulted)

    @property
    def defaulted(self) -> frozenset[str]:
        """The keys that hold a class's default because nobody stated them."""
        defaulted: frozenset[str] = object.__getattribute__(self, "_defaulted")
        return defaulted

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - JSON data
        values: dict[str, Any] = object.__getattribute__(self, "_values")
        return values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - JSON data
        values: dict[str, Any] = object.__getattribute__(self, "_values")
        try:
            return values[name]
        except KeyError:
            raise AttributeError(
                f"this config has no {name!r}; it has {', '.join(values)}"
            ) from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"a config is frozen: make another with from_config({{**config, {name!r}: ...}}) "
            "instead of writing to this one"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a config is frozen: {name!r} cannot be deleted")

    def to_json(self) -> str:
        """The configuration as indented JSON with sorted keys, the way config files are written."""
        return json.dumps(dict(self._values), indent=2, sort_keys=True) + "\n"

    def __repr__(self) -> str:
        return f"FrozenConfig({self._values!r})"

    def __reduce__(self) -> tuple[type[FrozenConfig], tuple[dict[str, Any]]]:
        return FrozenConfig, (dict(self._values),)


def _freeze(value: Any) -> Any:  # noqa: ANN401 - JSON data
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in cast("Sequence[Any]", value))
    return value

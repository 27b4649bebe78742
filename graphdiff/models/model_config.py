"""What the configs of all models share: frozen, checked when made, and read without torch."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, TypeGuard, TypeVar, cast, dataclass_transform

from graphdiff.checkpoints.errors import CheckpointError

T = TypeVar("T")

# What training scripts leave in a config when they save an average of the weights over time.
EMA_BOOKKEEPING = frozenset(
    "decay min_decay optimization_step update_after_step "  # noqa: SIM905
    "use_ema_warmup inv_gamma power".split()
)


class ConfigError(CheckpointError):
    """A config that cannot be honoured: what key, what value, what would do.

    Attributes:
        key: The key at fault, None where the whole file is.
        value: Its value.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path | None = None,
        key: str | None = None,
        value: object = None,
    ) -> None:
        super().__init__(message, file=file, found=value)
        self.key = key
        self.value = value


def per_block(value: T | tuple[T, ...], blocks: int) -> tuple[T, ...]:
    """A value for each block from one for all; a tuple is for each block already."""
    if isinstance(value, tuple):
        return cast("tuple[T, ...]", value)
    return (value,) * blocks


class ModelConfig(Mapping[str, Any]):
    """A frozen configuration, readable as `config.key`, `config["key"]` and `dict(config)`."""

    class_name: ClassVar[str]
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    bookkeeping: ClassVar[frozenset[str]] = EMA_BOOKKEEPING

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make a config from JSON data; what a key lacks is its default.

        Args:
            data: The content of a config.json. Keys that start with `_` are diffusers' own notes.

        Raises:
            ConfigError: The file is another class's, a key is unknown, or a value is unsupported.
        """
        found = data.get("_class_name", cls.class_name)
        if found != cls.class_name:
            raise ConfigError(
                f"this is the config of a {found}, not of a {cls.class_name}",
                key="_class_name",
                value=found,
            )
        stated = {
            key: _freeze(value)
            for key, value in data.items()
            if not key.startswith("_") and key not in cls.bookkeeping
        }
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for key, value in stated.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
                raise ConfigError(
                    f"{cls.class_name} config: unknown key {key!r} (= {value!r}){hint}",
                    key=key,
                    value=value,
                )
        return cls(**cls._renew(stated))

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a config.json, or the one in a folder.

        Raises:
            ConfigError: As `from_dict`; the message starts with the file's path.
        """
        path = config_path(path)
        data = read_json(path)
        try:
            return cls.from_dict(data)
        except ConfigError as error:
            raise ConfigError(
                f"{path}: {error}", file=path, key=error.key, value=error.value
            ) from error

    @classmethod
    def _renew(cls, stated: dict[str, Any]) -> dict[str, Any]:
        """Put old forms of keys into today's."""
        return stated

    def to_dict(self) -> dict[str, Any]:
        """The content of a config.json, with the class's name; tuples become lists."""
        return {"_class_name": self.class_name} | {k: _thaw(v) for k, v in self.items()}

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for key, value in self.items():
            if not _fits(value, hints[key]):
                self._refuse(key, value, f"expected {_type_name(hints[key])}")
            allowed = self.supported.get(key)
            if allowed is not None:
                for item in value if _is_tuple(value) else (value,):
                    if item not in allowed:
                        self._refuse(key, item, f"supported: {', '.join(map(repr, allowed))}")
        self._check()

    def _check(self) -> None:
        """Check keys against each other."""

    def _check_lengths(self, of: str, *keys: str) -> None:
        blocks = len(self[of])
        for key in keys:
            if isinstance(self[key], tuple) and len(self[key]) != blocks:
                self._refuse(key, self[key], f"{of} has {blocks} entries, this {len(self[key])}")

    def _refuse(self, key: str, value: object, why: str) -> NoReturn:
        raise ConfigError(
            f"{self.class_name} config: {key} = {value!r} is not supported; {why}",
            key=key,
            value=value,
        )

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - JSON data
        if key not in _hints(type(self)):
            raise KeyError(f"{self.class_name} config has no {key!r}; it has {', '.join(self)}")
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_hints(type(self)))

    def __len__(self) -> int:
        return len(_hints(type(self)))


def _refuse_write(self: ModelConfig, name: str, *_value: object) -> NoReturn:
    raise FrozenInstanceError(
        f"a config is frozen, {name!r} cannot be changed: make another with "
        f"dataclasses.replace(config, {name}=...) and a model from that"
    )


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config_class(cls: type[T]) -> type[T]:
    """A frozen dataclass whose refusal to be written says what to do instead."""
    frozen = dataclass(frozen=True, kw_only=True)(cls)
    for method in ("__setattr__", "__delattr__", "__setitem__", "__delitem__"):
        setattr(frozen, method, _refuse_write)
    return frozen


def config_path(path: str | Path) -> Path:
    """The config.json that a path names: itself, or the one inside a folder."""
    path = Path(path)
    return path if path.suffix == ".json" else path / "config.json"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ConfigError: There is no such file, or it is not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", file=path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not JSON: {error}", file=path) from error
    if not isinstance(data, dict):
        found = type(data).__name__
        raise ConfigError(f"{path}: expected a JSON object, found a {found}", file=path)
    return cast("dict[str, Any]", data)


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(cls: type[ModelConfig]) -> dict[str, Any]:
    if cls not in _HINTS:
        hints = typing.get_type_hints(cls)
        _HINTS[cls] = {field.name: hints[field.name] for field in fields(cls)}  # type: ignore[arg-type]
    return _HINTS[cls]


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type expression
    """Whether a value is what a hint says: plain types, unions, and tuples of any length."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(
            _fits(item, typing.get_args(hint)[0]) for item in cast("tuple[object, ...]", value)
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _type_name(hint: Any) -> str:  # noqa: ANN401 - a type expression
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _freeze(value: Any) -> Any:  # noqa: ANN401 - JSON data
    if isinstance(value, list | tuple):
        return tuple(map(_freeze, cast("Sequence[Any]", value)))
    return value


def _thaw(value: Any) -> Any:  # noqa: ANN401 - JSON data
    return [_thaw(item) for item in value] if _is_tuple(value) else value


def _is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)

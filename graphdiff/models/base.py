"""What all models share: a frozen config, and reading and writing folders in diffusers' layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from graphdiff.checkpoints import weight_files, weights
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.names import bundled
from graphdiff.models.configs import ModelConfig

C = TypeVar("C", bound=ModelConfig)

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


class Model(nn.Module, Generic[C]):
    """A module with a frozen config, that reads and writes folders in diffusers' layout.

    Args:
        config: Its configuration.
    """

    config_class: ClassVar[type[Any]]
    weights_name: ClassVar[str] = "diffusion_pytorch_model"
    home: torch.device | None = None  # where it computes, if its weights are not there all the time

    def __init__(self, config: C) -> None:
        super().__init__()
        self.config: C = config

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.home or next(self.parameters()).device

    def config_dict(self) -> dict[str, Any]:
        """The content of its config.json."""
        return self.config.to_dict()

    @classmethod
    def from_config(cls, config: C | Mapping[str, Any] | str | Path) -> Self:
        """A model with random weights.

        Args:
            config: A config, the content of a config.json, or the file or folder that it is in.

        Raises:
            ConfigError: The config is another class's, or asks for what is not supported.
        """
        if isinstance(config, str | Path):
            return cls(cls.config_class.from_file(config))
        made: Any = config
        if not isinstance(config, cls.config_class):
            made = cls.config_class.from_dict(config)
        return cls(made)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        subfolder: str | None = None,
        variant: str | None = None,
        revision: str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        use_safetensors: bool = True,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Read a model with its weights, ready to predict (`.train()` makes it ready to learn).

        Args:
            name_or_path: A folder, or a hub id such as `stabilityai/sdxl-vae`.
            subfolder: Where in it the model lies, such as `unet`.
            variant: Which of several files, such as `fp16`.
            revision: A branch, tag or commit of the hub's repository.
            torch_dtype: As `dtype`, under diffusers' name.
            dtype: What to compute in; float32 if not given, whatever the file holds.
            device: Where to put it; the CPU if not given.
            use_safetensors: Must be true: pickles can run any code, and are never loaded.
            token: Who asks the hub, for gated repositories.
            local_files_only: Do not reach the network.

        Raises:
            CheckpointError: A file is missing, damaged, or of another model.
        """
        if not use_safetensors:
            raise CheckpointError(
                "only safetensors files are loaded, since pickles can run any code; convert one "
                "with: graphdiff models convert PATH",
                found=f"use_safetensors={use_safetensors}",
            )
        folder = bundled(name_or_path) or Path(name_or_path)
        if not folder.is_dir():
            from graphdiff.checkpoints import hub

            folder = hub.download(
                str(name_or_path),
                variant=variant,
                subfolder=subfolder,
                revision=revision,
                token=token,
                local_files_only=local_files_only,
            )
        if subfolder:
            folder = folder / subfolder
        config = cls.config_class.from_file(folder)
        files = weight_files.find_weights(folder, cls.weights_name, variant=variant)
        with without_memory():
            model = cls(config)
        weights.load_into(
            model,
            files,
            dtype=as_dtype(torch_dtype if dtype is None else dtype),
            device=device,
        )
        return model.eval()

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
    ) -> None:
        """Write config.json and the weights, as diffusers and this library read them.

        Args:
            folder: Where to; made if it does not exist. Older weights in it are replaced.
            variant: Goes into the file's name, such as `fp16`.
            max_shard_size: The most bytes a file may have, such as `"5GB"`; None for one file.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weight_files.save_weights(
            self.state_dict(),
            folder,
            self.weights_name,
            variant=variant,
            max_shard_size=max_shard_size,
        )
        text = json.dumps(self.config_dict(), indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")


@contextmanager
def without_memory() -> Generator[None]:
    """Modules made inside have neither memory nor values, ready to be given those of a file.

    Torch would work out what it means to fill a tensor without memory with random numbers, and
    import its compiler for that, which takes longer than reading a small model.
    """
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Leaves tensors as they are where they should be filled with first values."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever torch's function gives
        named = kwargs or {}
        if func.__name__ in _FILLING:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


_FILLING = frozenset({"normal_", "uniform_", "trunc_normal_", "kaiming_uniform_"})


def as_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """The dtype that a name such as `bfloat16` means; None means float32.

    Raises:
        ValueError: There is no such dtype.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    found = DTYPES.get("float32" if dtype is None else dtype.removeprefix("torch."))
    if found is None:
        raise ValueError(f"there is no dtype {dtype!r}; use {', '.join(DTYPES)}")
    return found

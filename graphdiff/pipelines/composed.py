"""What a pipeline is made of: its parts shown, replaced, moved and saved."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from graphdiff.checkpoints.handles import Family
from graphdiff.checkpoints.open import locate, open_checkpoint
from graphdiff.config import FrozenConfig
from graphdiff.engine.session import Cache, Session
from graphdiff.pipelines import saved, written
from graphdiff.pipelines.absent import GRANTED, METHODS, OPTIONS
from graphdiff.pipelines.checks import check_device
from graphdiff.pipelines.memory import device_kind
from graphdiff.pipelines.setup import Setup

if TYPE_CHECKING:
    import torch

_PARTS = frozenset(
    {"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "controlnet"}
    | {"safety_checker", "feature_extractor", "depth_estimator"}
)


class Composed:
    """A pipeline as the sum of its parts: a checkpoint's, and what takes their place."""

    _setup: Setup
    _session: Session

    def _compose(self, setup: Setup, cache: Cache) -> None:
        """Begin with a checkpoint's own parts."""
        nets = setup.controlnets or saved.own_controlnets(setup.checkpoint)
        self._setup = replace(setup, controlnets=nets)
        self._session = Session(cache=cache, device="cpu", dtype="float32")
        self._index = saved.read_index(setup.checkpoint)
        self._index["_class_name"] = type(self).__name__
        self._scheduler: Any = None
        self._places: tuple[written.Place, ...] = ()
        self._vae: tuple[object, Any] = (None, None)

    @property
    def config(self) -> FrozenConfig:
        """What model_index.json says."""
        return FrozenConfig(self._index)

    @property
    def family(self) -> Family:
        """Of which family its models are."""
        return self._setup.checkpoint.family

    @property
    def vae_scale_factor(self) -> int:
        """How many pixels a cell of its latents stands for, along a side."""
        return self._setup.checkpoint.unet.spatial_factor

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        import torch

        return torch.device(self._session.settings.device)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        import torch

        found: torch.dtype = getattr(torch, self._session.settings.dtype)
        return found

    def to(
        self,
        *places: str | torch.device | torch.dtype,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        silence_dtype_warnings: bool = False,
    ) -> Self:
        """Compute elsewhere, or in another precision: `to("cuda")`, `to("cuda", torch.float16)`.

        Args:
            places: A device, a precision, or both.
            device: The device, by name.
            dtype: The precision, by name.
            silence_dtype_warnings: Taken for diffusers' sake: nothing is warned of.

        Raises:
            ValueError: It is neither a device nor a precision, or not the first of its kind; or
                there is no such device on this machine.
        """
        kind, precision = self._session.settings.device, self._session.settings.dtype
        for place in (*places, *(each for each in (device, dtype) if each is not None)):
            text = str(place).removeprefix("torch.")
            if text in ("float32", "bfloat16", "float16"):
                precision = text
            elif text.partition(":")[0] in ("cpu", "cuda", "mps", "auto"):
                kind = device_kind(text)
            else:
                raise ValueError(f"to() takes a device or a dtype, not {place!r}")
        check_device(kind)
        self._session.settings = replace(self._session.settings, device=kind, dtype=precision)
        return self

    @property
    def scheduler(self) -> Any:  # noqa: ANN401 - one of the scheduler classes
        """The scheduler; another one is put in its place by assignment."""
        if self._scheduler is None:
            from graphdiff import schedulers

            config = self._setup.checkpoint.scheduler
            cls = getattr(schedulers, str(config.get("_class_name")))
            self._scheduler = cls.from_config(dict(config))
        return self._scheduler

    @scheduler.setter
    def scheduler(self, scheduler: Any) -> None:  # noqa: ANN401 - one of the scheduler classes
        config: Any = getattr(scheduler, "config", None)
        if not isinstance(config, Mapping):
            raise TypeError(
                f"a scheduler is expected, such as EulerDiscreteScheduler.from_config("
                f"pipeline.scheduler.config), not {type(scheduler).__name__}"
            )
        known = cast("Mapping[str, Any]", config)
        defaulted: frozenset[str] = getattr(known, "defaulted", frozenset[str]())
        stated = {
            key: _thawed(value)
            for key, value in known.items()
            if key not in defaulted and not key.startswith("_")
        }
        name = type(scheduler).__name__
        self._setup = replace(self._setup, scheduler=(name, stated))
        predicted, own = self._setup.prediction_type, self._setup.checkpoint.unet.prediction_type
        if predicted != own:
            warnings.warn(
                f"this {name} says that the UNet predicts {predicted}, and the checkpoint says "
                f"{own}: it is taken for {predicted} from now on",
                stacklevel=3,
            )
        self._index = {**self._index, "scheduler": ["diffusers", name]}
        self._scheduler = scheduler

    @property
    def components(self) -> dict[str, Any]:
        """The models, tokenizers and the scheduler, by name; None where there is none."""
        names = [key for key, value in self._index.items() if isinstance(value, list | tuple)]
        return {name: getattr(self, name, None) for name in names}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any component
        if name in METHODS:
            raise AttributeError(f"{type(self).__name__} has no {name}: {METHODS[name]}")
        if name.startswith("_") or name not in (*self._index, *_PARTS & {"controlnet"}):
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        settings = self._session.settings
        if name != "vae":
            return saved.component(self._setup, name, settings.device, settings.dtype)
        key = settings.device, settings.dtype, self._setup.replaced.get("vae")
        if self._vae[0] != key:
            found = saved.component(self._setup, name, settings.device, settings.dtype)
            # Its switches are this pipeline's; its weights are shared.
            self._vae = key, None if found is None else written.remember(copy.copy(found))
        return self._vae[1]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(dict(self._index), indent=2, sort_keys=True)}"

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
    ) -> None:
        """Write the pipeline's parts into a folder in diffusers' layout, LoRAs and words in them.

        Args:
            save_directory: Where to; made if it does not exist.
            safe_serialization: Must be true: pickles are never written.
            variant: Goes into the names of weights, such as `fp16`.
            max_shard_size: The most bytes that a file of weights may have, such as `"5GB"`.

        Raises:
            ValueError: Pickles are asked for.
            OSError: The folder cannot be made, or written to.
        """
        if not safe_serialization:
            raise ValueError("only safetensors files are written: leave safe_serialization true")
        written.save(
            Path(save_directory),
            self._index,
            self.components,
            variant=variant,
            max_shard_size=max_shard_size,
        )

    # Other parts in their place.

    def _replace(self, components: Mapping[str, Any]) -> None:
        """Put other parts in the place of the checkpoint's."""
        rebuilt: dict[str, Any] = {}
        for name, component in components.items():
            if is_granted(name, component):
                continue
            match name:
                case "scheduler":
                    self.scheduler = component
                case "safety_checker":
                    if component is not None:
                        raise TypeError("a safety_checker can only be left out, with None")
                    self._setup = replace(self._setup, is_checked=False)
                case "vae" | "unet":
                    self._put(name, component)
                case "controlnet":
                    several = isinstance(component, list | tuple)
                    nets = cast("list[Any]", component) if several else [component]
                    places = [written.component_place(net) for net in nets]
                    self._places = (*self._places, *places)
                    folders = tuple(place.path for place in places)
                    self._setup = replace(self._setup, controlnets=folders)
                case _ if name in OPTIONS:
                    raise TypeError(f"there is no option {name}: {OPTIONS[name]}")
                case _ if name in _PARTS:
                    rebuilt[name] = component
                case _:
                    raise TypeError(
                        f"{type(self).__name__} takes no {name!r}; components that can be replaced "
                        f"are scheduler, {', '.join(sorted(_PARTS - {'feature_extractor'}))}"
                    )
        if rebuilt:
            self._rebuild(rebuilt)

    def _put(self, name: str, component: Any) -> None:  # noqa: ANN401 - a model or a folder
        compiled = getattr(component, "_orig_mod", None)
        if compiled is not None:  # by torch.compile, which wraps a model
            self._session.settings = replace(self._session.settings, compile=True)
            component = compiled
        if name == "vae":
            self._vae = (None, None)
        if written.is_unchanged(component) and component is getattr(self, name):
            return
        place = written.component_place(component)
        self._places = (*self._places, place)
        known = {**self._setup.replaced, name: place.path}
        self._setup = replace(self._setup, replaced=known)
        if name == "vae" and hasattr(component, "use_tiling"):
            slices, tiles = bool(component.use_slicing), bool(component.use_tiling)
            self._setup = replace(self._setup, slices=slices, tiles=tiles)

    def _rebuild(self, parts: Mapping[str, Any]) -> None:
        """Put parts in the place of the checkpoint's that only a whole checkpoint can bring."""
        setup = self._setup
        origin = locate(setup.checkpoint.name, revision=setup.revision)
        place = written.place_with(origin, self._index, parts)
        self._places = (*self._places, place)
        checkpoint = open_checkpoint(
            place.path, dtype="float32", device="cpu", variant=setup.variant
        )
        self._setup = replace(setup, checkpoint=checkpoint, revision=None)
        self._index = {**self._index, **saved.read_index(checkpoint)}
        self._index["_class_name"] = type(self).__name__

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 - any component
        if name in _PARTS:
            self._replace({name: value})
        else:
            object.__setattr__(self, name, value)


def is_granted(name: str, value: object) -> bool:
    """Whether an option of diffusers asks for what is so anyway."""
    return any(value is each for each in GRANTED.get(name, ()))


def _thawed(value: object) -> object:
    return [*cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value

"""What saves memory in diffusers, as it is here: some is always so, some is a choice."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from graphdiff.checkpoints.devices import resolve_device, resolve_dtype
from graphdiff.graph.node import Settings
from graphdiff.pipelines.setup import Setup

if TYPE_CHECKING:
    import torch

    from graphdiff.checkpoints.handles import Dtype
    from graphdiff.engine.session import Session

# Of the largest layer: one that runs, one that comes, what stays beside them, and for two encoders.
_LAYERS_AT_A_TIME: Final = 4


class Thrifty:
    """A pipeline that can be told to take less memory."""

    _setup: Setup
    _session: Session
    _offloads: Literal["models", "layers"] | None = None

    def enable_attention_slicing(self, slice_size: str | int | None = "auto") -> None:
        """Taken for diffusers' sake: attention never holds all of its scores at a time.

        Args:
            slice_size: Into how many slices; there are none.
        """

    def disable_attention_slicing(self) -> None:
        """Taken for diffusers' sake, as `enable_attention_slicing`."""

    def enable_xformers_memory_efficient_attention(self, attention_op: object = None) -> None:
        """Taken for diffusers' sake: torch's own attention, which always runs, takes as little.

        Args:
            attention_op: Which of xFormers' operators; there are none.
        """

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Taken for diffusers' sake, as `enable_xformers_memory_efficient_attention`."""

    def enable_vae_slicing(self) -> None:
        """Encode and decode one picture of a batch at a time."""
        self._setup = replace(self._setup, slices=True)

    def disable_vae_slicing(self) -> None:
        """Encode and decode a batch at once."""
        self._setup = replace(self._setup, slices=False)

    def enable_vae_tiling(self) -> None:
        """Encode and decode large pictures tile by tile, blended where tiles meet."""
        self._setup = replace(self._setup, tiles=True)

    def disable_vae_tiling(self) -> None:
        """Encode and decode pictures as a whole."""
        self._setup = replace(self._setup, tiles=False)

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """Compute on an accelerator, and keep there only the models that work together.

        The text encoders leave when the UNet comes, and the UNet when the VAE comes. Weights are
        kept for the whole process, so that this holds for every pipeline of it from the next call
        on.

        Args:
            gpu_id: Which one of several; the first, since one is used.
            device: Which kind; the one that there is where None.

        Raises:
            RuntimeError: There is no accelerator.
            ValueError: Another one than the first is asked for.
        """
        self._offload("models", gpu_id, device)

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """Compute on an accelerator, and keep there only some layers of a model at a time.

        Weights come as they are needed, which takes the least memory and the most time. It holds
        for the calls of this pipeline.

        Args:
            gpu_id: Which one of several; the first, since one is used.
            device: Which kind; the one that there is where None.

        Raises:
            RuntimeError: There is no accelerator.
            ValueError: Another one than the first is asked for.
        """
        self._offload("layers", gpu_id, device)

    def _offload(
        self,
        what: Literal["models", "layers"],
        gpu_id: int | None,
        device: torch.device | str | None,
    ) -> None:
        name = str(device or "auto")
        found = resolve_device(device_kind(f"{name}:{gpu_id}" if gpu_id else name))
        if found == "cpu":
            raise RuntimeError(
                "there is no accelerator to keep models away from: on a CPU weights are mapped "
                "files, which take no memory of their own until they are read"
            )
        self._session.settings = replace(self._session.settings, device=found)
        self._offloads = what

    @contextmanager
    def _room(self) -> Generator[None]:
        """While a run lasts, see to it that weights take no more of the device than was said."""
        if self._offloads is None:
            yield
            return
        from graphdiff.checkpoints.pool import pool

        shared = pool()
        if self._offloads == "models":
            shared.needed = working_set(self._setup, self._session.settings)
            yield
            return
        before = shared.budget
        least = layers_budget(self._setup, self._session.settings)
        shared.budget = least if before is None else min(before, least)
        try:
            yield
        finally:
            shared.budget = before


def device_kind(device: str) -> str:
    """The kind of a device, such as `cuda`, or `cuda:0`.

    Raises:
        ValueError: It is another one than the first of its kind.
    """
    kind, _, index = device.partition(":")
    if index not in ("", "0"):
        raise ValueError(
            f"device {index} is asked for, but the first is used: hide the others from the "
            "process, with CUDA_VISIBLE_DEVICES"
        )
    return kind


def working_set(setup: Setup, settings: Settings) -> int:
    """The bytes of the weights that a pipeline needs at a time: those of its largest step.

    Args:
        setup: The pipeline.
        settings: What it computes in, and whether it compiles.
    """
    from graphdiff.checkpoints.build import size_of

    precision = _precision(settings)
    sizes = [
        sum(size_of(each.weights, each.config, precision) for each in step)
        for step in _steps(setup)
    ]
    # What LoRAs change, and what is compiled, is there twice while it is made.
    return max(sizes) * (2 if setup.adapters or getattr(settings, "compile", False) else 1)


def layers_budget(setup: Setup, settings: Settings) -> int:
    """The bytes of weights within which a pipeline can run, layer by layer.

    Text encoders share them, layers come while others run, and models that look at pictures are
    not divided.

    Args:
        setup: The pipeline.
        settings: What it computes in.
    """
    from graphdiff.checkpoints.build import size_in, size_of
    from graphdiff.checkpoints.sources import shapes_of

    precision = _precision(settings)
    layers = [
        size_in(precision, shape)
        for step in _steps(setup)
        for each in step
        for shape in shapes_of(each.weights, each.config).values()
    ]
    own = setup.checkpoint
    seers = [own.depth_estimator, own.safety_checker if setup.is_checked else None]
    wholes = [size_of(each.weights, each.config, precision) for each in seers if each is not None]
    return max(_LAYERS_AT_A_TIME * max(layers), *wholes, 0)


def _steps(setup: Setup) -> list[list[Any]]:
    """The models that work together: handles, without those that look at pictures."""
    from graphdiff.checkpoints.open import open_controlnet, open_unet, open_vae

    form: dict[str, Any] = {"dtype": "float32", "device": "cpu"}
    parts, own = setup.replaced, setup.checkpoint
    unet = open_unet(parts["unet"], **form) if "unet" in parts else own.unet
    vae = open_vae(parts["vae"], **form) if "vae" in parts else own.vae
    nets = [open_controlnet(folder, **form) for folder in setup.controlnets]
    encoders = own.text_encoder.encoders if own.text_encoder else ()
    return [[unet, *nets], [] if vae is None else [vae], [*encoders]]


def _precision(settings: Settings) -> Dtype:
    return resolve_dtype(settings.dtype, resolve_device(settings.device))

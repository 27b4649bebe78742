"""What a pipeline is made of: its checkpoint, and what replaces or changes parts of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from graphdiff.checkpoints.handles import Checkpoint, PredictionType


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA that a pipeline has: its file and how strongly it is applied.

    Args:
        name: What it is called.
        file: Where it lies.
        parts: The models that it changes, by their names in a checkpoint's folder.
        scale: How strongly it changes the UNet.
        text_scale: How strongly it changes the text encoders; as the UNet where None.
        is_active: Whether it is applied.
        is_strict: Whether keys that fit nothing are an error, or a warning.
        fused: By how much more it is applied to the UNet, and to the text encoders, once it was
            fused; None for a part that was not.
    """

    name: str
    file: str
    parts: tuple[str, ...]
    scale: float = 1.0
    text_scale: float | None = None
    is_active: bool = True
    is_strict: bool = True
    fused: tuple[float | None, float | None] = (None, None)

    @property
    def is_fused(self) -> bool:
        """Whether some part of it stays when LoRAs are taken out."""
        return self.fused != (None, None)

    def scales(self, of_call: float) -> tuple[float, float]:
        """How strongly it changes the UNet and the text encoders.

        Args:
            of_call: How strongly a call wants LoRAs; it does not reach what is fused.
        """
        scales = self.scale, self.scale if self.text_scale is None else self.text_scale
        free = of_call if self.is_active else 0.0
        unet, text = (
            scale * (free if fused is None else fused)
            for scale, fused in zip(scales, self.fused, strict=True)
        )
        return unet, text

    def baked(self) -> Adapter:
        """What remains of it when LoRAs are taken out: what is fused."""
        unet, text = replace(self, is_active=False).scales(0.0)
        return replace(self, name="", scale=unet, text_scale=text, is_active=True, fused=(1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a pipeline is made of: what its graphs begin with.

    Args:
        checkpoint: What it was loaded from.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files.
        config: For a single file of an unusual model, the folder that holds its configuration.
        scheduler: Another scheduler: its class and what its configuration states.
        replaced: Folders of models that replace the checkpoint's, by component.
        controlnets: Folders of ControlNets.
        adapters: LoRAs.
        is_adapted: Whether LoRAs that are not fused are applied.
        words: Files of new words, and the words.
        is_checked: Whether pictures go through the safety checker.
        slices: Whether the VAE works on one picture of a batch at a time.
        tiles: Whether the VAE works on tiles of large pictures.
    """

    checkpoint: Checkpoint
    revision: str | None = None
    variant: str | None = None
    config: str | None = None
    scheduler: tuple[str, Mapping[str, Any]] | None = None
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])
    controlnets: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    is_adapted: bool = True
    words: tuple[tuple[str, str], ...] = ()
    is_checked: bool = True
    slices: bool = False
    tiles: bool = False

    @property
    def prediction_type(self) -> PredictionType:
        """What the UNet predicts: the checkpoint says so, or another scheduler for it.

        A single file's is known by its content alone, where it is no folder of its own.
        """
        stated = self.scheduler[1].get("prediction_type") if self.scheduler else None
        is_apart = "unet" in self.replaced or not self.checkpoint.name.endswith(".safetensors")
        own = self.checkpoint.unet.prediction_type
        return cast("PredictionType", stated) if stated and is_apart else own

    def loras(self, of_call: float = 1.0) -> list[tuple[Adapter, float, float]]:
        """The LoRAs that change something, and how strongly, for the UNet and the encoders."""
        scale = of_call if self.is_adapted else 0.0
        rows = [(each, *each.scales(scale)) for each in self.adapters]
        return [row for row in rows if row[1] or row[2]]

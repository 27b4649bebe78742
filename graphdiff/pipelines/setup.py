"""What a pipeline is made of: its checkpoint, and what replaces or changes parts of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphdiff.checkpoints.handles import Checkpoint


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA that a pipeline has: its file and how strongly it is applied."""

    name: str
    file: str
    scale: float = 1.0


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
        words: Files of new words, and the words.
        is_checked: Whether pictures go through the safety checker.
    """

    checkpoint: Checkpoint
    revision: str | None = None
    variant: str | None = None
    config: str | None = None
    scheduler: tuple[str, Mapping[str, Any]] | None = None
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])
    controlnets: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    words: tuple[tuple[str, str | None], ...] = ()
    is_checked: bool = True

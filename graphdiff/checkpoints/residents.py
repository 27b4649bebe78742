"""What the weights pool keeps: which model in which form, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from graphdiff.checkpoints.build import size_in, size_of, storages
from graphdiff.checkpoints.handles import DeviceKind, Dtype, LoRA, TextualInversion, Weights
from graphdiff.checkpoints.lora import Change, changes_of
from graphdiff.checkpoints.lora_keys import LoraPart, Modules

if TYPE_CHECKING:
    from torch import nn

Form: TypeAlias = Literal["plain", "packed", "compiled", "streamed"]


@dataclass(frozen=True, slots=True)
class Base:
    """A model as its files have it, which handles with and without patches start from."""

    kind: str
    config: Mapping[str, Any]
    weights: Weights
    dtype: Dtype
    device: DeviceKind

    def __hash__(self) -> int:  # not every config can be hashed, files tell models apart anyway
        return hash((self.kind, self.weights, self.dtype, self.device))

    @property
    def size(self) -> int:
        """How many bytes its weights take, from headers alone."""
        return size_of(self.weights, self.config, self.dtype)


@dataclass(frozen=True, slots=True)
class Key:
    """A model in one of its forms.

    Args:
        base: The model.
        form: Plain; packed for a CPU's kernels; compiled; or streamed block by block.
        patches: What changes it.
        share: Of a streamed one, the bytes that it may take on its device.
    """

    base: Base
    form: Form = "plain"
    patches: tuple[LoRA | TextualInversion, ...] = ()
    share: int = 0

    @property
    def name(self) -> str:
        """A name for people: its class, its file, its form, its patches."""
        base = self.base
        name = f"{base.kind} {base.weights.files[0].sha256[:8]} {base.dtype} {base.device}"
        if self.form not in ("plain", "packed"):
            name += f" {self.form}"
        return name + "".join(f" + {patch.file.path.name}" for patch in self.patches)


@dataclass(frozen=True, slots=True)
class Loras:
    """LoRAs that change a model, and how their files call it.

    Args:
        loras: Them; there may be none.
        part: What their files call the model.
        modules: Gives the modules that they may change.
    """

    loras: tuple[LoRA, ...]
    part: LoraPart
    modules: Callable[[], Modules]

    def changes(self) -> dict[str, tuple[Change, ...]]:
        """What they do to which weights."""
        return changes_of(self.loras, self.part, self.modules()) if self.loras else {}

    def size(self, base: Base) -> int:
        """How many bytes the weights take that they change."""
        if not self.loras:
            return 0
        shapes = {f"{name}.weight": shape for name, shape in self.modules().shapes.items()}
        return sum(size_in(base.dtype, shapes[name]) for name in self.changes())


def held_by(key: Key, module: nn.Module) -> dict[tuple[str, int], int]:
    """The memory on its device that a model's weights lie in, and how many bytes each piece has.

    What several models share is the same piece of each.
    """
    if key.form == "streamed":
        from graphdiff.models.streamed import streamed_bytes

        return {("streamed", id(module)): streamed_bytes(module)}
    held = storages(module)
    if key.form == "packed":
        from graphdiff.models.packed import reordered

        return held | {("packed", place): size for place, size in reordered(module).items()}
    if key.form == "compiled" and key.base.device == "cpu":
        return held | {("frozen", id(module)): sum(held.values())}
    return held

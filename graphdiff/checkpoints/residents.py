"""What the weights pool keeps: which model in which form, and who leaves when memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from graphdiff.checkpoints.build import size_in, size_of, storages
from graphdiff.checkpoints.handles import DeviceKind, Dtype, LoRA, TextualInversion, Weights
from graphdiff.checkpoints.lora import Change, changes_of
from graphdiff.checkpoints.lora_keys import LoraPart, Modules
from graphdiff.pressure import give_back, relieve

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")

_VARIANTS = 8  # of one model that are kept; each holds what its LoRAs change

Form: TypeAlias = Literal[
    "plain", "channels-last", "packed", "fused", "compiled", "regions", "streamed"
]
_MADE_OF: Final[Mapping[Form, Form]] = MappingProxyType(
    {"fused": "channels-last", "regions": "channels-last", "compiled": "plain"}
)


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
        form: As its files have it, plain or with weights that are channels-last; packed for a CPU's
            kernels; fused for a GPU's; compiled, whole or by regions; or streamed block by block.
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
        if self.form in ("compiled", "regions", "streamed"):
            name += " streamed" if self.form == "streamed" else " compiled"
        return name + "".join(f" + {patch.file.path.name}" for patch in self.patches)

    @property
    def origin(self) -> Key | None:
        """The model that this one is made of and shares its weights with; they leave together."""
        form = _MADE_OF.get(self.form)
        return None if form is None else replace(self, form=form)


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


class Residents:
    """The models that are kept; the one not used for longest leaves first.

    Not safe to use from several threads.

    Args:
        most: Gives the bytes of weights that may be on a device while there are models that can
            leave; None for as many as fit.
    """

    def __init__(self, most: Callable[[], int | None]) -> None:
        self._most = most
        self._modules: dict[Key, nn.Module] = {}  # the one used last is last

    def kept(
        self, key: Key, needed: int, make: Callable[[], nn.Module], *, beside: Key | None = None
    ) -> nn.Module:
        """The module of a key; what takes too much room leaves before it is made.

        Args:
            key: The key.
            needed: How many bytes it adds to what is there.
            make: Makes it.
            beside: What must not leave for it, since it is made of that.
        """
        module = self._modules.pop(key, None)
        if module is None:
            device = key.base.device
            self._make_room(device, needed, keep=(key, beside))
            module = self._retried(device, make, keep=(beside,))
            module.eval().requires_grad_(False)
            self._modules[key] = module
            self._make_room(device, 0, keep=(key,))
            self._forget_variants(key.base)
        self._modules[key] = module
        return module

    def sizes(self) -> dict[str, int]:
        """The bytes of weights that each model keeps, by its name, the one used last last.

        A tensor that several share counts for the first of them.
        """
        seen: set[tuple[str, int]] = set()
        sizes: dict[str, int] = {}
        for key, module in self._modules.items():
            held = held_by(key, module)
            own = sum(size for place, size in held.items() if place not in seen)
            seen |= held.keys()
            sizes[key.name] = sizes.get(key.name, 0) + own
        return sizes

    def bytes_on(self, device: DeviceKind) -> int:
        """The bytes of weights kept on a device."""
        held: dict[tuple[str, int], int] = {}
        for key, module in self._modules.items():
            if key.base.device == device:
                held |= held_by(key, module)
        return sum(held.values())

    def drop(self, leaves: Callable[[Key], bool]) -> None:
        """Let models go, with what is made of them, and give their memory back.

        Args:
            leaves: Says which.
        """
        keys = [
            key
            for key in self._modules
            if leaves(key) or (key.origin is not None and leaves(key.origin))
        ]
        for key in keys:
            module = self._modules.pop(key)
            if key.form in ("fused", "regions"):
                from graphdiff.models.graphed import let_graphs_go

                let_graphs_go(module)
            del module
        if any(key.form == "streamed" for key in keys):
            import gc

            gc.collect()  # what brings its blocks refers to them, and they to it
        if keys:
            give_back()

    def _forget_variants(self, base: Base) -> None:
        """Of too many forms of a model with LoRAs, let those go that were not used for longest."""
        origins = {key.origin for key in self._modules}
        variants = [
            key for key in self._modules if key.patches and key.base == base and key not in origins
        ]
        for key in variants[:-_VARIANTS]:
            self.drop({key, key.origin}.__contains__)

    def _make_room(self, device: DeviceKind, needed: int, *, keep: Iterable[Key | None]) -> None:
        most = self._most()
        if most is None:
            return
        while self.bytes_on(device) + needed > most and self._evict(device, keep=keep):
            pass

    def _retried(
        self, device: DeviceKind, make: Callable[[], T], *, keep: Iterable[Key | None]
    ) -> T:
        """Make something; when memory is out, let graphs go, then models one by one, and try again.

        Args:
            device: Where it is made.
            make: Makes it.
            keep: What it is made of: it would be made anew, again and again.
        """
        import torch

        while True:
            try:
                return make()
            except torch.OutOfMemoryError:
                if not (relieve() or self._evict(device, keep=keep)):
                    raise

    def _evict(self, device: DeviceKind, *, keep: Iterable[Key | None]) -> bool:
        """Let the model go that was not used for longest; says whether there was one.

        What others are made of is in use as long as they are, and leaves with the last of them.
        """
        origins = [key.origin for key in self._modules]
        for key in self._modules:
            if key.base.device == device and key not in keep and key not in origins:
                origin = key.origin
                alone = origin in keep or origins.count(origin) > 1
                goes = (key,) if origin is None or alone else (key, origin)
                self.drop(goes.__contains__)
                return True
        return False

"""The weights pool: handles in, modules out; each weight is read once, and shared if it can be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from graphdiff.checkpoints.build import (
    built,
    encoder_with_words,
    read_tokenizer,
    size_of,
    storages,
    with_weights,
)
from graphdiff.checkpoints.handles import (
    VAE,
    ClipEncoder,
    ControlNet,
    DepthEstimator,
    DeviceKind,
    Dtype,
    Handle,
    LoRA,
    SafetyChecker,
    TextEncoder,
    TextualInversion,
    TokenizerFiles,
    UNet,
    Weights,
)
from graphdiff.checkpoints.lora import encoder_parts, patched_weights, text_modules, unet_modules
from graphdiff.checkpoints.lora_keys import LoraPart, Modules
from graphdiff.checkpoints.textual_inversion import Words, words_for

if TYPE_CHECKING:
    from torch import nn

    from graphdiff.models.autoencoder_kl import AutoencoderKL
    from graphdiff.models.autoencoder_tiny import AutoencoderTiny
    from graphdiff.models.clip_text import CLIPTextModel
    from graphdiff.models.clip_tokenizer import CLIPTokenizer
    from graphdiff.models.controlnet import ControlNetModel
    from graphdiff.models.unet_2d import UNet2DModel
    from graphdiff.models.unet_2d_condition import UNet2DConditionModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """A text model, ready, with its tokenizer.

    Args:
        model: The model.
        tokenizer: Its tokenizer, which knows the added words.
        words: The added words.
    """

    model: CLIPTextModel
    tokenizer: CLIPTokenizer
    words: tuple[Words, ...] = ()

    def expand(self, text: str) -> str:
        """A prompt in which each added word is written as all of its tokens."""
        for words in self.words:
            text = words.expand(text)
        return text


@dataclass(frozen=True, slots=True)
class _Base:
    """A model as its files have it, which handles with and without patches start from."""

    kind: str
    config: Mapping[str, Any]
    weights: Weights
    dtype: Dtype
    device: DeviceKind

    def __hash__(self) -> int:  # not every config can be hashed, files tell models apart anyway
        return hash((self.kind, self.weights, self.dtype, self.device))


@dataclass(frozen=True, slots=True)
class _Patched:
    """A model with patches."""

    base: _Base
    patches: tuple[LoRA | TextualInversion, ...]


@dataclass(frozen=True, slots=True)
class _Packed:
    """A model in the form that a CPU's kernels read."""

    base: _Base


_Key = _Base | _Patched | _Packed


class WeightsPool:
    """Makes modules from handles and keeps them; the one not used for longest leaves first.

    Modules are for inference: `eval`, no gradients; nobody may change them. One that has left
    stays alive as long as somebody holds it. Safe to use from several threads.

    Args:
        budget: How many bytes of weights to keep on a device; None for as many as fit. Weights on
            a CPU that need no cast are mapped files, and are counted all the same.
        packs: Whether models on a CPU are rearranged for its kernels, see `models.packed`.
    """

    def __init__(self, budget: int | None = None, *, packs: bool = False) -> None:
        self.budget = budget
        self.packs = packs
        self._modules: dict[_Key, nn.Module] = {}  # the one used last is last
        self._tokenizers: dict[tuple[TokenizerFiles, tuple[Words, ...]], CLIPTokenizer] = {}
        self._lock = threading.RLock()

    @overload
    def module(self, handle: UNet) -> UNet2DConditionModel | UNet2DModel: ...
    @overload
    def module(self, handle: VAE) -> AutoencoderKL | AutoencoderTiny: ...
    @overload
    def module(self, handle: TextEncoder) -> tuple[LoadedEncoder, ...]: ...
    @overload
    def module(self, handle: ControlNet) -> ControlNetModel: ...
    @overload
    def module(self, handle: SafetyChecker | DepthEstimator) -> nn.Module: ...

    def module(self, handle: Handle) -> object:
        """The module that a handle stands for, made now or kept from before.

        Args:
            handle: The handle. For a text encoder, the models and tokenizers of all its encoders.

        Raises:
            CheckpointError: Its files are missing, damaged or of another model.
        """
        with self._lock:
            if isinstance(handle, TextEncoder):
                parts = encoder_parts(handle)
                return tuple(
                    self._encoder(handle, encoder, part)
                    for encoder, part in zip(handle.encoders, parts, strict=True)
                )
            base = _Base(_kind(handle), handle.config, handle.weights, handle.dtype, handle.device)
            if isinstance(handle, UNet) and handle.patches:
                names = partial(unet_modules, handle)
                return self._with_loras(base, handle.patches, "unet", lambda: names()["unet"])
            if self.packs and base.device == "cpu":
                return self._packed(base)
            return self._base(base)

    def _packed(self, base: _Base) -> nn.Module:
        """The packed form of a model, which is kept instead of the plain one.

        Patched models are not packed: packed weights could not be shared between them.
        """

        def make() -> nn.Module:
            from graphdiff.models.packed import packed

            made = packed(self._base(base))
            self._modules.pop(base, None)
            return made

        return self._kept(_Packed(base), 0, make)

    def release(self, handle: Handle | None = None) -> None:
        """Let a model go, with its patched forms; all of them where none is named."""
        with self._lock:
            if handle is None:
                self._modules.clear()
                self._tokenizers.clear()
            else:
                mine = _weights(handle)
                for key in [key for key in self._modules if _base_of(key).weights in mine]:
                    del self._modules[key]
            _return_memory()

    def resident(self) -> dict[str, int]:
        """The bytes of weights that each model keeps, by its name, the one used last last.

        A tensor that several share counts for the first of them.
        """
        with self._lock:
            seen: set[tuple[str, int]] = set()
            sizes: dict[str, int] = {}
            for key, module in self._modules.items():
                held = storages(module)
                own = sum(size for place, size in held.items() if place not in seen)
                own += _reordered(key, module)
                seen |= held.keys()
                sizes[_name(key)] = sizes.get(_name(key), 0) + own
            return sizes

    def bytes_on(self, device: DeviceKind) -> int:
        """The bytes of weights kept on a device."""
        with self._lock:
            held: dict[tuple[str, int], int] = {}
            reordered = 0
            for key, module in self._modules.items():
                if _base_of(key).device == device:
                    held |= storages(module)
                    reordered += _reordered(key, module)
            return sum(held.values()) + reordered

    def _base(self, key: _Base) -> nn.Module:
        needed = size_of(key.weights, key.config, key.dtype)
        return self._kept(
            key,
            needed,
            lambda: built(key.kind, key.config, key.weights, key.dtype, key.device),
        )

    def _kept(self, key: _Key, needed: int, make: Callable[[], nn.Module]) -> nn.Module:
        """The module of a key; what takes too much room leaves before it is made."""
        module = self._modules.pop(key, None)
        if module is None:
            device = _base_of(key).device
            self._make_room(device, needed, keep=_base_of(key))
            module = self._retried(device, make)
            module.eval().requires_grad_(False)
            self._modules[key] = module
            self._make_room(device, 0, keep=key)  # patched weights are known only when made
        self._modules[key] = module
        return module

    def _make_room(self, device: DeviceKind, needed: int, *, keep: _Key) -> None:
        if self.budget is None:
            return
        while self.bytes_on(device) + needed > self.budget and self._evict(device, keep=keep):
            pass

    def _retried(self, device: DeviceKind, make: Callable[[], T]) -> T:
        """Make something; when memory is out, let models leave one by one and try again."""
        import torch

        while True:
            try:
                return make()
            except torch.OutOfMemoryError:
                if not self._evict(device, keep=None):
                    raise

    def _evict(self, device: DeviceKind, *, keep: _Key | None) -> bool:
        """Let the model go that was not used for longest; says whether there was one."""
        for key in self._modules:
            if _base_of(key).device == device and key != keep:
                del self._modules[key]
                _return_memory()
                return True
        return False

    def _with_loras(
        self,
        base: _Base,
        loras: tuple[LoRA, ...],
        part: LoraPart,
        modules: Callable[[], Modules],
    ) -> nn.Module:
        """A model with LoRAs, which shares with `base` all tensors that they do not change."""

        def make() -> nn.Module:
            origin = self._base(base)
            changed = patched_weights(origin.state_dict(), loras, part, modules())
            return with_weights(origin, changed) if changed else origin

        return self._kept(_Patched(base, loras), 0, make)

    def _encoder(self, handle: TextEncoder, encoder: ClipEncoder, part: LoraPart) -> LoadedEncoder:
        kind = "CLIPTextModelWithProjection" if encoder.projection else "CLIPTextModel"
        base = _Base(kind, encoder.config, encoder.weights, handle.dtype, handle.device)
        loras = tuple(patch for patch in handle.patches if isinstance(patch, LoRA))
        inversions = tuple(p for p in handle.patches if isinstance(p, TextualInversion))
        words = tuple(words_for(inversion, encoder) for inversion in inversions)
        tokenizer = self._tokenizer(encoder.tokenizer, words)

        def with_loras() -> nn.Module:
            if not loras:
                return self._base(base)
            return self._with_loras(base, loras, part, lambda: text_modules(handle)[part])

        def with_words() -> nn.Module:
            return encoder_with_words(with_loras(), tokenizer, inversions, words)

        model: Any = (
            self._kept(_Patched(base, handle.patches), 0, with_words) if words else with_loras()
        )
        return LoadedEncoder(model, tokenizer, words)

    def _tokenizer(self, files: TokenizerFiles, words: tuple[Words, ...]) -> CLIPTokenizer:
        found = self._tokenizers.get((files, words))
        if found is None:
            found = self._tokenizers[files, words] = read_tokenizer(files, words)
        return found


def _kind(handle: UNet | VAE | ControlNet | SafetyChecker | DepthEstimator) -> str:
    if isinstance(handle, SafetyChecker | DepthEstimator):
        return type(handle).__name__
    return handle.config.class_name


def _base_of(key: _Key) -> _Base:
    return key if isinstance(key, _Base) else key.base


def _reordered(key: _Key, module: nn.Module) -> int:
    """The bytes of weights that a packed model holds in an order of their own."""
    if not isinstance(key, _Packed):
        return 0
    from graphdiff.models.packed import packed_bytes

    return packed_bytes(module)


def _weights(handle: Handle) -> tuple[Weights, ...]:
    if isinstance(handle, TextEncoder):
        return tuple(encoder.weights for encoder in handle.encoders)
    return (handle.weights,)


def _name(key: _Key) -> str:
    """A model's name for people: its class, its file, its patches."""
    base = _base_of(key)
    name = f"{base.kind} {base.weights.files[0].sha256[:8]} {base.dtype} {base.device}"
    if not isinstance(key, _Patched):
        return name
    return name + "".join(f" + {patch.file.path.name}" for patch in key.patches)


def _return_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_pool = WeightsPool(packs=True)


def pool() -> WeightsPool:
    """The pool of this process."""
    return _pool

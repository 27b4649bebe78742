"""The weights pool: handles in, modules out; each weight is read once, and shared if it can be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from graphdiff.checkpoints.build import (
    TOKEN_EMBEDDING,
    encoder_with_words,
    read_tokenizer,
    size_in,
    table_with_words,
)
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.forms import alone, sharing, streamed_within, whole
from graphdiff.checkpoints.handles import (
    VAE,
    ClipEncoder,
    ControlNet,
    DepthEstimator,
    DeviceKind,
    Handle,
    LoRA,
    SafetyChecker,
    TextEncoder,
    TextualInversion,
    TokenizerFiles,
    UNet,
    Weights,
)
from graphdiff.checkpoints.lora import encoder_parts, text_modules, unet_modules
from graphdiff.checkpoints.lora_keys import LoraPart
from graphdiff.checkpoints.residents import Base, Key, Loras, held_by
from graphdiff.checkpoints.textual_inversion import Words, words_for

if TYPE_CHECKING:
    from torch import Tensor, nn

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


class WeightsPool:
    """Makes modules from handles and keeps them; the one not used for longest leaves first.

    Modules are for inference: `eval`, no gradients; nobody may change them. One that has left
    stays alive as long as somebody holds it. Safe to use from several threads.

    Args:
        budget: How many bytes of weights to keep on a device; None for as many as fit. A model
            that is larger is streamed, block by block. Weights on a CPU that need no cast are
            mapped files, and are counted all the same.
        packs: Whether models on a CPU are rearranged for its kernels, see `models.packed`.

    Attributes:
        needed: How many bytes are enough, where that is known: models leave for others within
            these, but none is streamed for their sake.
    """

    def __init__(self, budget: int | None = None, *, packs: bool = False) -> None:
        self.budget = budget
        self.packs = packs
        self.needed: int | None = None
        self._modules: dict[Key, nn.Module] = {}  # the one used last is last
        self._tokenizers: dict[tuple[TokenizerFiles, tuple[Words, ...]], CLIPTokenizer] = {}
        self._sizes: dict[tuple[Base, tuple[LoRA, ...]], int] = {}  # read from headers, once
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
            CheckpointError: Its files are missing, damaged or of another model, or there is no room
                for it within the budget.
        """
        with self._lock:
            if isinstance(handle, TextEncoder):
                return self._encoders(handle)
            base = Base(_kind(handle), handle.config, handle.weights, handle.dtype, handle.device)
            packs = self.packs and base.device == "cpu"
            if not isinstance(handle, UNet):
                return self._model(base, packs=packs)
            names = partial(unet_modules, handle)
            loras = Loras(handle.patches, "unet", lambda: names()["unet"])
            return self._model(base, loras, packs=packs, compiles=handle.compiled)

    def release(self, handle: Handle | None = None) -> None:
        """Let a model go, with its patched forms; all of them where none is named."""
        with self._lock:
            if handle is None:
                self._drop(list(self._modules))
                self._tokenizers.clear()
                self._sizes.clear()
            else:
                mine = _weights(handle)
                self._drop([key for key in self._modules if key.base.weights in mine])

    def resident(self) -> dict[str, int]:
        """The bytes of weights that each model keeps, by its name, the one used last last.

        A tensor that several share counts for the first of them.
        """
        with self._lock:
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
        with self._lock:
            held: dict[tuple[str, int], int] = {}
            for key, module in self._modules.items():
                if key.base.device == device:
                    held |= held_by(key, module)
            return sum(held.values())

    def _model(
        self, base: Base, loras: Loras | None = None, *, packs: bool = False, compiles: bool = False
    ) -> nn.Module:
        """A model in the form that is best for it."""
        if compiles:
            return self._compiled(base, loras)
        if self.budget is not None and self._size(base) > self.budget:
            return self._streamed(base, loras, share=self.budget)
        return self._patched(base, loras, packs=packs)

    def _base(self, base: Base, *, packs: bool) -> nn.Module:
        """A model without patches; its packed form is kept instead of the plain one."""
        key = Key(base, "packed" if packs else "plain")
        return self._kept(key, self._size(base), lambda: whole(base, packs=packs))

    def _patched(
        self, base: Base, loras: Loras | None, *, packs: bool = False, others: int = 0
    ) -> nn.Module:
        """A model with LoRAs, which shares what they leave alone if there is room for both.

        Args:
            base: The model.
            loras: What changes it.
            packs: Whether it is packed.
            others: How many bytes those take that are used together with it.
        """
        if loras is None or not loras.loras:
            return self._base(base, packs=packs)
        import torch

        plain = Key(base, "packed" if packs else "plain")
        key = Key(base, plain.form, loras.loras)
        added = self._added(base, loras)
        if self.budget is None or self._size(base) + added + others <= self.budget:

            def make() -> nn.Module:
                return sharing(self._base(base, packs=packs), base, loras, packs=packs)

            try:
                return self._kept(key, added, make, beside=plain)
            except torch.OutOfMemoryError:
                pass  # its frames hold what was half made, and must go before it is tried again
            self._drop([plain] if plain in self._modules else [])
        return self._kept(key, self._size(base), lambda: alone(base, loras, packs=packs))

    def _size(self, base: Base) -> int:
        """The bytes of a model's weights."""
        size = self._sizes.get((base, ()))
        if size is None:
            size = self._sizes[base, ()] = base.size
        return size

    def _added(self, base: Base, loras: Loras | None) -> int:
        """The bytes that LoRAs add to a model; 0 where nobody counts."""
        if loras is None or not loras.loras or self._most is None:
            return 0
        size = self._sizes.get((base, loras.loras))
        if size is None:
            size = self._sizes[base, loras.loras] = loras.size(base)
        return size

    def _compiled(self, base: Base, loras: Loras | None) -> nn.Module:
        """A compiled model, made of the plain one with its patches, which stays."""
        frozen = (
            self._size(base) if base.device == "cpu" else 0
        )  # what is compiled holds copies there
        needed = self._size(base) + frozen + self._added(base, loras)
        if self.budget is not None and needed > self.budget:
            raise CheckpointError(
                f"a compiled {base.kind} takes {needed:,} bytes, and {self.budget:,} are "
                "allowed: allow more, or run without compile",
                expected=needed,
                found=self.budget,
            )
        patches = loras.loras if loras else ()

        def make() -> nn.Module:
            from graphdiff.models.compiled import compiled

            return compiled(self._patched(base, loras))

        plain = Key(base, "plain", patches)
        return self._kept(Key(base, "compiled", patches), frozen, make, beside=plain)

    def _streamed(
        self,
        base: Base,
        loras: Loras | None,
        *,
        share: int,
        patches: tuple[LoRA | TextualInversion, ...] | None = None,
        table: Callable[[Tensor], Tensor] | None = None,
    ) -> nn.Module:
        """A model of which only some blocks are on the device at a time.

        Args:
            base: The model.
            loras: What changes it.
            share: The most bytes to have on the device.
            patches: What tells it from others; the LoRAs where None.
            table: What a text encoder's vectors become.
        """
        if patches is None:
            patches = loras.loras if loras else ()
        key = Key(base, "streamed", patches, share)
        return self._kept(key, share, lambda: streamed_within(share, base, loras, table))

    def _kept(
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
        self._modules[key] = module
        return module

    def _make_room(self, device: DeviceKind, needed: int, *, keep: Iterable[Key | None]) -> None:
        most = self._most
        if most is None:
            return
        while self.bytes_on(device) + needed > most and self._evict(device, keep=keep):
            pass

    @property
    def _most(self) -> int | None:
        """How many bytes of weights may be on a device while there are models that can leave."""
        return min((each for each in (self.budget, self.needed) if each is not None), default=None)

    def _retried(
        self, device: DeviceKind, make: Callable[[], T], *, keep: Iterable[Key | None]
    ) -> T:
        """Make something; when memory is out, let models leave one by one and try again.

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
                if not self._evict(device, keep=keep):
                    raise

    def _evict(self, device: DeviceKind, *, keep: Iterable[Key | None] = ()) -> bool:
        """Let the model go that was not used for longest; says whether there was one."""
        for key in self._modules:
            if key.base.device == device and key not in keep:
                self._drop([key])
                return True
        return False

    def _drop(self, keys: Iterable[Key]) -> None:
        """Let models go, and give their memory back."""
        forms = {key.form for key in keys}
        for key in keys:
            del self._modules[key]
        if "streamed" in forms:  # what brings its blocks refers to them, and they to it
            import gc

            gc.collect()
        if forms:
            _return_memory()

    def _encoders(self, handle: TextEncoder) -> tuple[LoadedEncoder, ...]:
        """All encoders of a handle; if they do not fit together, each is streamed in its share."""
        kinds = [
            "CLIPTextModelWithProjection" if e.projection else "CLIPTextModel"
            for e in handle.encoders
        ]
        bases = [
            Base(kind, encoder.config, encoder.weights, handle.dtype, handle.device)
            for kind, encoder in zip(kinds, handle.encoders, strict=True)
        ]
        parts = encoder_parts(handle)
        return tuple(
            self._encoder(handle, encoder, base, part, sum(map(self._size, bases)))
            for encoder, base, part in zip(handle.encoders, bases, parts, strict=True)
        )

    def _encoder(
        self, handle: TextEncoder, encoder: ClipEncoder, base: Base, part: LoraPart, total: int
    ) -> LoadedEncoder:
        own = tuple(patch for patch in handle.patches if isinstance(patch, LoRA))
        loras = Loras(own, part, lambda: text_modules(handle)[part])
        inversions = tuple(p for p in handle.patches if isinstance(p, TextualInversion))
        words = tuple(words_for(inversion, encoder) for inversion in inversions)
        tokenizer = self._tokenizer(encoder.tokenizer, words)

        def table(vectors: Tensor) -> Tensor:
            return table_with_words(vectors, tokenizer, inversions, words)

        others = total - self._size(base)

        def with_words() -> nn.Module:
            plain = self._patched(base, loras, others=others)
            return encoder_with_words(plain, table(plain.state_dict()[TOKEN_EMBEDDING]))

        model: Any
        if self.budget is not None and total > self.budget:
            model = self._streamed(
                base,
                loras,
                share=self.budget // len(handle.encoders),
                patches=handle.patches,
                table=table if words else None,
            )
        elif words:
            beside = Key(base, "plain", own)
            size = size_in(handle.dtype, (encoder.config.vocab_size, encoder.width))
            model = self._kept(Key(base, "plain", handle.patches), size, with_words, beside=beside)
        else:
            model = self._patched(base, loras, others=others)
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


def _weights(handle: Handle) -> tuple[Weights, ...]:
    if isinstance(handle, TextEncoder):
        return tuple(encoder.weights for encoder in handle.encoders)
    return (handle.weights,)


def _return_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_pool = WeightsPool(packs=True)


def pool() -> WeightsPool:
    """The pool of this process."""
    return _pool

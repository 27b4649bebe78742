"""The weights pool: handles in, modules out; each weight is read once, and shared if it can be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from graphdiff.checkpoints.build import (
    TOKEN_EMBEDDING,
    VISION,
    encoder_with_words,
    read_tokenizer,
    size_in,
    table_with_words,
)
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.forms import (
    alone,
    arrangement,
    made_of,
    sharing,
    streamed_within,
    whole,
)
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
from graphdiff.checkpoints.residents import Base, Form, Key, Loras, Residents
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
        packs: Whether models are arranged for the kernels of their device: packed for a CPU's,
            fused for a GPU's and there replayed as CUDA graphs, see `models.packed`,
            `models.fused` and `models.graphed`.

    Attributes:
        needed: How many bytes are enough, where that is known: models leave for others within
            these, but none is streamed for their sake.
    """

    def __init__(self, budget: int | None = None, *, packs: bool = False) -> None:
        self.budget = budget
        self.packs = packs
        self.needed: int | None = None
        self._residents = Residents(lambda: self._most)
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
            form: Form = arrangement(base.device) if self.packs else "plain"
            if not isinstance(handle, UNet):
                return self._model(base, form=form)
            names = partial(unet_modules, handle)
            loras = Loras(handle.patches, "unet", lambda: names()["unet"])
            if handle.compiled:
                return self._compiled(base, loras)
            return self._model(base, loras, form=form)

    def release(self, handle: Handle | None = None) -> None:
        """Let a model go, with its patched forms; all of them where none is named."""
        with self._lock:
            if handle is None:
                self._residents.drop(lambda _: True)
                self._tokenizers.clear()
                self._sizes.clear()
            else:
                mine = _weights(handle)
                self._residents.drop(lambda key: key.base.weights in mine)

    def resident(self) -> dict[str, int]:
        """The bytes of weights that each model keeps, by its name, the one used last last.

        A tensor that several share counts for the first of them.
        """
        with self._lock:
            return self._residents.sizes()

    def bytes_on(self, device: DeviceKind) -> int:
        """The bytes of weights kept on a device."""
        with self._lock:
            return self._residents.bytes_on(device)

    def _model(self, base: Base, loras: Loras | None = None, *, form: Form) -> nn.Module:
        """A model in the form that is best for it."""
        if self.budget is not None and self._size(base) > self.budget:
            return self._streamed(base, loras, share=self.budget)
        if base.kind in VISION:  # by transformers; they run once a picture
            form = "plain"
        if form == "fused":
            return self._made_of(base, loras, form)
        return self._patched(base, loras, form)

    def _base(self, base: Base, form: Form) -> nn.Module:
        """A model without patches; its packed form is kept instead of the plain one."""
        make = partial(whole, base, form)
        return self._residents.kept(Key(base, form), self._size(base), make)

    def _patched(
        self, base: Base, loras: Loras | None, form: Form, *, others: int = 0
    ) -> nn.Module:
        """A model with LoRAs, which shares what they leave alone if there is room for both.

        Args:
            base: The model.
            loras: What changes it.
            form: Plain, packed or channels-last.
            others: How many bytes those take that are used together with it.
        """
        if loras is None or not loras.loras:
            return self._base(base, form)
        import torch

        plain = Key(base, form)
        key = Key(base, form, loras.loras)
        added = self._added(base, loras)
        if self.budget is None or self._size(base) + added + others <= self.budget:

            def make() -> nn.Module:
                return sharing(self._base(base, form), base, loras, form)

            try:
                return self._residents.kept(key, added, make, beside=plain)
            except torch.OutOfMemoryError:
                pass  # its frames hold what was half made, and must go before it is tried again
            self._residents.drop(plain.__eq__)
        return self._residents.kept(key, self._size(base), lambda: alone(base, loras, form))

    def _made_of(self, base: Base, loras: Loras | None, form: Form, *, added: int = 0) -> nn.Module:
        """A model in a form that shares its weights with a plain one, which stays.

        Args:
            base: The model.
            loras: What changes it.
            form: The form.
            added: How many bytes it takes beside the plain one.
        """
        key = Key(base, form, loras.loras if loras else ())
        origin = key.origin
        assert origin is not None

        def make() -> nn.Module:
            return made_of(self._patched(base, loras, origin.form), base, form)

        return self._residents.kept(key, added, make, beside=origin)

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

    def _compiled(self, base: Base, loras: Loras) -> nn.Module:
        """A compiled model; on a CPU weights are frozen into it, and are there twice."""
        form: Form = "regions" if arrangement(base.device) == "fused" else "compiled"
        frozen = self._size(base) if base.device == "cpu" and form == "compiled" else 0
        needed = self._size(base) + frozen + self._added(base, loras)
        if self.budget is not None and needed > self.budget:
            raise CheckpointError(
                f"a compiled {base.kind} takes {needed:,} bytes, and {self.budget:,} are "
                "allowed: allow more, or run without compile",
                expected=needed,
                found=self.budget,
            )
        return self._made_of(base, loras, form, added=frozen)

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
        return self._residents.kept(key, share, lambda: streamed_within(share, base, loras, table))

    @property
    def _most(self) -> int | None:
        """How many bytes of weights may be on a device while there are models that can leave."""
        return min((each for each in (self.budget, self.needed) if each is not None), default=None)

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
            plain = self._patched(base, loras, "plain", others=others)
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
            key = Key(base, "plain", handle.patches)
            model = self._residents.kept(key, size, with_words, beside=beside)
        else:
            model = self._patched(base, loras, "plain", others=others)
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


_pool = WeightsPool(packs=True)


def pool() -> WeightsPool:
    """The pool of this process."""
    return _pool

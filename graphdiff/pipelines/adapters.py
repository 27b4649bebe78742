"""LoRAs of a pipeline: loaded, scaled, fused and taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from graphdiff.checkpoints.lora import check_lora
from graphdiff.checkpoints.open import open_lora, open_unet
from graphdiff.pipelines.files import found_file, is_several
from graphdiff.pipelines.setup import Adapter, Setup
from graphdiff.pipelines.written import Place

if TYPE_CHECKING:
    import torch

Weight: TypeAlias = "float | Mapping[str, Any] | None"

_PARTS = ("unet", "text_encoder", "text_encoder_2")


class Adaptable:
    """A pipeline whose models can be changed by LoRAs."""

    _setup: Setup
    _places: tuple[Place, ...]

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, torch.Tensor],
        adapter_name: str | None = None,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        strict: bool = True,
    ) -> None:
        """Change the models by a LoRA; several add up.

        Args:
            pretrained_model_name_or_path_or_dict: The LoRA's file, a folder, a hub id, or its
                tensors.
            adapter_name: A name for it, to change its strength by.
            weight_name: The file's name in that folder or repository.
            subfolder: The folder that it lies in there.
            revision: A branch, tag or commit of a hub id.
            token: Who asks the hub, for gated repositories.
            local_files_only: Do not reach the network.
            strict: Whether keys that fit nothing are an error, or a warning.

        Raises:
            CheckpointError: It is not there, damaged, or for other models.
            ValueError: There is a LoRA of this name already.
        """
        name = adapter_name or f"default_{len(_loaded(self._setup))}"
        if any(adapter.name == name for adapter in self._setup.adapters):
            raise ValueError(
                f"there is an adapter {name!r} already: give this one another adapter_name, or "
                f"take that one out with delete_adapters({name!r})"
            )
        file, places = found_file(
            pretrained_model_name_or_path_or_dict,
            (subfolder, weight_name),
            revision=revision,
            token=token,
            local_files_only=local_files_only,
        )
        self._places = (*self._places, *places)
        setup = self._setup
        unet = setup.checkpoint.unet
        if "unet" in setup.replaced:
            unet = open_unet(setup.replaced["unet"], dtype="float32", device="cpu")
        lora = open_lora(file, strict=strict)
        plan = check_lora(lora, unet=unet, text_encoder=setup.checkpoint.text_encoder)
        changed = {delta.part for delta in plan.deltas}
        parts = tuple(part for part in _PARTS if part in changed)
        made = Adapter(name, str(lora.file.path), parts, is_strict=strict)
        self._setup = replace(setup, adapters=(*setup.adapters, made))

    def set_adapters(
        self, adapter_names: str | Sequence[str], adapter_weights: Weight | Sequence[Weight] = None
    ) -> None:
        """Say which LoRAs are applied, and how strongly.

        Args:
            adapter_names: Their names; the others are left out.
            adapter_weights: One strength for all of them, or one for each; a map gives the `unet`
                and the `text_encoder` strengths of their own.

        Raises:
            ValueError: There is no LoRA of such a name, or the lists differ in length.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        given: Any = adapter_weights
        several = is_several(adapter_weights)
        weights: list[Weight] = [*given] if several else [given] * len(names)
        _check_names(self._setup, names)
        if len(weights) != len(names):
            raise ValueError(f"{len(names)} adapters, but {len(weights)} weights: give as many")
        chosen = {name: _strengths(weight) for name, weight in zip(names, weights, strict=True)}

        def changed(adapter: Adapter) -> Adapter:
            if not adapter.name:
                return adapter
            if adapter.name not in chosen:
                return replace(adapter, is_active=False)
            scale, text_scale = chosen[adapter.name]
            return replace(adapter, is_active=True, scale=scale, text_scale=text_scale)

        self._setup = replace(self._setup, adapters=tuple(map(changed, self._setup.adapters)))

    def get_active_adapters(self) -> list[str]:
        """The names of the LoRAs that are applied."""
        return [each.name for each in _loaded(self._setup) if each.is_active]

    def get_list_adapters(self) -> dict[str, list[str]]:
        """The names of all LoRAs, by the models that they change."""
        loaded = _loaded(self._setup)
        names = {part: [each.name for each in loaded if part in each.parts] for part in _PARTS}
        return {part: found for part, found in names.items() if found}

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Take LoRAs out again.

        Args:
            adapter_names: Their names.

        Raises:
            ValueError: There is no LoRA of such a name.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        _check_names(self._setup, names)
        kept = tuple(each for each in self._setup.adapters if each.name not in names)
        self._setup = replace(self._setup, adapters=kept)

    def unload_lora_weights(self) -> None:
        """Take all LoRAs out again; what is fused stays."""
        baked = tuple(each.baked() for each in self._setup.adapters if each.is_fused)
        self._setup = replace(self._setup, adapters=baked, is_adapted=True)

    def disable_lora(self) -> None:
        """Leave out all LoRAs that are not fused, until `enable_lora`."""
        self._setup = replace(self._setup, is_adapted=False)

    def enable_lora(self) -> None:
        """Apply LoRAs again after `disable_lora`."""
        self._setup = replace(self._setup, is_adapted=True)

    def fuse_lora(
        self,
        components: str | Sequence[str] = _PARTS,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> None:
        """Make LoRAs a part of the models: they stay when LoRAs are taken out or scaled.

        It makes nothing quicker: the weights that run always have their LoRAs in them.

        Args:
            components: The models in which it stays: `unet`, `text_encoder`.
            lora_scale: How much more strongly than before.
            safe_fusing: Taken for diffusers' sake: a LoRA is checked when it is loaded.
            adapter_names: Which ones; those that are applied where None.

        Raises:
            ValueError: There is no LoRA, or no such one, or a component takes none.
        """
        factors = _for_parts(components, lora_scale)
        names = self.get_active_adapters() if adapter_names is None else list(adapter_names)
        if not names:
            raise ValueError("there is no LoRA to fuse: load one with load_lora_weights")
        _check_names(self._setup, names)

        self._setup = _fused(self._setup, names, factors)

    def unfuse_lora(self, components: str | Sequence[str] = _PARTS) -> None:
        """Make LoRAs changes again that can be scaled and taken out.

        Args:
            components: The models in which it does.

        Raises:
            ValueError: A component takes no LoRA.
        """
        names = [each.name for each in _loaded(self._setup)]
        self._setup = _fused(self._setup, names, _for_parts(components, None))


def _loaded(setup: Setup) -> list[Adapter]:
    """The LoRAs that were not taken out."""
    return [adapter for adapter in setup.adapters if adapter.name]


def _check_names(setup: Setup, names: Sequence[str]) -> None:
    known = [adapter.name for adapter in _loaded(setup)]
    strange = [name for name in names if name not in known]
    if strange:
        raise ValueError(
            f"there is no adapter {', '.join(strange)}; there are {', '.join(known) or 'none'}"
        )


def _strengths(weight: Weight) -> tuple[float, float | None]:
    """A LoRA's strength for the UNet, and that for the text encoders where it is another."""
    if not isinstance(weight, Mapping):
        return 1.0 if weight is None else float(weight), None
    given = dict(weight)
    parts = {part: given.pop(part, None) for part in _PARTS}
    texts = {value for part, value in parts.items() if part != "unet" and value is not None}
    if given or len(texts) > 1 or any(isinstance(value, Mapping) for value in parts.values()):
        raise ValueError(
            f"an adapter's weight is {dict(weight)}, but it must be a number, or one for the unet "
            "and one for the text_encoder: blocks of a model have no strengths of their own"
        )
    unet = parts["unet"]
    return 1.0 if unet is None else float(unet), float(next(iter(texts), 1.0))


def _for_parts(components: str | Sequence[str], value: float | None) -> dict[int, float | None]:
    """What is to hold of the UNet, which is 0, and of text encoders, 1, where they are named."""
    names = [components] if isinstance(components, str) else list(components)
    strange = [name for name in names if name not in _PARTS]
    if strange or not names:
        raise ValueError(
            f"LoRAs change {', '.join(_PARTS)}, not {', '.join(strange) or 'nothing at all'}"
        )
    return {int(name != "unet"): value for name in names}


def _fused(setup: Setup, names: Sequence[str], factors: Mapping[int, float | None]) -> Setup:
    """A setup in which some LoRAs are fused to some parts by a factor, or freed again by None."""

    def fused(adapter: Adapter) -> Adapter:
        if adapter.name not in names:
            return adapter
        unet, text = adapter.fused
        return replace(adapter, fused=(factors.get(0, unet), factors.get(1, text)))

    return replace(setup, adapters=tuple(map(fused, setup.adapters)))

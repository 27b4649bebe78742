"""What is put into a pipeline's models: LoRAs and new words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from graphdiff.pipelines.setup import Adapter, Setup


class Adaptable:
    """A pipeline whose models can be changed by LoRAs and new words."""

    _setup: Setup

    def load_lora_weights(
        self,
        pretrained_model_name_or_path: str | Path,
        *,
        weight_name: str | None = None,
        adapter_name: str | None = None,
    ) -> None:
        """Change the models by a LoRA; several add up.

        Args:
            pretrained_model_name_or_path: The LoRA's file, or the folder that holds it.
            weight_name: The file's name in that folder.
            adapter_name: A name for it, to change its strength by.
        """
        path = Path(pretrained_model_name_or_path)
        file = str((path / weight_name if weight_name else path).expanduser())
        name = adapter_name or f"default_{len(self._setup.adapters)}"
        adapters = (*self._setup.adapters, Adapter(name, file))
        self._setup = replace(self._setup, adapters=adapters)

    def set_adapters(self, adapter_names: str | list[str], adapter_weights: Any = 1.0) -> None:  # noqa: ANN401 - one or several numbers
        """Say which LoRAs are applied, and how strongly.

        Args:
            adapter_names: Their names; the others are left out.
            adapter_weights: One strength for all of them, or one for each.

        Raises:
            ValueError: There is no LoRA of such a name, or the lists differ in length.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        listed = cast("list[float]", adapter_weights)
        scales = (
            listed if isinstance(adapter_weights, list) else [float(adapter_weights)] * len(names)
        )
        known = {adapter.name: adapter for adapter in self._setup.adapters}
        strange = [name for name in names if name not in known]
        if strange or len(scales) != len(names):
            raise ValueError(
                f"there is no adapter {', '.join(strange)}; there are {', '.join(known) or 'none'}"
                if strange
                else f"{len(names)} adapters, but {len(scales)} weights: give as many"
            )
        scaled = {
            name: replace(known[name], scale=s) for name, s in zip(names, scales, strict=True)
        }
        every = (scaled.get(name, replace(known[name], scale=0.0)) for name in known)
        self._setup = replace(self._setup, adapters=tuple(every))

    def unload_lora_weights(self) -> None:
        """Take all LoRAs out again."""
        self._setup = replace(self._setup, adapters=())

    def load_textual_inversion(
        self, pretrained_model_name_or_path: str | Path, token: str | None = None
    ) -> None:
        """Teach the text encoder a new word.

        Args:
            pretrained_model_name_or_path: The file of its vectors.
            token: The word to write in prompts; the file's own name where None.
        """
        word = (str(Path(pretrained_model_name_or_path).expanduser()), token)
        self._setup = replace(self._setup, words=(*self._setup.words, word))

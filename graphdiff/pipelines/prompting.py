"""The prompts of the pipelines, built call by call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphdiff_nodes.conditioning import TextEncode
from graphdiff_nodes.values import Conditioning, ConditioningPart, Framing

from graphdiff.checkpoints.handles import TextEncoder
from graphdiff.graph.build import named
from graphdiff.pipelines.denoising import Denoising
from graphdiff.pipelines.request import Text

if TYPE_CHECKING:
    import torch


class Prompting(Denoising):
    """What of a builder encodes prompts."""

    text_encoder: TextEncoder

    def positive(self) -> Conditioning:
        """The prompt, encoded."""
        request = self.request
        if request.prompt_embeds is not None:
            made = self._embedded(
                request.prompt_embeds, request.pooled_prompt_embeds, request.framing
            )
            return self._conditioning("prompt_embeds", made)
        return named(
            "positive",
            self._encoded(
                ("prompt", request.prompt),
                ("prompt_2", request.prompt_2),
                request.framing,
                clip_skip=request.clip_skip or 0,
            ),
        )

    def negative(self) -> Conditioning:
        """The negative prompt, encoded; a missing one is empty, or zeros where a model says so."""
        request = self.request
        framing = request.negative_framing
        if request.negative_prompt_embeds is not None:
            pooled = request.negative_pooled_prompt_embeds
            made = self._embedded(request.negative_prompt_embeds, pooled, framing)
            return self._conditioning("negative_prompt_embeds", made)
        text = request.negative_prompt
        if text is None and self.setup.checkpoint.force_zeros_for_empty_prompt:
            return named("negative", TextEncode(self.text_encoder, None, **_told(framing)))
        if isinstance(text, str) and request.prompt is not None and request.prompts > 1:
            text = [text] * request.prompts
        return named(
            "negative",
            self._encoded(
                ("negative_prompt", text or ""),
                ("negative_prompt_2", request.negative_prompt_2),
                framing,
            ),
        )

    def _encoded(
        self,
        text: tuple[str, Text],
        second: tuple[str, Text],
        framing: Framing,
        *,
        clip_skip: int = 0,
    ) -> Conditioning:
        options = _told(framing)
        if second[1] is not None:
            options["text_2"] = self._text(*second)
        if clip_skip:
            options["clip_skip"] = clip_skip
        return TextEncode(self.text_encoder, self._text(*text), **options)

    def _text(self, name: str, text: Text) -> Any:  # noqa: ANN401 - an input's handle
        if isinstance(text, str):
            return self.given(name, str, text)
        return self.given(name, "[str]", list(text or ()))

    def _embedded(
        self, sequence: torch.Tensor, pooled: torch.Tensor | None, framing: Framing
    ) -> Conditioning:
        own = None if pooled is None else pooled.detach()
        part = ConditioningPart(sequence.detach(), own, framing)
        return Conditioning((part,), self.setup.checkpoint.family)

    def _conditioning(self, name: str, made: Conditioning) -> Conditioning:
        given: Conditioning = self.given(name, Conditioning, made)
        return given


def _told(framing: Framing) -> dict[str, Any]:
    """Arguments of TextEncode for what SDXL is told, where it is not the default."""
    options: dict[str, Any] = {}
    for name, size in (("original", framing.original), ("target", framing.target)):
        if size is not None:
            options |= {f"{name}_height": size[0], f"{name}_width": size[1]}
    if framing.crop != (0, 0):
        options |= {"crop_top": framing.crop[0], "crop_left": framing.crop[1]}
    if framing.aesthetic_score != Framing().aesthetic_score:
        options["aesthetic_score"] = framing.aesthetic_score
    return options

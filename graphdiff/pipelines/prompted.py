"""Pipelines of prompts, which can be encoded alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from graphdiff.checkpoints.handles import Family
from graphdiff.pipelines.base import DiffusionPipeline, placed
from graphdiff.pipelines.outputs import StableDiffusionPipelineOutput
from graphdiff.pipelines.request import Request, Text

if TYPE_CHECKING:
    import torch


class Prompted(DiffusionPipeline):
    """A pipeline of Stable Diffusion 1 or 2, with one text encoder."""

    output_class: ClassVar[Any] = StableDiffusionPipelineOutput
    families: ClassVar[tuple[Family, ...]] = ("sd1", "sd2")

    def encode_prompt(
        self,
        prompt: Text = None,
        device: torch.device | str | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: Text = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode prompts, to be changed or kept and given to a call.

        Args:
            prompt: What to draw.
            device: Where the vectors are to be; where the pipeline computes where None.
            num_images_per_prompt: How many rows each prompt becomes.
            do_classifier_free_guidance: Whether the negative prompt is encoded, too.
            negative_prompt: What to stay away from.
            prompt_embeds: The prompt encoded already.
            negative_prompt_embeds: The negative prompt encoded already.
            lora_scale: How strongly LoRAs are applied.
            clip_skip: How many of the text encoder's last layers to leave out.

        Returns:
            The prompt's vectors, (pictures, tokens, width), and the negative prompt's; None for
            the latter without guidance.
        """
        request = Request(
            prompt=prompt,
            negative_prompt=negative_prompt,
            num_images_per_prompt=num_images_per_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            cross_attention_kwargs={"scale": lora_scale},
            clip_skip=clip_skip,
        )
        rows = self._encode(request, is_guided=do_classifier_free_guidance)
        (positive, _), (negative, _) = placed(rows, device)
        return positive, negative


class PromptedXL(DiffusionPipeline):
    """A pipeline of SDXL, with two text encoders, or of its refiner."""

    families: ClassVar[tuple[Family, ...]] = ("sdxl", "sdxl-refiner")

    def encode_prompt(
        self,
        prompt: Text = None,
        prompt_2: Text = None,
        device: torch.device | str | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: Text = None,
        negative_prompt_2: Text = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        negative_pooled_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
        """Encode prompts, to be changed or kept and given to a call.

        Args:
            prompt: What to draw.
            prompt_2: The same for the second text encoder; `prompt` where None.
            device: Where the vectors are to be; where the pipeline computes where None.
            num_images_per_prompt: How many rows each prompt becomes.
            do_classifier_free_guidance: Whether the negative prompt is encoded, too.
            negative_prompt: What to stay away from.
            negative_prompt_2: The same for the second text encoder.
            prompt_embeds: The prompt encoded already.
            negative_prompt_embeds: The negative prompt encoded already.
            pooled_prompt_embeds: Its pooled vectors.
            negative_pooled_prompt_embeds: Those of the negative prompt.
            lora_scale: How strongly LoRAs are applied.
            clip_skip: How many of the text encoders' last layers to leave out.

        Returns:
            The prompt's vectors, (pictures, tokens, width), the negative prompt's, and the pooled
            vectors, (pictures, width), of both; None for the negative ones without guidance.
        """
        request = Request(
            prompt=prompt,
            prompt_2=prompt_2,
            negative_prompt=negative_prompt,
            negative_prompt_2=negative_prompt_2,
            num_images_per_prompt=num_images_per_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            pooled_prompt_embeds=pooled_prompt_embeds,
            negative_pooled_prompt_embeds=negative_pooled_prompt_embeds,
            cross_attention_kwargs={"scale": lora_scale},
            clip_skip=clip_skip,
        )
        rows = self._encode(request, is_guided=do_classifier_free_guidance)
        (positive, pooled), (negative, negative_pooled) = placed(rows, device)
        return positive, negative, pooled, negative_pooled

"""SDXL and its refiner: text to picture, picture to picture, inpainting, ControlNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphdiff.pipelines.callback import Step
from graphdiff.pipelines.calls import call
from graphdiff.pipelines.prompted import PromptedXL
from graphdiff.pipelines.request import Callback, Generator, OnEvent, Request, Size, Text
from graphdiff.pipelines.tasks import (
    build_image_to_image,
    build_inpainting,
    build_steered,
    build_text_to_image,
)

if TYPE_CHECKING:
    import torch

    from graphdiff.pipelines.graphs import Builder
    from graphdiff.pipelines.pictures import Pictures


class StableDiffusionXLPipeline(PromptedXL):
    """A picture from a prompt by SDXL. Podell et al. 2023, arXiv:2307.01952."""

    def _example(self) -> Request:
        return Request(prompt="", guidance_scale=5.0)

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_text_to_image(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        prompt_2: Text = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        denoising_end: float | None = None,
        guidance_scale: float = 5.0,
        negative_prompt: Text = None,
        negative_prompt_2: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        negative_pooled_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        guidance_rescale: float = 0.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        negative_original_size: Size | None = None,
        negative_crops_coords_top_left: Size = (0, 0),
        negative_target_size: Size | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Draw pictures of prompts.

        Args:
            prompt: What to draw; a list is as many pictures.
            prompt_2: The same for the second text encoder; `prompt` where None.
            height: Height in pixels; the checkpoint's own where None.
            width: Width in pixels; the checkpoint's own where None.
            num_inference_steps: How many denoising steps.
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Noise levels to visit instead, from high to low.
            denoising_end: The share of the noise after which another model goes on.
            guidance_scale: How closely to follow the prompt; 1 is no guidance.
            negative_prompt: What to stay away from.
            negative_prompt_2: The same for the second text encoder.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from: one for all, or one for each picture.
            latents: The noise itself, (batch, channels, height, width) of the latents.
            prompt_embeds: The prompt encoded, (batch, tokens, width), instead of `prompt`.
            negative_prompt_embeds: The negative prompt encoded.
            pooled_prompt_embeds: The prompt's pooled vectors, (batch, width).
            negative_pooled_prompt_embeds: Those of the negative prompt.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            guidance_rescale: How much of the contrast that guidance adds is taken back, 0 to 1.
            original_size: Height and width that the picture is to seem to come from.
            crops_coords_top_left: How much it is to seem cut off at the top and at the left.
            target_size: Height and width that it is to seem to have.
            negative_original_size: The same for the negative prompt.
            negative_crops_coords_top_left: The same for the negative prompt.
            negative_target_size: The same for the negative prompt.
            clip_skip: How many of the text encoders' last layers to leave out.
            callback_on_step_end: Called after each step with the pipeline, the step's number, its
                timestep and a map of tensors; what it gives back replaces them.
            callback_on_step_end_tensor_inputs: What is in that map: latents, prompt_embeds,
                negative_prompt_embeds, add_text_embeds, add_time_ids.
            on_event: Told what the engine does.
        """


class StableDiffusionXLImg2ImgPipeline(PromptedXL):
    """A picture changed by a prompt, by SDXL or its refiner."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_image_to_image(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        prompt_2: Text = None,
        image: Pictures | None = None,
        strength: float = 0.3,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        denoising_start: float | None = None,
        denoising_end: float | None = None,
        guidance_scale: float = 5.0,
        negative_prompt: Text = None,
        negative_prompt_2: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        negative_pooled_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        guidance_rescale: float = 0.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        negative_original_size: Size | None = None,
        negative_crops_coords_top_left: Size = (0, 0),
        negative_target_size: Size | None = None,
        aesthetic_score: float = 6.0,
        negative_aesthetic_score: float = 2.5,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Change pictures along prompts.

        Args:
            prompt: What to draw; a list is as many pictures.
            prompt_2: The same for the second text encoder; `prompt` where None.
            image: The picture to start from: PIL, array or tensor, or latents.
            strength: How much to change, 0 to 1: the share of the steps that is taken.
            num_inference_steps: How many denoising steps a whole run has.
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Noise levels to visit instead, from high to low.
            denoising_start: The share of the noise that another model has taken away; `image`
                is then its latents, and `strength` has no say.
            denoising_end: The share of the noise after which another model goes on.
            guidance_scale: How closely to follow the prompt; 1 is no guidance.
            negative_prompt: What to stay away from.
            negative_prompt_2: The same for the second text encoder.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from: one for all, or one for each picture.
            latents: Latents to start from instead of those of `image`, noised as far.
            prompt_embeds: The prompt encoded, (batch, tokens, width), instead of `prompt`.
            negative_prompt_embeds: The negative prompt encoded.
            pooled_prompt_embeds: The prompt's pooled vectors, (batch, width).
            negative_pooled_prompt_embeds: Those of the negative prompt.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            guidance_rescale: How much of the contrast that guidance adds is taken back, 0 to 1.
            original_size: Height and width that the picture is to seem to come from.
            crops_coords_top_left: How much it is to seem cut off at the top and at the left.
            target_size: Height and width that it is to seem to have.
            negative_original_size: The same for the negative prompt.
            negative_crops_coords_top_left: The same for the negative prompt.
            negative_target_size: The same for the negative prompt.
            aesthetic_score: How beautiful the refiner makes it, 1 to 10.
            negative_aesthetic_score: How beautiful what it stays away from is.
            clip_skip: How many of the text encoders' last layers to leave out.
            callback_on_step_end: Called after each step with the pipeline, the step's number, its
                timestep and a map of tensors; what it gives back replaces them.
            callback_on_step_end_tensor_inputs: What is in that map: latents, prompt_embeds,
                negative_prompt_embeds, add_text_embeds, add_time_ids.
            on_event: Told what the engine does.
        """


class StableDiffusionXLInpaintPipeline(PromptedXL):
    """A part of a picture painted anew by SDXL."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_inpainting(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        prompt_2: Text = None,
        image: Pictures | None = None,
        mask_image: Pictures | None = None,
        masked_image_latents: torch.Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 0.9999,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        denoising_start: float | None = None,
        denoising_end: float | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: Text = None,
        negative_prompt_2: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        negative_pooled_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        guidance_rescale: float = 0.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        negative_original_size: Size | None = None,
        negative_crops_coords_top_left: Size = (0, 0),
        negative_target_size: Size | None = None,
        aesthetic_score: float = 6.0,
        negative_aesthetic_score: float = 2.5,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Paint parts of pictures anew.

        Args:
            prompt: What to draw; a list is as many pictures.
            prompt_2: The same for the second text encoder; `prompt` where None.
            image: The picture to start from: PIL, array or tensor, or latents.
            mask_image: White where it is painted anew, black where it is kept.
            masked_image_latents: The latents of the picture without what is painted anew; they
                are made of the two where None.
            height: Height in pixels; the checkpoint's own where None.
            width: Width in pixels; the checkpoint's own where None.
            padding_mask_crop: How many pixels around the mask are cut out with it: only that part
                is brought to the size, painted, and pasted back. The whole picture where None.
            strength: How much to change, 0 to 1: the share of the steps that is taken.
            num_inference_steps: How many denoising steps a whole run has.
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Noise levels to visit instead, from high to low.
            denoising_start: The share of the noise that another model has taken away; `image`
                is then its latents, and `strength` has no say.
            denoising_end: The share of the noise after which another model goes on; what is kept
                is noised as far as the rest then.
            guidance_scale: How closely to follow the prompt; 1 is no guidance.
            negative_prompt: What to stay away from.
            negative_prompt_2: The same for the second text encoder.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from: one for all, or one for each picture.
            latents: The noise itself, (batch, channels, height, width) of the latents.
            prompt_embeds: The prompt encoded, (batch, tokens, width), instead of `prompt`.
            negative_prompt_embeds: The negative prompt encoded.
            pooled_prompt_embeds: The prompt's pooled vectors, (batch, width).
            negative_pooled_prompt_embeds: Those of the negative prompt.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            guidance_rescale: How much of the contrast that guidance adds is taken back, 0 to 1.
            original_size: Height and width that the picture is to seem to come from.
            crops_coords_top_left: How much it is to seem cut off at the top and at the left.
            target_size: Height and width that it is to seem to have.
            negative_original_size: The same for the negative prompt.
            negative_crops_coords_top_left: The same for the negative prompt.
            negative_target_size: The same for the negative prompt.
            aesthetic_score: How beautiful the refiner makes it, 1 to 10.
            negative_aesthetic_score: How beautiful what it stays away from is.
            clip_skip: How many of the text encoders' last layers to leave out.
            callback_on_step_end: Called after each step with the pipeline, the step's number, its
                timestep and a map of tensors; what it gives back replaces them.
            callback_on_step_end_tensor_inputs: What is in that map: latents, prompt_embeds,
                negative_prompt_embeds, add_text_embeds, add_time_ids.
            on_event: Told what the engine does.
        """


class StableDiffusionXLControlNetPipeline(PromptedXL):
    """A picture from a prompt by SDXL, steered by other pictures."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_steered(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        prompt_2: Text = None,
        image: Pictures | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        denoising_end: float | None = None,
        guidance_scale: float = 5.0,
        negative_prompt: Text = None,
        negative_prompt_2: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        negative_pooled_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        controlnet_conditioning_scale: float | Sequence[float] = 1.0,
        guess_mode: bool = False,
        control_guidance_start: float | Sequence[float] = 0.0,
        control_guidance_end: float | Sequence[float] = 1.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        negative_original_size: Size | None = None,
        negative_crops_coords_top_left: Size = (0, 0),
        negative_target_size: Size | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Draw pictures of prompts along others.

        Args:
            prompt: What to draw; a list is as many pictures.
            prompt_2: The same for the second text encoder; `prompt` where None.
            image: The picture that steers; with several ControlNets one for each.
            height: Height in pixels; that of `image` where None.
            width: Width in pixels; that of `image` where None.
            num_inference_steps: How many denoising steps.
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Noise levels to visit instead, from high to low.
            denoising_end: The share of the noise after which another model goes on.
            guidance_scale: How closely to follow the prompt; 1 is no guidance.
            negative_prompt: What to stay away from.
            negative_prompt_2: The same for the second text encoder.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from: one for all, or one for each picture.
            latents: The noise itself, (batch, channels, height, width) of the latents.
            prompt_embeds: The prompt encoded, (batch, tokens, width), instead of `prompt`.
            negative_prompt_embeds: The negative prompt encoded.
            pooled_prompt_embeds: The prompt's pooled vectors, (batch, width).
            negative_pooled_prompt_embeds: Those of the negative prompt.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            controlnet_conditioning_scale: How strongly it steers; with several, one for each.
            guess_mode: Whether the ControlNet does without the prompt's help.
            control_guidance_start: From which share of the steps on it steers.
            control_guidance_end: Up to which share of the steps it steers.
            original_size: Height and width that the picture is to seem to come from.
            crops_coords_top_left: How much it is to seem cut off at the top and at the left.
            target_size: Height and width that it is to seem to have.
            negative_original_size: The same for the negative prompt.
            negative_crops_coords_top_left: The same for the negative prompt.
            negative_target_size: The same for the negative prompt.
            clip_skip: How many of the text encoders' last layers to leave out.
            callback_on_step_end: Called after each step with the pipeline, the step's number, its
                timestep and a map of tensors; what it gives back replaces them.
            callback_on_step_end_tensor_inputs: What is in that map: latents, prompt_embeds,
                negative_prompt_embeds, add_text_embeds, add_time_ids.
            on_event: Told what the engine does.
        """
